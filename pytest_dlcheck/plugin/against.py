"""What ``--dlcheck-against`` needs of a session: one worktree, that its workers share."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import pytest

from pytest_dlcheck.plugin import options
from pytest_dlcheck.plugin.git import GitError, Repository
from pytest_dlcheck.plugin.journaling import is_child
from pytest_dlcheck.plugin.worktree import Keeper, Worktree, check_out

SHARED = "dlcheck_worktree"
"""Under which a worker is told of it."""
_NAMED = 3
"""Files that are named; the rest is counted."""


def worktree_of(config: pytest.Config) -> Worktree | None:
    """The commit that gates are held against, checked out; None where nobody asked, or for nothing.

    Raises:
        pytest.UsageError: there is no such commit, or no git; says what to do.
    """
    name = options.against(config)
    if not name or is_child(config) or config.option.collectonly:
        return None
    shared = getattr(config, "workerinput", {}).get(SHARED)
    if shared is not None:
        return Worktree.from_json(shared)
    worktree, both = _made(config, name)
    config.pluginmanager.register(_SideBySide(worktree, both), "dlcheck-against")
    return worktree


class _SideBySide:
    """Tells the user and the workers of it.

    Args:
        worktree: the other commit.
        both: files that have changed since, and come from the code at hand on both sides.
    """

    def __init__(self, worktree: Worktree, both: tuple[str, ...]) -> None:
        self._worktree, self._both = worktree, both

    def pytest_report_header(self) -> list[str]:
        """What is compared with what, and what is not."""
        told = [f"dlcheck: {self._worktree.told}"]
        if self._both:
            named = ", ".join(self._both[:_NAMED])
            more = f" and {len(self._both) - _NAMED} more" if len(self._both) > _NAMED else ""
            told.append(
                f"dlcheck: not compared, because the code at hand's are used on both sides, though "
                f"changed since: {named}{more}"
            )
        return told

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Let a worker of xdist use it."""
        node.workerinput[SHARED] = self._worktree.to_json()


def _made(config: pytest.Config, name: str) -> tuple[Worktree, tuple[str, ...]]:
    patterns = ("conftest.py", *config.getini("python_files"))
    try:
        repository = Repository.around(config.rootpath)
        changed = map(PurePath, repository.changed(repository.commit(name)))
        both = tuple(str(path) for path in changed if any(path.match(p) for p in patterns))
        keeper = Keeper()
        config.add_cleanup(keeper.close)
        return check_out(repository, name, keeper.folder), both
    except (GitError, OSError) as error:
        raise pytest.UsageError(f"--dlcheck-against {name}: {error}") from None
