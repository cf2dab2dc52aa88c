"""`--dlcheck-against`: another commit's code is run beside the code at hand, never that code itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from pytest_dlcheck.plugin import worktree as worktrees
from pytest_dlcheck.reports.journal import read

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.last = nn.Linear(8, 2)

    def forward(self, x):
        return self.last(torch.relu(self.first(x)) * 1.0)
"""
RECIPE = """
import torch
from toy.net import Net
from pytest_dlcheck import Recipe, recipe

@recipe
def small():
    model = Net()
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    return Recipe(
        model=model,
        train_data=(x, (x[:, 0] > 0).long()),
        loss=torch.nn.CrossEntropyLoss(),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
    )
"""
INI = """\
[pytest]
addopts = -p no:randomly -p no:cacheprovider
dlcheck_steps = 12
pythonpath = src
"""
AGAINST = ("--dlcheck", "--dlcheck-against", "HEAD")
quick = pytest.mark.usefixtures("quick_python")
REPRODUCES = (*AGAINST, "--dlcheck-select", "reproduces_baseline")


class Repository:
    """A project under git, with a package in ``src`` and a recipe of it."""

    def __init__(self, project):
        self.project, self.path = project, project.path
        project.write({"src/toy/__init__.py": "", "src/toy/net.py": NET, "test_it.py": RECIPE})
        project.write({"pytest.ini": INI, ".gitignore": "__pycache__/\n_version.py\n"})
        self.git("init", "-q", "-b", "main")
        self.commit()

    def git(self, *command):
        who = ("-c", "user.name=me", "-c", "user.email=me@localhost", "--no-optional-locks")
        told = subprocess.run(
            ["git", *who, *command], cwd=self.path, check=True, capture_output=True, text=True
        )
        return told.stdout

    def commit(self):
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "a commit")

    def change(self, old, new, name="src/toy/net.py"):
        path = self.path / name
        path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")

    def told(self, *args):
        """All that a session prints, in one line."""
        return " ".join(self.project.run(*(args or REPRODUCES), "-rs").stdout.str().split())


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A folder for temporary files that nobody else writes to."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def repository(real_project, temporary):
    return Repository(real_project)


# -- the verdict -----------------------------------------------------------------------------------


@quick
def test_the_same_code_trains_to_the_same_bits(repository):
    told = repository.told()
    assert "1 passed" in told
    assert "identical code" in told


@quick
def test_a_change_is_told_with_its_place_and_the_repository_is_left_alone(repository, temporary):
    hook = repository.path / ".git/hooks/post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\ntouch called\n")
    hook.chmod(0o755)
    repository.change("self.last(", "self.last(0.5 * ")
    before = state(repository)
    told = repository.told()
    assert state(repository) == before
    assert not list(temporary.iterdir())
    assert "1 failed" in told
    assert "at step 0, in last (activation)" in told
    assert "with uncommitted changes, against HEAD (" in told


@pytest.mark.slow
def test_a_change_that_shows_later_is_told_with_its_step(repository):
    repository.change("self.first(x)", "self.first(x) if self.steps() < 9 else 2 * self.first(x)")
    repository.change(
        "    def forward",
        "    def steps(self):\n        self.n = getattr(self, 'n', -1) + 1\n"
        "        return self.n\n\n    def forward",
    )
    told = repository.told()
    assert "1 failed" in told
    assert "at step 9" in told


@pytest.mark.slow
def test_speed_is_taken_in_turns_with_the_other_commit(repository):
    repository.change("@recipe", '@recipe\n@pytest.mark.dlcheck(latency={"margin": 0.99})', "test_it.py")
    repository.change("import torch\n", "import pytest\nimport torch\n", "test_it.py")
    repository.commit()
    repository.told(*AGAINST, "--dlcheck-select", "latency", "--dlcheck-report=json:out.jsonl")
    (finding,) = read(repository.path / "out.jsonl").findings
    assert "pairs that took turns; up to 99 % is allowed" in finding.verdict.because


def test_a_recipe_that_asks_for_no_gate_gets_the_usual_ones(repository):
    usual = set(repository.project.ids("--dlcheck"))
    more = {line.rpartition("::")[2] for line in set(repository.project.ids(*AGAINST)) - usual}
    assert more == {"reproduces_baseline", "throughput", "accuracy"}


def test_a_recipe_that_asks_for_a_gate_gets_that_one(repository):
    mark = "import pytest\npytestmark = pytest.mark.dlcheck(latency=1)\n"
    repository.project.append("test_it.py", mark)
    usual = set(repository.project.ids("--dlcheck"))
    more = {line.rpartition("::")[2] for line in set(repository.project.ids(*AGAINST)) - usual}
    assert more == {"reproduces_baseline"}


# -- never the code at hand with itself ------------------------------------------------------------


@quick
def test_a_recipe_without_a_package_is_not_compared(repository):
    repository.change("from toy.net import Net", NET, "test_it.py")
    assert "no module of the repository was loaded" in repository.told()


