"""Questions to git about one repository. It only reads: no index, branch, stash or file is touched."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_dlcheck.store.git import run


class GitError(Exception):
    """Git cannot answer; the message says why, and what to do."""


@dataclass(frozen=True)
class Repository:
    """A checkout.

    Attributes:
        root: its top folder, without symbolic links.
    """

    root: Path

    @classmethod
    def around(cls, folder: Path) -> Repository:
        """The repository that a folder lies in.

        Raises:
            GitError: there is none, or no git.
        """
        root = cls(folder).ask("rev-parse", "--show-toplevel").rstrip("\n")
        return cls(Path(os.path.realpath(root)))

    def ask(self, *command: str, more: Mapping[str, str] | None = None) -> str:
        """What git answers.

        Args:
            command: its arguments.
            more: what it needs of the environment beyond ours.

        Raises:
            GitError: it refuses, or is not there.
        """
        try:
            done = run(self.root, *command, more=more)
        except FileNotFoundError:
            raise GitError("git is not installed, or not on PATH") from None
        except OSError as error:
            raise GitError(f"git could not be started: {error}") from None
        if done.returncode:
            said = done.stderr.decode("utf-8", errors="replace").strip()
            raise GitError(said or f"git {command[0]} ended with exit code {done.returncode}")
        return os.fsdecode(done.stdout)

    def commit(self, name: str) -> str:
        """The full hash of the commit that a branch, tag or other revision stands for.

        Raises:
            GitError: there is no such commit here; says what would help.
        """
        try:
            return self._hash(name)
        except GitError:
            raise GitError(self._missing(name)) from None

    def is_dirty(self) -> bool:
        """Whether tracked files differ from the last commit, or there are new ones."""
        return bool(self.ask("status", "--porcelain", "--ignore-submodules=none"))

    def ignored(self) -> tuple[str, ...]:
        """Files and folders that git ignores, a folder standing for all that is in it."""
        told = self.ask("ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory")
        return tuple(str(self.root / name.rstrip("/")) for name in told.split("\0") if name)

    def submodules(self) -> tuple[str, ...]:
        """Paths of the submodules, from the root."""
        entries = self.ask("ls-files", "-z", "--stage").split("\0")
        return tuple(entry.partition("\t")[2] for entry in entries if entry.startswith("160000 "))

    def differs(self, commit: str, path: str) -> bool:
        """Whether a path is otherwise in another commit than it is now."""
        return bool(self.ask("diff", "--name-only", commit, "--", path))

    def changed(self, commit: str) -> tuple[str, ...]:
        """Paths from the root of files that both have, and that read otherwise now."""
        told = self.ask("diff", "--name-only", "--no-renames", "--diff-filter=M", "-z", commit)
        return tuple(filter(None, told.split("\0")))

    def export(self, commit: str, folder: Path) -> None:
        """Write the files of a commit into a folder, by way of an index of their own.

        Unlike ``git worktree add`` this leaves nothing in the repository: nothing to lock, to prune or
        to forget, whatever becomes of this process.
        """
        index = {"GIT_INDEX_FILE": str(folder.with_name("index"))}
        self.ask("-c", "core.sparseCheckout=false", "read-tree", commit, more=index)
        self.ask("checkout-index", "--all", f"--prefix={folder}{os.sep}", more=index)

    def _hash(self, name: str) -> str:
        verified = ("rev-parse", "--verify", "--quiet", "--end-of-options")
        return self.ask(*verified, f"{name}^{{commit}}").strip()

    def _missing(self, name: str) -> str:
        shallow = self.ask("rev-parse", "--is-shallow-repository").strip() == "true"
        if shallow:
            return (
                f"{name!r} is not in this clone, which is shallow: fetch its history first, with "
                "git fetch --unshallow, or fetch-depth: 0 where a CI's checkout makes the clone"
            )
        try:
            self._hash(f"origin/{name}")
        except GitError:
            return f"{name!r} is no branch, tag or commit of {self.root}"
        return f"{name!r} is no branch, tag or commit here: did you mean origin/{name}?"
