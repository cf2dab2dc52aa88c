"""The last batches that loaders gave, held against what a model is called on and a loss compares."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from pytest_dlcheck.run.probes.batches import fingerprint
from pytest_dlcheck.run.watch.batches.units import holds

KEPT = 4
"""Batches before this one that its targets may belong to."""
STRANGE = 4
"""Losses after which inputs that were never a loader's are not asked for in other units again."""


class Loaded:
    """The last batches.

    Attributes:
        batches: the tensors of each, inputs first.
    """

    def __init__(self) -> None:
        self.batches: deque[list[Tensor]] = deque(maxlen=KEPT)
        self._sources: deque[int] = deque(maxlen=KEPT)
        """Of which data set each is, by its identity."""
        self._strange = 0

    def add(self, batch: list[Tensor], reading: object) -> None:
        """A loader's iterator has given a batch."""
        self.batches.append(batch)
        self._sources.append(id(getattr(reading, "_dataset", None)))

    def clear(self) -> None:
        """They are of no use any more."""
        self.batches.clear()
        self._sources.clear()

    def aligned(self, inputs: list[Tensor], targets: list[Tensor]) -> tuple[bool | None, int]:
        """Whether a target came with an input, and if not, how much older it is; None where untold.

        What comes without targets has them elsewhere, and so has what another loader gives beside it.

        Args:
            inputs: what a model was called on.
            targets: what the loss has kept.
        """
        if len(self.batches) <= 1 or not inputs or not targets:
            return None, 0
        called, compared = set(weighed(inputs)), set(weighed(targets))
        batches = [weighed(batch) for batch in self.batches]
        asked = [i for i, batch in enumerate(batches) if batch[:1] and batch[0] in called]
        if not asked and self._strange < STRANGE:
            asked = [i for i, batch in enumerate(self.batches) if _is_first(batch, inputs)]
            self._strange += not asked
        if any(compared & set(batches[i]) for i in asked):
            return True, 0
        paired = [i for i in asked if len(batches[i]) > 1]
        sources = {self._sources[i] for i in paired}
        others = [i for i, batch in enumerate(batches) if compared & set(batch)]
        others = [i for i in others if self._sources[i] in sources]
        return (False, max(paired) - max(others)) if others else (None, 0)


def weighed(found: Sequence[Tensor]) -> list[float]:
    """Fingerprints; read back at once, on the few steps that are looked at."""
    with torch.no_grad():
        usable = [t for t in found if t.numel() and t.layout == torch.strided and not t.is_complex()]
        return [float(f"{fingerprint(t).item():.5e}") for t in usable]


def _is_first(batch: Sequence[Tensor], inputs: Sequence[Tensor]) -> bool:
    return any(holds(called, given) for given in batch[:1] for called in inputs)
