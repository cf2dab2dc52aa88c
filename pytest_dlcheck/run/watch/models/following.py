"""Whether a copy of a model follows it, or moves by rounding or a factor alone, or is untrained.

No judgement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.modules.freshness import is_untrained
from pytest_dlcheck.run.tensors.sampled import reals_of, sample_of

WITNESSES = 4
"""Parameters of each that are compared."""
MATRICES = 8
"""Weights that tell whether a model is untrained."""
ROUNDINGS = 2
"""Roundings (count) of ``copy * d + copy * (1 - d)``, each of half an ulp or more, in a step."""
ALIGNED = 0.9
"""Cosine from which on a copy points where the trained weights do."""
SLOWEST = 1e-5
"""Share of the way (ratio) that an average makes in a step: a decay of 0.99999, ten times slower than
the 0.9999 that is usual for the longest trainings."""


@dataclass(frozen=True)
class Sample:
    """A part of a model's parameters as they were.

    Attributes:
        parts: of a few of them.
        among: the places of those that they were chosen from; empty for all.
    """

    parts: tuple[Tensor, ...]
    among: tuple[int, ...] = ()

    @classmethod
    def of(cls, model: nn.Module, among: Sequence[int] = ()) -> Sample:
        """What they are now.

        Args:
            model: whose.
            among: the places of parameters that a training moves: others say nothing of a copy.
        """
        return cls(tuple(sample_of(p).clone() for p in _witnesses(model, among)), tuple(among))

    def equals(self, model: nn.Module) -> bool:
        """Whether they are the same to the bit."""
        now = [sample_of(p) for p in _witnesses(model, self.among)]
        return all(torch.equal(a, b) for a, b in zip(now, self.parts, strict=False))

    def change(self, model: nn.Module) -> float:
        """The largest relative change (ratio) of a parameter since, a common factor left out.

        An average that follows itself in place, ``a.mul_(d).add_(a, alpha=1 - d)``, shrinks by a factor.
        """
        now = [sample_of(p) for p in _witnesses(model, self.among)]
        changes = [_apart(reals_of(a), reals_of(b)) for a, b in zip(now, self.parts, strict=False)]
        return max(changes, default=0.0)

    def ulp(self) -> float:
        """The coarsest rounding among them (ratio)."""
        return max((torch.finfo(p.dtype).eps for p in self.parts if _is_rounded(p)), default=0.0)


def has_moved(
    copy: nn.Module, before: Sample, trained: nn.Module | None, then: Sample | None, steps: int
) -> bool:
    """Whether a copy has moved: by more than rounding and a factor, or as far as a slow average would.

    Args:
        copy: which.
        before: what it was.
        trained: the model that it may follow; None where none is known.
        then: what that was.
        steps: steps taken since.
    """
    if before.equals(copy):
        return False
    if trained is None or then is None:
        return True
    change = before.change(copy)
    own = SLOWEST * steps / 2 * then.change(trained)
    return change > ROUNDINGS * before.ulp() * steps or change >= own


def size_beside(copy: nn.Module, began: Sample, trained: nn.Module) -> float:
    """How large a copy is beside all that it may be an average of (ratio): 1 within that range.

    What weights that sum to 1 make of a way lies, along any direction, between the way's ends, or beyond
    them no farther than the way went. So it is told along the trained weights alone, and only of a copy
    that points there; 1 of others.

    Args:
        copy: which.
        began: what the trained model was at first.
        trained: what it is now.
    """
    own, now = (Sample.of(model, began.among) for model in (copy, trained))
    if [p.shape for p in own.parts] != [p.shape for p in began.parts] or not own.parts:
        return 1.0
    it, end, start = map(flat, (own, now, began))
    length, far = float(end.norm()), float(it.norm())
    if not length or not far or float(it @ end) < ALIGNED * length * far:
        return 1.0
    along, first = float(it @ end) / length, float(start @ end) / length
    least, most = min(first, length), max(first, length)
    return 1.0 if least <= 0 else min(along / least, 1.0) * max(along / most, 1.0)


def is_fresh(model: nn.Module) -> bool:
    """Whether its weights look as a usual initialisation draws them, in all that tell; up to a few."""
    told = _are_untrained(model)
    return True in told and False not in told


def may_be_fresh(model: nn.Module) -> bool:
    """Whether none of them tells that it was trained; small ones tell nothing."""
    return False not in _are_untrained(model)


def _are_untrained(model: nn.Module) -> list[bool | None]:
    matrices = [p for p in model.parameters() if p.dim() > 1]
    return [is_untrained(p) for p in matrices[:: max(1, len(matrices) // MATRICES)][:MATRICES]]


def flat(sample: Sample) -> Tensor:
    """All numbers of one, end to end, on the CPU."""
    return torch.cat([reals_of(part).float().cpu() for part in sample.parts])


def _is_rounded(numbers: Tensor) -> bool:
    return numbers.is_floating_point() or numbers.is_complex()


def _apart(now: Tensor, before: Tensor) -> float:
    size = float(before.norm())
    if not size:
        return float(now.norm() > 0)
    along = float(now @ before) / size**2
    return float((now - along * before).norm()) / size


def _witnesses(model: nn.Module, among: Sequence[int]) -> list[nn.Parameter]:
    every = list(model.parameters())
    every = [p for p in ([every[place] for place in among] or every) if p.numel()]
    return every[:: max(1, len(every) // WITNESSES)][:WITNESSES]
