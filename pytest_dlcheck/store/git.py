"""What git says of the code at hand, asked through its command; that there is none is an answer too."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

LONGEST = 20_000
"""Commits of a line that are looked at: decades of a busy branch, a tenth of a second of git."""
_PATIENCE = 20.0
_PLAIN = ("-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}")
_QUIET = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_LFS_SKIP_SMUDGE": "1",
    "LC_ALL": "C",
}
_OF_A_HOOK = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY")
"""Set by git where it calls a hook, and meant for that hook alone."""
BRANCHES = (
    "GITHUB_HEAD_REF",
    "GITHUB_REF_NAME",
    "CI_COMMIT_REF_NAME",
    "BUILDKITE_BRANCH",
    "CIRCLE_BRANCH",
    "BITBUCKET_BRANCH",
    "BUILD_SOURCEBRANCHNAME",
    "BRANCH_NAME",
)
"""Where CI services leave the branch's name when they check a commit out without one."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """The code at hand.

    Attributes:
        commit: the commit's full name; empty where there is no git or no commit yet.
        branch: the branch's name; empty where it cannot be told.
        dirty: whether tracked files differ from the commit.
    """

    commit: str = ""
    branch: str = ""
    dirty: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A commit and all before it, as far as they are known.

    Attributes:
        ages: commit -> how many of the others are newer, 0 for the newest.
        shallow: whether the clone ends before the first commit.
        trouble: why there is nothing; empty if there is.
    """

    ages: Mapping[str, int] = field(default_factory=dict)
    shallow: bool = False
    trouble: str = ""


def checkout(root: Path) -> Checkout:
    """What is checked out around a folder."""
    commit = _ask(root, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    if not commit:
        return Checkout()
    branch = _ask(root, "symbolic-ref", "--quiet", "--short", "HEAD")
    branch = branch or next(filter(None, map(os.environ.get, BRANCHES)), "")
    changed = _ask(root, "status", "--porcelain", "--untracked-files=no")
    return Checkout(commit, branch or "", changed is None or bool(changed))


def line(root: Path, reference: str) -> Line:
    """A reference's commit and its ancestors.

    Args:
        root: a folder of the repository.
        reference: a branch, tag or commit; a branch that is only on ``origin`` is found there.
    """
    if _ask(root, "rev-parse", "--git-dir") is None:
        return Line(trouble=_trouble(root))
    commit = resolved(root, reference)
    if not commit:
        return Line(
            trouble=f"git knows no {reference!r} here, nor origin/{reference}: "
            f"fetch it (git fetch origin {reference})"
        )
    known = _ask(root, "rev-list", f"--max-count={LONGEST}", commit) or ""
    shallow = _ask(root, "rev-parse", "--is-shallow-repository") == "true"
    return Line({name: age for age, name in enumerate(known.split())}, shallow)


def resolved(root: Path, reference: str) -> str:
    """The full name of the commit that a reference stands for, or nothing."""
    if not reference or reference.startswith("-"):
        return ""
    for name in (reference, f"origin/{reference}"):
        commit = _ask(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        if commit:
            return commit
    return ""


def run(
    root: Path,
    *arguments: str,
    more: Mapping[str, str] | None = None,
    patience: float | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Call git as one who only asks: it locks nothing, speaks one language, runs no hook, loads nothing.

    Args:
        root: a folder of the repository.
        arguments: of the command.
        more: what it needs of the environment beyond ours.
        patience: seconds that it may take; None for no limit.

    Raises:
        OSError: there is no git, or it cannot be started.
        subprocess.TimeoutExpired: it took longer.
    """
    own = {name: value for name, value in os.environ.items() if name not in _OF_A_HOOK}
    return subprocess.run(
        ["git", *_PLAIN, "-C", str(root), *arguments],  # noqa: S607  the user's own git
        capture_output=True,
        timeout=patience,
        stdin=subprocess.DEVNULL,
        env={**own, **_QUIET, **(more or {})},
        check=False,
    )


def _ask(root: Path, *arguments: str) -> str | None:
    """What git answers; None where it has no answer."""
    done = _answer(root, *arguments)
    return _text(done.stdout).strip() if done is not None and done.returncode == 0 else None


def _trouble(root: Path) -> str:
    done = _answer(root, "rev-parse", "--git-dir")
    if done is None:
        return "git does not run here, so that commits cannot be told apart"
    if "dubious ownership" in _text(done.stderr):
        return (
            "git refuses this folder, which belongs to another user: "
            "git config --global --add safe.directory FOLDER"
        )
    return "this is no git repository, so that commits cannot be told apart"


def _answer(root: Path, *arguments: str) -> subprocess.CompletedProcess[bytes] | None:
    try:
        return run(root, *arguments, patience=_PATIENCE)
    except (OSError, subprocess.SubprocessError):
        return None


def _text(said: bytes) -> str:
    return said.decode("utf-8", errors="replace")
