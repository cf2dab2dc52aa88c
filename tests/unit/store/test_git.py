"""What git says of the code at hand, also where there is none or not all of it."""

from __future__ import annotations

import subprocess

import pytest

from pytest_dlcheck.store import git
from tests.store_kit import Repository


@pytest.fixture(autouse=True)
def no_ci(monkeypatch):
    for name in git.BRANCHES:  # the service that runs these tests has its own
        monkeypatch.delenv(name, raising=False)


def test_commit_and_branch_of_a_clean_tree(repository):
    commit = repository.commit()
    assert git.checkout(repository.path) == git.Checkout(commit, "main", dirty=False)


def test_only_tracked_files_make_a_tree_dirty(repository):
    (repository.path / "train.py").write_text("1")
    repository.git("add", "train.py")
    repository.commit()
    (repository.path / "notes.txt").write_text("untracked")
    assert not git.checkout(repository.path).dirty
    (repository.path / "train.py").write_text("2")
    assert git.checkout(repository.path).dirty


def test_a_detached_head_has_the_branch_that_the_ci_service_says(repository, monkeypatch):
    commit = repository.commit()
    repository.git("switch", "-q", "--detach")
    assert git.checkout(repository.path) == git.Checkout(commit, "", dirty=False)
    monkeypatch.setenv("GITHUB_REF_NAME", "feature")
    assert git.checkout(repository.path).branch == "feature"


def test_no_repository_no_commit_and_no_git_are_no_errors(tmp_path, repository, monkeypatch):
    assert git.checkout(tmp_path) == git.Checkout()
    assert git.checkout(tmp_path / "nowhere") == git.Checkout()
    assert git.checkout(repository.path) == git.Checkout()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git.checkout(repository.path) == git.Checkout()
    assert "git does not run here" in git.line(repository.path, "main").trouble


def test_a_line_is_a_commit_and_all_before_it_newest_first(repository):
    commits = [repository.commit() for _ in range(3)]
    repository.git("switch", "-q", "-c", "other")
    repository.commit()
    line = git.line(repository.path, "main")
    assert line == git.Line({commits[2]: 0, commits[1]: 1, commits[0]: 2})


def test_a_branch_that_is_only_on_the_remote_is_found_there(repository, tmp_path):
    repository.commit()
    repository.git("branch", "release")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(repository.path), str(clone)], check=True)
    assert git.line(clone, "release").ages == git.line(repository.path, "release").ages


def test_a_shallow_clone_says_so(repository, tmp_path):
    for _ in range(3):
        repository.commit()
    clone = tmp_path / "clone"
    command = ["git", "clone", "-q", "--depth=2", f"file://{repository.path}", str(clone)]
    subprocess.run(command, check=True, capture_output=True)
    line = git.line(clone, "main")
    assert (len(line.ages), line.shallow) == (2, True)


def test_it_is_asked_from_within_a_hook_of_another_repository(repository, tmp_path, monkeypatch):
    commit = repository.commit()
    monkeypatch.setenv("GIT_DIR", str(Repository(tmp_path / "other").path / ".git"))
    assert git.checkout(repository.path).commit == commit


def test_no_option_gets_into_gits_command_line(repository):
    repository.commit()
    assert git.resolved(repository.path, "--help") == ""
