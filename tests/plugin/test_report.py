"""`--dlcheck-report`: a journal, and from it every report that is asked for."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from pytest_dlcheck.cli import main
from pytest_dlcheck.reports.journal import read
from pytest_dlcheck.reports.kinds import VALID

RECIPES = """
@recipe
def healthy():
    return made()

@recipe
def cut():
    return made(Net(cut=True))
"""
TEXT = ("markdown", "openmetrics")
pytestmark = pytest.mark.usefixtures("quick_python")


@pytest.fixture
def repo(project, monkeypatch):
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE", "CI_PROJECT_DIR"):
        monkeypatch.delenv(name, raising=False)
    project.recipes(RECIPES)
    return project


def test_several_are_made_of_one_session(repo):
    result = repo.check("--dlcheck-report=markdown", "--dlcheck-report=openmetrics:out/m.txt")
    assert result.ret == 1
    assert (repo.path / "dlcheck.md").read_text("utf-8").startswith("## dlcheck: 1 problem in 2 recipes")
    assert (repo.path / "out" / "m.txt").read_text("utf-8").endswith("# EOF\n")
    result.stdout.fnmatch_lines(["markdown report: dlcheck.md", "openmetrics report: out/m.txt"])


def test_where_any_is_asked_for_there_is_a_journal(repo):
    repo.check("--dlcheck-report=markdown")
    contents = read(repo.path / ".dlcheck" / "journal.jsonl")
    assert contents.ended
    assert {f.recipe for f in contents.findings} == {"healthy", "cut"}
    assert (repo.path / ".dlcheck" / ".gitignore").read_text().endswith("\n*\n")
    assert not (repo.path / "dlcheck.jsonl").exists()


def test_its_place_can_be_named(repo):
    repo.check("--dlcheck-report=markdown", "--dlcheck-report=json:j.jsonl")
    assert read(repo.path / "j.jsonl").findings
    assert not (repo.path / ".dlcheck").exists()


def test_without_any_nothing_is_written(repo):
    before = {path.name for path in repo.path.iterdir()}
    repo.check()
    made = {path.name for path in repo.path.iterdir()} - before
    assert not {name for name in made if "dlcheck" in name}


def test_the_ini_file_asks_too(repo):
    repo.append("pytest.ini", "dlcheck_report = markdown:out/a.md openmetrics:out/b.txt\n")
    repo.check()
    assert {path.name for path in (repo.path / "out").iterdir()} == {"a.md", "b.txt"}


def test_one_kind_may_be_written_twice(repo):
    repo.check("--dlcheck-report=markdown:a.md", "--dlcheck-report=markdown:b.md")
    assert (repo.path / "a.md").read_text("utf-8") == (repo.path / "b.md").read_text("utf-8")


def test_the_journal_tells_the_session_and_where_each_recipe_stands(repo):
    repo.check("--dlcheck-report=json")
    contents = read(repo.path / "dlcheck.jsonl")
    assert set(contents.session) == {
        "started",
        "python",
        "torch",
        "pytest_dlcheck",
        "platform",
        "device",
    }
    lines = (repo.path / "test_it.py").read_text().splitlines()
    for name in ("healthy", "cut"):
        asked = contents.recipes[name]
        assert asked["file"] == "test_it.py"
        assert f"def {name}" in "".join(lines[asked["line"] - 1 : asked["line"] + 1])


def test_xdist_makes_them_once_of_all_workers(repo):
    pytest.importorskip("xdist")
    args = ("--dlcheck", "-n2", "--dlcheck-report=markdown", "--dlcheck-report=json:j.jsonl")
    result = repo.pytester.runpytest_subprocess(*args)
    assert result.ret == 1
    contents = read(repo.path / "j.jsonl")
    assert contents.unjudged == []
    assert set(contents.traces) == {"healthy", "cut"}
    assert "1 problem in 2 recipes" in (repo.path / "dlcheck.md").read_text("utf-8")
    begun = [json.loads(line) for line in (repo.path / "j.jsonl").read_text().splitlines()]
    assert {e["file"] for e in begun if e["kind"] == "begun"} == {"test_it.py"}


def test_after_ctrl_c_they_are_made_and_tell_what_was_in_flight(repo):
    repo.recipes(
        "class Interrupting(Net):\n"
        "    def forward(self, x):\n"
        "        raise KeyboardInterrupt\n\n"
        "@recipe\ndef mine():\n    return made(Interrupting())\n" + RECIPES
    )
    args = ("--dlcheck", "--dlcheck-report=markdown", "--dlcheck-report=json")
    result = repo.run(*args, no_reraise_ctrlc=True)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    told = (repo.path / "dlcheck.md").read_text("utf-8")
    assert "does not run" not in told, "Ctrl-C is no fault of the recipe"
    assert re.search(r"`mine::\w+`: inconclusive: in flight when the session was interrupted", told)
    (flying,) = read(repo.path / "dlcheck.jsonl").unjudged
    assert flying.recipe == "mine"
    line = f"mine::{flying.verdict.check}  inconclusive: in flight when the session was interrupted"
    assert result.stdout.str().count(line) == 1, "the terminal tells the same"


def test_fixtures_that_fail_or_skip_are_told(repo):
    repo.recipes(
        "@pytest.fixture\ndef mirror():\n    raise OSError('no mirror')\n\n"
        "@pytest.fixture\ndef farm():\n    pytest.skip('no farm')\n\n"
        "@recipe\ndef unfed(mirror):\n    return made()\n\n"
        "@recipe\ndef far(farm):\n    return made()\n"
    )
    repo.check("--dlcheck-report=markdown")
    told = (repo.path / "dlcheck.md").read_text("utf-8")
    assert "**`unfed` does not run** (`test_it.py:12`): OSError: no mirror" in told
    assert "| `far` | ⚪ 4 n/a |" in told


def test_an_unknown_kind_is_a_usage_error_that_lists_the_valid_ones(repo):
    result = repo.check("--dlcheck-report=pdf")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [f"ERROR: --dlcheck-report: unknown kind 'pdf' (valid: {', '.join(VALID)})"]
    )


def test_a_package_that_is_missing_is_told_before_any_training(repo):
    repo.write({"hide.py": "import sys\n\nsys.modules['tensorboard'] = None\n"})
    code = (
        "import hide, pytest, sys; sys.exit(pytest.main(['--dlcheck', '--dlcheck-report=tensorboard']))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=repo.path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == pytest.ExitCode.USAGE_ERROR
    assert "pip install 'pytest-dlcheck[tensorboard]'" in ran.stderr
    assert "collected" not in ran.stdout


def test_help_lists_every_kind(repo):
    text = " ".join(repo.run("--help").stdout.str().split())
    listed = text.partition("--dlcheck-report")[2][:300]
    assert all(kind in listed for kind in VALID)


def test_collecting_alone_writes_nothing(repo):
    repo.check("--collect-only", "--dlcheck-report=markdown", "--dlcheck-report=json:j.jsonl")
    assert not (repo.path / "j.jsonl").exists()
    assert not (repo.path / "dlcheck.md").exists()


def rendered(repo, *args):
    repo.pytester.chdir()
    return CliRunner().invoke(main, ["report", *args])


@pytest.mark.parametrize("kind", TEXT)
def test_what_is_made_later_is_what_was_made_at_once(repo, kind):
    repo.check(f"--dlcheck-report={kind}:now", "--dlcheck-report=json:j.jsonl")
    result = rendered(repo, f"{kind}:later", "--from", "j.jsonl")
    assert (result.exit_code, result.output) == (0, f"{kind} report: later\n")
    assert (repo.path / "later").read_text("utf-8") == (repo.path / "now").read_text("utf-8")


def test_later_they_can_be_judged_again_first(repo):
    repo.check("--dlcheck-report=json:j.jsonl")
    assert (
        rendered(repo, "markdown:m.md", "--from", "j.jsonl", "--set", "loss_is_low.highest=-1").exit_code
        == 0
    )
    assert "loss_is_low" in (repo.path / "m.md").read_text("utf-8")


@pytest.mark.parametrize("setting", ["foo", "loss_is_low=3", "loss_is_low.highest"])
def test_a_threshold_is_asked_for_in_its_form(repo, setting):
    repo.check("--dlcheck-report=json:j.jsonl")
    result = rendered(repo, "--from", "j.jsonl", "--set", setting)
    assert result.exit_code == 2
    assert f"--set {setting}: write CHECK.NAME=VALUE" in result.output


def test_what_cannot_be_written_later_is_named_and_the_others_are_written(repo):
    repo.check("--dlcheck-report=json:j.jsonl")
    (repo.path / "file").write_text("mine")
    result = rendered(repo, "markdown:file/m.md", "openmetrics:m.txt", "--from", "j.jsonl")
    assert result.exit_code == 1
    assert "Error: markdown:file/m.md: " in result.output
    assert (repo.path / "m.txt").exists()


@pytest.mark.parametrize("kind", ["json", "pdf"])
def test_later_an_unknown_kind_is_a_usage_error(repo, kind):
    repo.check("--dlcheck-report=json:j.jsonl")
    result = rendered(repo, kind, "--from", "j.jsonl")
    assert result.exit_code == 2
    assert "valid: " in result.output


def test_without_a_kind_it_is_judged_again_and_told(repo):
    repo.check("--dlcheck-report=json:j.jsonl")
    result = rendered(repo, "--from", "j.jsonl")
    assert result.exit_code == 1
    assert "cut::gradients_arrive  the graph is cut" in result.output
