"""`dlcheck watch`: a script runs as without it, and what it trains is told on stderr."""

import os
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
    torch.manual_seed(0)
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
    assert "watched train.py: 20 optimizer steps, 17 looked at closely; 0 failed" in watched.stderr


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


def test_sigterm_still_prints_what_was_seen(run):
    watched = run("train.py", end="import os, signal; os.kill(os.getpid(), signal.SIGTERM)")
    assert watched.returncode == -signal.SIGTERM
    assert "Traceback" not in watched.stderr
    assert "zero_grad is missing" in watched.stderr


def test_sigterm_while_it_is_judged_ends_it_as_it_would_any_program(run):
    end = (
        "import os, signal, pytest_dlcheck.watching as watching; "
        "watching.judge_watched = lambda *_: os.kill(os.getpid(), signal.SIGTERM)"
    )
    watched = run("train.py", end=end)
    assert watched.returncode == -signal.SIGTERM
    assert "Traceback" not in watched.stderr


def test_a_script_that_listens_to_sigterm_itself_is_left_to_it(run):
    end = (
        "import os, signal; signal.signal(signal.SIGTERM, lambda *_: print('mine')); "
        "os.kill(os.getpid(), signal.SIGTERM)"
    )
    watched = run("train.py", end=end)
    assert (watched.returncode, "mine" in watched.stdout) == (0, True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_processes_that_the_script_forks_die_of_sigterm_as_without_us(run):
    end = (
        "import os, signal, time; read, write = os.pipe(); child = os.fork()\n"
        "    if not child: os.write(write, b'!'); time.sleep(60)\n"
        "    else: os.read(read, 1); os.kill(child, signal.SIGTERM); "
        "print('code', os.waitpid(child, 0)[1])"
    )
    watched = run("train.py", end=end)
    assert f"code {signal.SIGTERM:d}" in watched.stdout
    assert watched.stderr.count("dlcheck watched") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nothing.py",), "cannot read the script nothing.py"),
        ((".",), "cannot run the folder .: it holds no __main__.py"),
        (("-m", "nothing"), "cannot run the module nothing: No module named nothing"),
    ],
)
def test_what_is_not_there_is_a_usage_error(run, arguments, told):
    missing = run(*arguments)
    assert missing.returncode == 2
    assert told in missing.stderr
    assert "Traceback" not in missing.stderr
    assert "dlcheck watched" not in missing.stderr


@pytest.mark.parametrize("arguments", [("train.py",), ("-m", "train")])
def test_a_syntax_error_is_told_as_python_tells_it(run, arguments):
    watched = run(*arguments, end="x = (")
    alone = run(*arguments, end="x = (", command=())
    told, ours = watched.stderr.split("\ndlcheck watched train", 1)
    assert watched.returncode == alone.returncode == 1
    assert told.splitlines() == alone.stderr.splitlines()[-len(told.splitlines()) :]
    assert "SyntaxError" in told
    assert "it ended before anything was trained" in ours


def test_what_ended_before_its_training_is_told_no_story_of_subprocesses(run, tmp_path):
    (tmp_path / "early.py").write_text("import nothing_of_that_name")
    watched = run("early.py")
    assert watched.returncode == 1
    assert "ModuleNotFoundError" in watched.stderr
    assert "it ended before anything was trained" in watched.stderr
    assert "subprocess" not in watched.stderr


def test_beside_a_scripts_help_nothing_is_told(run, tmp_path):
    (tmp_path / "helpful.py").write_text("import argparse; argparse.ArgumentParser().parse_args()")
    assert run("helpful.py", "--help").stderr == ""


def test_what_passed_is_listed_where_that_is_asked_for(run):
    quiet, told = run("train.py", "--reset"), run("-v", "train.py", "--reset")
    lines = [line.split()[:2] for line in told.stderr.splitlines()]
    assert ["ok", "train.py::steps_are_in_order"] in lines
    assert ["n/a", "train.py::clipping_is_rare"] in lines
    assert "steps_are_in_order" not in quiet.stderr


def test_steps_that_were_all_looked_at_are_not_counted_twice(run):
    assert ": 6 optimizer steps; 1 failed" in run("--stop-after", "6", "train.py").stderr


@pytest.mark.parametrize(("end", "is_short"), [("raise KeyError", True), ("", False)])
def test_a_script_that_fails_is_known_to_be_cut_short(tmp_path, monkeypatch, end, is_short):
    told, script = [], tmp_path / "train.py"
    script.write_text(textwrap.dedent(TRAIN).replace("{end}", end), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    run_watched(str(script), ["--reset"], told.append)
    assert [seen.trace.row("loop").flag("was_cut_short") for seen in told] == [is_short]
