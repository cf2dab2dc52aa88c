"""The files of another commit in a folder beside the repository, made once a session; none is kept."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from time import time

from pytest_dlcheck.plugin.git import Repository
from pytest_dlcheck.plugin.redirection import Redirection

PREFIX = "dlcheck-worktree-"
FORGOTTEN = 24 * 3600.0
"""Seconds after which a folder whose session is gone was surely left behind: a machine that went down,
or a group of processes that was killed as one."""
_KEEPER = """
import shutil, sys
sys.stdin.buffer.read(1)
shutil.rmtree(sys.argv[1], ignore_errors=True)
"""


@dataclass(frozen=True)
class Worktree:
    """Another commit, checked out beside the code at hand.

    Attributes:
        name: what was asked for: ``main``.
        commit: its full hash.
        head: the root of the code at hand.
        base: the root of the other commit's.
        kept: what is no source, and is found at hand.
        missing: what the other commit's folder lacks: submodules at another commit.
        identical: whether the code at hand is that commit's, without a change.
        dirty: whether the code at hand has changes that are not committed.
    """

    name: str
    commit: str
    head: str
    base: str
    kept: tuple[str, ...]
    missing: tuple[str, ...] = ()
    identical: bool = False
    dirty: bool = False

    @property
    def label(self) -> str:
        """The commit for messages: ``main (3f2a1c9d2e)``, or the hash alone where that was given."""
        short = self.commit[:10]
        return short if self.commit.startswith(self.name) else f"{self.name} ({short})"

    @property
    def told(self) -> str:
        """One line for the head of a session."""
        changed = "the code at hand, with uncommitted changes" if self.dirty else "the code at hand"
        same = ": identical code, so that only chance can tell the two apart" if self.identical else ""
        return f"{changed}, against {self.label}{same}"

    def redirection(self, test: Path) -> Redirection:
        """Where a process that runs a recipe of this test file finds its modules."""
        return Redirection(self.head, self.base, self.kept, os.path.realpath(test))

    def to_json(self) -> str:
        """It as text; :meth:`from_json` reads it back."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Worktree:
        """The worktree that :meth:`to_json` wrote."""
        data = json.loads(text)
        return cls(**{**data, "kept": tuple(data["kept"]), "missing": tuple(data["missing"])})


class Keeper:
    """A folder for temporary things that is gone when this process is, however that ends.

    A small process sees to it: it waits for a word, or for the other end of its input to vanish.
    """

    def __init__(self) -> None:
        _forget_old()
        self.folder = Path(os.path.realpath(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-")))
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _KEEPER, str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def close(self) -> None:
        """Remove it now."""
        with suppress(OSError):
            self._process.communicate(b".")
        shutil.rmtree(self.folder, ignore_errors=True)


def check_out(repository: Repository, name: str, folder: Path) -> Worktree:
    """Write the files of a commit into a folder.

    Args:
        repository: the code at hand.
        name: the commit's, as the user gave it.
        folder: where to; it must be empty.

    Raises:
        GitError: there is no such commit, or it cannot be written.
    """
    commit = repository.commit(name)
    dirty = repository.is_dirty()
    base = folder / "code"
    base.mkdir()
    repository.export(commit, base)
    submodules = repository.submodules()
    changed = tuple(path for path in submodules if repository.differs(commit, path))
    same = (str(repository.root / path) for path in submodules if path not in changed)
    return Worktree(
        name=name,
        commit=commit,
        head=str(repository.root),
        base=str(base),
        kept=(*repository.ignored(), *_environments(repository.root), *same),
        missing=changed,
        identical=not dirty and commit == repository.commit("HEAD"),
        dirty=dirty,
    )


def _environments(root: Path) -> tuple[str, ...]:
    """Folders of the interpreter and of what is installed in it, where they lie in the repository."""
    places = {sys.prefix, *(sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib"))}
    real = {os.path.realpath(place) for place in places}
    return tuple(sorted(place for place in real if root in Path(place).parents))


def _forget_old() -> None:
    """Remove what sessions of this user have left behind."""
    import psutil

    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError, ValueError):
            owner = int(folder.name.removeprefix(PREFIX).partition("-")[0])
            if time() - folder.stat().st_mtime > FORGOTTEN and not psutil.pid_exists(owner):
                shutil.rmtree(folder, ignore_errors=True)
