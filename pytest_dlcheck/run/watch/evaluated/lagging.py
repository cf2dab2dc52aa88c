"""How far a copy of a model stays behind it, in steps. No judgement.

An average that keeps a share d of itself stays behind by d / (1 - d) steps or more, as long as the model
moves on. Where d and 1 - d are exchanged, it stays behind by 1 - d of the last step alone.
"""

from __future__ import annotations

from torch import Tensor, nn

from pytest_dlcheck.run.watch.models.following import Sample, flat

LOOKS = 64
"""Looks (count) that are kept."""
FAR = 1e9
"""Steps (count) that stand for a copy that lies elsewhere."""
ALONG = 0.05
"""Cosine with the way that the model has come from which on a copy stays behind along it: a single step
of a hundred that wander is along their way by 0.1; what was rounded, by nothing."""
NOISE = 4.0
"""Standard errors of the cosine of two random directions that it must be above as well."""


class Lag:
    """Of one copy.

    The way that it is behind by is counted in what the model has come in a step since the look before.
    """

    def __init__(self) -> None:
        self._shares: list[float] = []
        """By how many steps it was behind at each look; infinite where it lay elsewhere."""
        self._before: tuple[int, Sample] | None = None
        self.is_told = False
        """Whether it was, since it has begun again."""

    def look(self, copy: nn.Module, model: nn.Module, steps: int) -> None:
        """They are such now.

        Args:
            copy: of the model, once.
            model: which is trained.
            steps: that it has taken.
        """
        before, now = self._before, Sample.of(model)
        if before is not None and before[0] == steps:
            return
        self._before = steps, now
        if before is not None and len(self._shares) < LOOKS:
            then, its, own = flat(before[1]), flat(Sample.of(copy)), flat(now)
            if then.shape == its.shape == own.shape:
                self._add(own - then, own - its, steps - before[0])

    def begin_again(self) -> None:
        """The next look is held against none before it."""
        self._before, self.is_told = None, False

    @property
    def count(self) -> int:
        """How often it was told how far behind it was."""
        return len(self._shares)

    def facts(self) -> dict[str, float]:
        """How often it was looked at, and by how many steps it was behind: the least and the most."""
        return {
            "looks_behind": len(self._shares),
            "least_behind": min(self._shares, default=0.0),
            "most_behind": min(max(self._shares, default=0.0), FAR),
        }

    def _add(self, way: Tensor, behind: Tensor, steps: int) -> None:
        far, left = float(way.norm()), float(behind.norm())
        if not far > 0:
            return
        self.is_told = True
        along = float(way @ behind) / (far * left) if left else 1.0
        least = max(ALONG, NOISE / way.numel() ** 0.5)
        self._shares.append(steps * left / far if along >= least else float("inf"))
