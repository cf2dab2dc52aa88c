"""What each declared pattern of frozen names stands for in this model."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase

from pytest_dlcheck.run.probe import Probe
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.trace import Row
from pytest_dlcheck.trial import Trial


class FrozenProbe(Probe[Rig]):
    """Fills the fact ``frozen_patterns``: a row per pattern of ``frozen=``."""

    channels = frozenset({"frozen_patterns"})

    def begin(self, rig: Rig, trial: Trial) -> None:
        """Match the patterns."""
        del trial
        parameters, buffers = list(rig.parameters), [n for n, _ in rig.model.named_buffers()]
        known = [*parameters, *buffers, *(n for n, _ in rig.model.named_modules() if n)]
        self._rows = tuple(
            Row(
                pattern=pattern,
                parameters=sum(_matches(name, pattern) for name in parameters),
                buffers=sum(_matches(name, pattern) for name in buffers),
                nearest=next(iter(get_close_matches(pattern.rstrip(".*"), known, n=1)), ""),
            )
            for pattern in rig.recipe.frozen
        )

    def filled(self) -> Mapping[str, tuple[Row, ...]]:
        """The rows."""
        return {"frozen_patterns": self._rows}


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or name.startswith(f"{pattern}.")
