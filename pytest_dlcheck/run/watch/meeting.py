"""A folder of this machine in which the processes of one torchrun leave what they have seen.

Never a collective operation: the user's own must not find another among them.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

PATIENCE = 10.0
"""Seconds that rank 0 waits for the others once it has ended itself."""
PAUSE = 0.05
"""Seconds between two looks."""


@dataclass(frozen=True)
class Meeting:
    """Where this process stands among those that torchrun started on this machine.

    Attributes:
        rank: on this machine.
        size: how many there are on it.
        folder: where they leave their notes.
    """

    rank: int
    size: int
    folder: Path

    @classmethod
    def of_this_process(cls) -> Meeting | None:
        """By the environment that torchrun sets; None outside of it, or where it started only one."""
        try:
            rank, size = (int(os.environ[name]) for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"))
            port = int(os.environ["MASTER_PORT"])
        except (KeyError, ValueError):
            return None
        restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        name = f"dlcheck-ranks-{os.getppid()}-{port}-{restart if restart.isdigit() else 0}"
        return cls(rank, size, Path(tempfile.gettempdir(), name)) if size > 1 else None

    def leave(self, notes: Any) -> None:
        """Leave notes for rank 0; where that cannot be done, nothing is left."""
        try:
            if not self._is_ours():
                return
            part = self.folder / f"{self.rank}.part"
            part.write_text(json.dumps(notes), encoding="utf-8")
            part.replace(self.folder / f"{self.rank}.json")
        except OSError:
            return

    def collect(self) -> list[Any]:
        """What the other ranks have left, as far as it comes in time; the folder is then removed."""
        until = monotonic() + PATIENCE
        files = [self.folder / f"{rank}.json" for rank in range(1, self.size)]
        while monotonic() < until and not all(file.exists() for file in files):
            sleep(PAUSE)
        found = [notes for notes in map(_read, files) if notes is not None] if self._is_ours() else []
        shutil.rmtree(self.folder, ignore_errors=True)
        return found

    def _is_ours(self) -> bool:
        """A folder that another user has made there is left alone."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        status = self.folder.lstat()
        own = getattr(os, "getuid", lambda: status.st_uid)()
        return stat.S_ISDIR(status.st_mode) and status.st_uid == own


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
