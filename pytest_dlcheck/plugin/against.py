"""What ``--dlcheck-against`` needs of a session: one worktree, that its workers share."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_dlcheck.plugin import options
from pytest_dlcheck.plugin.git import GitError, Repository
from pytest_dlcheck.plugin.journaling import is_child
from pytest_dlcheck.plugin.worktree import Keeper, Worktree, check_out

SHARED = "dlcheck_worktree"
"""Under which a worker is told of it."""


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
    worktree = _made(config, name)
    config.pluginmanager.register(_SideBySide(worktree), "dlcheck-against")
    return worktree


class _SideBySide:
    """Tells the user and the workers of it."""

    def __init__(self, worktree: Worktree) -> None:
        self._worktree = worktree

    def pytest_report_header(self) -> str:
        """What is compared with what."""
        return f"dlcheck: {self._worktree.told}"

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Let a worker of xdist use it."""
        node.workerinput[SHARED] = self._worktree.to_json()


def _made(config: pytest.Config, name: str) -> Worktree:
    try:
        repository = Repository.around(config.rootpath)
        repository.commit(name)
        keeper = Keeper()
        config.add_cleanup(keeper.close)
        return check_out(repository, name, keeper.folder)
    except (GitError, OSError) as error:
        raise pytest.UsageError(f"--dlcheck-against {name}: {error}") from None
