"""`dlcheck watch`: a script runs as without it, and what it trains is told on stderr."""

import signal
import subprocess
import sys
import textwrap

import pytest

from pytest_dlcheck.script import run_watched

pytestmark = pytest.mark.usefixtures("quick_python")
TRAIN = """
import sys
import torch

def main(reset):
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for step in range(20):
        x = torch.randn(8, 4)
        if reset:
            optimizer.zero_grad()
        (model(x) - x.sum(1, keepdim=True)).pow(2).mean().backward()
        optimizer.step()
        print("step", step, flush=True)

if __name__ == "__main__":
    print(__name__, sys.argv[1:], __file__ if "__file__" in globals() else None)
    main("--reset" in sys.argv)
    {end}
"""


@pytest.fixture
def run(tmp_path):
    def run(*arguments, end="", command=("-m", "pytest_dlcheck", "watch"), **options):
        script = tmp_path / "train.py"
        script.write_text(textwrap.dedent(TRAIN).replace("{end}", end), encoding="utf-8")
        return subprocess.run(
            [sys.executable, *command, *arguments],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=120,
            **options,
        )

    return run


def test_output_and_exit_code_are_the_scripts_own(run):
    watched = run("train.py", "--reset", "--epochs", "2", end="sys.exit(3)")
    alone = run("train.py", "--reset", "--epochs", "2", end="sys.exit(3)", command=())
    assert watched.stdout == alone.stdout
    assert (watched.returncode, alone.returncode) == (3, 3)
    assert alone.stderr == ""
    assert "dlcheck watched train.py: 20 optimizer steps; 0 failed" in watched.stderr


def test_a_fault_is_told_and_fails_only_where_that_is_asked_for(run):
    told = run("train.py")
    assert told.returncode == 0
    assert "zero_grad is missing" in told.stderr
    assert run("--fail", "--stop-after", "6", "-m", "train").returncode == 1


def test_errors_are_the_scripts_own_and_the_diagnosis_stands_beside_them(run):
    watched = run("train.py", end="raise KeyError('mine')")
    assert watched.returncode == 1
    assert "KeyError: 'mine'" in watched.stderr
    assert "pytest_dlcheck" not in watched.stderr.partition("dlcheck watched")[0]
    assert "zero_grad is missing" in watched.stderr


def test_an_interrupt_still_prints_what_was_seen(run):
    end = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
    watched = run("train.py", end=end)
    assert watched.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in watched.stderr
    assert "zero_grad is missing" in watched.stderr


def test_what_is_not_there_is_a_usage_error(run):
    missing = run("nothing.py")
    assert missing.returncode == 2
    assert "cannot read the script nothing.py" in missing.stderr


@pytest.mark.parametrize(("end", "is_short"), [("raise KeyError", True), ("", False)])
def test_a_script_that_fails_is_known_to_be_cut_short(tmp_path, monkeypatch, end, is_short):
    told, script = [], tmp_path / "train.py"
    script.write_text(textwrap.dedent(TRAIN).replace("{end}", end), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    run_watched(str(script), ["--reset"], told.append)
    assert [seen.trace.row("loop").flag("was_cut_short") for seen in told] == [is_short]
