"""Which GPU each of several test processes gets. Decided before any of them wakes CUDA."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"
_SIGNS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
"""One of these is there on a Linux machine that has a GPU which torch could use."""


def share(worker: int, visible: str | None, count: int) -> str | None:
    """What ``CUDA_VISIBLE_DEVICES`` is to be for one of several test processes.

    Args:
        worker: its number, from 0.
        visible: the caller's own ``CUDA_VISIBLE_DEVICES``, or None where it is not set.
        count: how many GPUs the machine has, where it is not.

    Returns:
        One GPU of the caller's, in turn; None where there is nothing to share.
    """
    mine = _listed(visible) if visible is not None else [str(index) for index in range(count)]
    return mine[worker % len(mine)] if mine else None


def _listed(visible: str) -> Sequence[str]:
    """The GPUs of a list, as CUDA reads it: those behind an invalid one are not seen."""
    found: list[str] = []
    for entry in visible.split(","):
        name = entry.strip()
        if not name or name.startswith("-"):
            break
        found.append(name)
    return found


def may_be_there() -> bool:
    """Whether it is worth the time to ask torch for GPUs."""
    return not Path("/dev").is_dir() or any(Path(sign).exists() for sign in _SIGNS)