@quick
@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("lr=0.1", "lr=0.2", "test_it.py"),
        ("@recipe\n", "WIDTH = 1\n@recipe\n", ""),
        ("@recipe\n", "def helper():\n    pass\n\n@recipe  # as it was\n", ""),
        ("@recipe\n", "@recipe\n@pytest.mark.dlcheck(steps=9)\n", ""),
    ],
    ids=["of the recipe", "of nothing", "of a helper", "of the policy"],
)
def test_a_change_of_the_recipes_own_file_is_not_compared(repository, old, new, names):
    repository.change("import torch\n", "import pytest\nimport torch\n", "test_it.py")
    repository.commit()
    repository.change(old, new, "test_it.py")
    told = repository.told()
    assert "used on both sides, though changed since: test_it.py" in told
    assert ("only test_it.py has changed since" in told) == bool(names)
    assert ("1 skipped" if names else "1 passed") in told
    assert "bit-identical" not in told


@quick
def test_a_change_of_the_recipes_fixture_is_not_compared(repository):
    fixture = "import pytest\n\n@pytest.fixture\ndef rate():\n    return 0.1\n"
    repository.project.append("conftest.py", fixture)
    repository.change("def small()", "def small(rate)", "test_it.py")
    repository.change("lr=0.1", "lr=rate", "test_it.py")
    repository.commit()
    assert "1 passed" in repository.told()
    repository.change("return 0.1", "return 0.2", "conftest.py")
    told = repository.told()
    assert "only conftest.py has changed since" in told
    assert "1 skipped" in told


@quick
def test_a_change_of_both_files_is_compared_as_far_as_it_can_be_and_says_so(repository):
    repository.change("lr=0.1", "lr=0.2", "test_it.py")
    repository.change("* 1.0", "* 2.0")
    told = repository.told()
    assert "used on both sides, though changed since: test_it.py" in told
    assert "1 failed" in told


# -- what cannot be run ----------------------------------------------------------------------------


@quick
def test_a_commit_without_the_module_is_named(repository):
    repository.git("mv", "src/toy/net.py", "src/toy/nets.py")
    repository.change("toy.net", "toy.nets", "test_it.py")
    told = repository.told()
    assert "1 skipped" in told
    assert "HEAD (" in told
    assert "No module named 'toy.nets'" in told


@pytest.mark.parametrize(
    ("name", "told"),
    [("nope", "'nope' is no branch, tag or commit of"), ("--all", "'--all' is no branch")],
)
def test_an_unknown_commit_is_a_usage_error(repository, name, told):
    result = repository.project.check(f"--dlcheck-against={name}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --dlcheck-against {name}: *{told}*"])


def test_a_branch_of_the_remote_is_suggested(repository, tmp_path):
    there = tmp_path / "there"
    repository.git("clone", "-q", str(repository.path), str(there))
    repository.git("-C", str(there), "checkout", "-q", "-b", "mine")
    repository.git("-C", str(there), "branch", "-q", "-D", "main")
    result = repository.project.check("--dlcheck-against=main", f"--rootdir={there}")
    result.stderr.fnmatch_lines(["*did you mean origin/main?"])


def test_a_shallow_clone_is_told(repository, tmp_path):
    repository.commit()
    there = tmp_path / "there"
    repository.git("clone", "-q", "--depth=1", f"file://{repository.path}", str(there))
    result = repository.project.check("--dlcheck-against=HEAD~1", f"--rootdir={there}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*this clone, which is shallow*--unshallow*"])


def test_no_repository_and_no_git_are_usage_errors(real_project, monkeypatch, tmp_path):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(real_project.path.parent))
    result = real_project.check("--dlcheck-against=main")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --dlcheck-against main: *not a git repository*"])
    monkeypatch.setenv("PATH", str(tmp_path))
    result = real_project.check("--dlcheck-against=main")
    result.stderr.fnmatch_lines(["ERROR: --dlcheck-against main: git is not installed*"])


# -- what is left behind ---------------------------------------------------------------------------


def state(repository):
    """Everything of the user's that a session could touch."""
    asked = ("status --porcelain", "stash list", "worktree list", "branch -a", "ls-files --stage -v")
    return [repository.git(*command.split()) for command in asked]


@pytest.mark.slow
def test_workers_share_one_worktree(repository, temporary):
    repository.project.append("test_it.py", "\n@recipe\ndef other():\n    return small()\n")
    repository.change("* 1.0", "* 2.0")
    result = repository.project.pytester.runpytest_subprocess(*REPRODUCES, "-n", "2")
    result.assert_outcomes(failed=2)
    assert not list(temporary.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="signals are not sent there")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_session_that_is_ended_leaves_nothing(quick_session, repository, temporary, number):
    command = [quick_session, "-m", "pytest", *REPRODUCES]
    with subprocess.Popen(command, cwd=repository.path, stdout=subprocess.DEVNULL) as session:
        wait_until(lambda: any(temporary.glob("dlcheck-*/progress")))
        session.send_signal(number)
    wait_until(lambda: not any(temporary.glob("dlcheck-*")))


def test_what_a_crash_has_left_is_removed_later(repository, temporary):
    old, young = (temporary / f"{worktrees.PREFIX}{2**22 + n}-x" for n in (1, 2))
    for folder in (old, young):
        folder.mkdir()
    past = time.time() - 2 * worktrees.FORGOTTEN
    os.utime(old, (past, past))
    worktrees.Keeper().close()
    assert [path.name for path in temporary.iterdir()] == [young.name]


def wait_until(holds):
    until = time.monotonic() + 300
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)
