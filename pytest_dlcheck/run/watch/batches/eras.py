"""Whether a training goes on with the parameters that were validated, or others. No judgement."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.code.lines import frame_of_the_loop
from pytest_dlcheck.run.tensors.sampled import sample_of
from pytest_dlcheck.run.watch.batches.seen import Seen
from pytest_dlcheck.run.watch.counted import Counted

WITNESSES = 3
"""Parameters that are compared."""
NUMBERS = 64
"""Numbers of a parameter whose direction says that it is another one: chance makes a cosine of 0.13."""
APART = 0.5
"""Cosine up to which it is; chosen: training turns weights, and those that are set back turn as far."""
LOOKS = 64
"""Validations after which they are compared; later they count as set."""


class Eras:
    """Counts how often a training went on with other parameters than it was validated with.

    Args:
        parameters: of what is trained.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        every = [p for p in parameters if p.numel()]
        self._witnesses = every[:: max(1, len(every) // WITNESSES)][:WITNESSES]
        self.kept: list[Tensor] | None = None
        """Samples of them, from an evaluation that no training has followed yet."""
        self._looks = 0
        self.number = 0
        """How often."""
        self._drawn: list[Counted] = []

    def is_evaluated(self) -> None:
        """Remember the parameters, at the first evaluation since the last training."""
        if self.kept is None:
            self._looks += 1
            few = self._looks <= LOOKS
            self.kept = [sample_of(p).clone() for p in self._witnesses] if few else []

    def trains(self) -> None:
        """Compare, at the first training since the last evaluation."""
        if self.kept is None:
            return
        kept, self.kept = self.kept, None
        if len(kept) < len(self._witnesses):
            self.number += 1
            return
        pairs = [(sample_of(p), before) for p, before in zip(self._witnesses, kept, strict=True)]
        if not all(torch.equal(now, before) for now, before in pairs):
            self.number += 1
            if _are_drawn_anew(pairs):
                self._drawn.append(Counted.of(frame_of_the_loop()))

    def drawn_anew(self) -> int:
        """How often they then had nothing in common with those, in their directions.

        Never, where the loop counts what has parameters of its own: restarts, folds.
        """
        counts_others = any(each.others != self._drawn[0].others for each in self._drawn)
        return 0 if counts_others else len(self._drawn)

    def close(self) -> None:
        """Let them go."""
        self._witnesses, self.kept = [], None


def are_folds(trained: Sequence[Seen], evaluated: Sequence[Seen]) -> bool:
    """Whether some samples are evaluated in one era, and trained on in others alone."""
    eras: dict[float, set[int]] = defaultdict(set)
    for seen in trained:
        for value in seen.values():
            eras[value].add(seen.era)
    asked = ((value, seen.era) for seen in evaluated for value in seen.values() if value in eras)
    return any(era not in eras[value] for value, era in asked)


def _are_drawn_anew(pairs: Sequence[tuple[Tensor, Tensor]]) -> bool:
    """Whether all parameters point elsewhere, as far as they are many numbers that differ."""
    told = [(now.float(), before.float()) for now, before in pairs if now.numel() >= NUMBERS]
    told = [(now - now.mean(), before - before.mean()) for now, before in told]
    told = [(now, before) for now, before in told if now.any() and before.any()]
    return bool(told) and all(
        bool(torch.cosine_similarity(now, before, dim=0) < APART) for now, before in told
    )
