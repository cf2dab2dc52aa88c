"""Places that take no report: the one that was asked for is named, and the others are written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

RECIPES = "@recipe\n@pytest.mark.dlcheck(select=['data'])\ndef healthy():\n    return made()\n"


@pytest.fixture
def repo(project, monkeypatch):
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    project.recipes(RECIPES)
    return project


def read_only(path):
    """A folder that takes nothing: also of root, where there is /proc."""
    if Path("/proc/self").exists():
        return Path("/proc")
    if os.geteuid() == 0:
        pytest.skip("root writes everywhere here")
    path.mkdir()
    path.chmod(0o500)
    return path


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk(repo):
    wanted = ("markdown:/dev/full", "json:/dev/full", "openmetrics:m.txt", "markdown:m.md")
    result = repo.check(*(f"--dlcheck-report={kind}" for kind in wanted))
    assert result.ret == 1
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "openmetrics report: m.txt",
            "markdown report: m.md",
            "ERROR: the journal /dev/full ends early: No space left on device",
            "ERROR: --dlcheck-report markdown:/dev/full: /dev/full cannot be written: No space left*",
        ]
    )
    assert "1 recipe" in (repo.path / "m.md").read_text("utf-8")


def test_a_read_only_folder_is_told_before_any_training(repo, tmp_path_factory):
    folder = read_only(tmp_path_factory.mktemp("ro") / "x")
    for kind in ("json", "markdown"):
        result = repo.check(f"--dlcheck-report={kind}:{folder}/sub/r")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(
            [f"ERROR: --dlcheck-report {kind}*{folder}/sub/r cannot be written: *"]
        )


def test_a_file_where_the_folder_is_to_be(repo):
    (repo.path / "out").write_text("mine")
    result = repo.check("--dlcheck-report=markdown:out/m.md")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --dlcheck-report markdown:out/m.md: *a file is where a folder is to be"]
    )
    assert (repo.path / "out").read_text() == "mine"


def test_a_folder_where_the_file_is_to_be(repo):
    (repo.path / "m.md").mkdir()
    result = repo.check("--dlcheck-report=markdown:m.md")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*m.md cannot be written: it is a folder"])


def test_a_place_that_is_lost_while_it_trains(repo):
    repo.recipes(
        "from pathlib import Path\n\n" + RECIPES + "\ndef test_last():\n"
        "    Path('out').rmdir()\n    Path('out').write_text('mine')\n"
    )
    result = repo.check("--dlcheck-report=markdown:out/m.md", "--dlcheck-report=openmetrics:m.txt")
    assert result.ret == 1
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["ERROR: --dlcheck-report markdown:out/m.md: *a folder is to be"])
    assert (repo.path / "m.txt").exists()


def test_a_journal_that_nobody_asked_for_is_a_warning(repo):
    (repo.path / ".dlcheck").write_text("mine")
    result = repo.check("--dlcheck-report=markdown:m.md", "--dlcheck-store=none")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["markdown report: m.md", "WARNING: *.dlcheck*reports are made of what is in memory*"]
    )
    assert (repo.path / ".dlcheck").read_text() == "mine"
    assert "1 recipe" in (repo.path / "m.md").read_text("utf-8")
