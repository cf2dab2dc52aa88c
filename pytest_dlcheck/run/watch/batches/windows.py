"""Windows of one text or series that overlap: what is evaluated stands shifted in what was trained on.

Two windows of one series overlap up to their edges: the end of one is the beginning of the other.
Phrases that a text repeats seldom go on so far. Counts, no judgement.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.tensors.tree import is_plain, is_whole
from pytest_dlcheck.run.watch.batches.names import is_held_out
from pytest_dlcheck.trace import Scalar

BATCHES = 96
"""Batches of a kind whose windows are kept: the first ones that are remembered."""
ROWS = 64
"""Windows of a batch that are kept at most: the first ones."""
STEPS = 16, 512
"""Steps of a window, at least and at most: half of them must be told from chance."""
NUMBERS = 1 << 14
"""Numbers of a batch that are kept at most, in whole windows: 12 MB of all."""
TRAINED = 4096
"""Windows that were trained on (count) that others are held against, evenly taken."""
FEW = 8
"""Windows of a batch from which on it says anything by itself."""
CHANGES = 4
"""One step in so many of either half must differ from the one before: silence is no series."""
CHANCE = 0.05
"""Windows expected to be shared by chance, for each that is evaluated, above which nothing is told."""
SUPPORT = 4
"""Times (count) that stretches come, on average, from which on it is known what follows them."""
ALIKE = 4
"""Windows with the same beginning that are compared."""
_ORDER = 8
_EXACT = 1e-3
_BASE, _ODD = 6364136223846793005, 1442695040888963407
"""Of polynomials modulo 2 to the 64th: both odd."""
_ONE = torch.ones(1, dtype=torch.int64)
LONGEST = 1 << 21
"""Steps of a window, or a text, that can be compared."""
NONE: dict[str, Scalar] = {
    "windows": 0,
    "windows_shared": 0,
    "windows_cleanest": 0.0,
    "windows_coverage": 1.0,
    "windows_continued": 0.0,
    "windows_steps": 0,
    "windows_part": "",
}
"""What is told where no windows were seen, or nothing can be told of them."""


def windows_of(batch: Tensor) -> Tensor | None:
    """A copy of a batch of windows, ``[windows, steps]``, features last; None of other kinds."""
    if not is_plain(batch) or batch.is_complex() or batch.dtype == torch.bool or not batch.numel():
        return None
    found = batch.detach()
    if found.dim() == 3 and not is_whole(found):  # noqa: PLR2004  channels come first or last
        found = found if found.shape[1] >= found.shape[2] else found.mT
    found = found[: min(ROWS, NUMBERS // found[0].numel())] if found.dim() else found
    is_window = found.dim() in {2, 3} and STEPS[0] <= found.shape[1] <= STEPS[1] and len(found)
    return found.clone() if is_window else None


def overlapping(trained: Sequence[Any], evaluated: Sequence[Any], whole: int = 0) -> dict[str, Scalar]:
    """How many of the windows that are evaluated end as others begin that were trained on before.

    Those that were trained on as they are do not count, nor those that only begin as others end: so do
    the first ones of what comes after the training in time. Where some are called held out, others do
    not count either.

    Args:
        trained: what was seen, with ``windows`` and ``step``, in order.
        evaluated: the same, with ``part``, what the loop calls it.
        whole: samples of a pass over what is trained on, 0 where that is not known: not all are kept.
    """
    asked = [seen for seen in evaluated if seen.windows is not None]
    if not asked:
        return NONE
    asked = [seen for seen in asked if is_held_out(seen.part)] or asked
    late, same = asked[-1].step / 2, asked[0].windows.shape[1:]
    asked = [seen for seen in asked if seen.step >= late and seen.windows.shape[1:] == same]
    known = [s.windows for s in trained if s.windows is not None and s.step < asked[0].step]
    known = [each.cpu() for each in known if each.shape[1:] == same]
    if not known:
        return NONE
    values = torch.cat(known)
    theirs = Stretches(codes_of(values[:: -(-len(values) // TRAINED)]))
    ours = [codes_of(seen.windows.cpu()) for seen in asked]
    if not Stretches(torch.cat(ours)).where_begin(theirs)[0].any():
        return NONE  # as of nearly all that are no windows
    found = _shared(theirs, asked)
    if found["windows_shared"] and (_follow_a_rule(values) or not theirs.are_told_apart()):
        return NONE
    known_share = len(torch.unique(theirs.whole)) / whole if whole else 1.0
    return {**found, "windows_coverage": min(1.0, known_share)}


def _shared(theirs: Stretches, evaluated: Sequence[Any]) -> dict[str, Scalar]:
    """How many windows end as those begin."""
    shares, count, hits, begun, continued = list[float](), 0, 0, 0, 0
    for seen in evaluated:
        codes = codes_of(seen.windows.cpu())
        codes = codes[_change(codes) & ~torch.isin(Stretches(codes).whole, theirs.whole)]
        begins, goes_on = Stretches(codes).where_begin(theirs)
        begun, continued = begun + int(begins.sum()), continued + int(goes_on.sum())
        shared = goes_on.any(1)
        count, hits = count + len(codes), hits + int(shared.sum())
        shares += [float(shared.float().mean())] if len(codes) >= FEW else []
    return {
        "windows": count,
        "windows_shared": hits,
        "windows_cleanest": min(shares, default=0.0),
        "windows_continued": continued / max(1, begun),
        "windows_steps": theirs.steps,
        "windows_part": evaluated[-1].part if is_held_out(evaluated[-1].part) else "",
    }


class Stretches:
    """The stretches of some windows as numbers: equal ones have the same.

    Args:
        codes: a whole number of each step, ``[windows, steps]``.
    """

    def __init__(self, codes: Tensor) -> None:
        self._windows, self.steps = len(codes), codes.shape[1]
        self._powers = torch.cat([_ONE, torch.full((self.steps,), _BASE).cumprod(0)])
        sums = (codes * self._powers[: self.steps]).cumsum(1)
        self._sums = torch.cat([torch.zeros_like(codes[:, :1]), sums], 1)

    def numbers(self, length: int) -> Tensor:
        """A number of each stretch, ``[windows, places]``, to compare with those of longer windows."""
        return self.of(length) * _signed(pow(_BASE, LONGEST - self.steps, 1 << 64))

    @property
    def whole(self) -> Tensor:
        """One number of each window, ``[windows]``."""
        return self.of(self.steps)[:, 0]

    def where_begin(self, others: Stretches) -> tuple[Tensor, Tensor]:
        """Where the first half of another window stands in these, and where it goes on to their ends.

        Both are ``[windows, places]``, from the second step on.

        Args:
            others: of windows of the same length.
        """
        half = self.steps // 2
        here = self.of(half)[:, 1:].contiguous()
        begins, order = others.of(half)[:, 0].sort()
        at = torch.searchsorted(begins, here)
        goes_on = torch.zeros_like(here, dtype=torch.bool)
        for further in range(ALIKE):
            found = (at + further).clamp(max=len(begins) - 1)
            window, place = (begins[found] == here).nonzero(as_tuple=True)
            theirs = order[found[window, place]]
            goes_on[window, place] |= self._ends_as(others, window, place + 1, theirs)
        return begins[at.clamp(max=len(begins) - 1)] == here, goes_on

    def are_told_apart(self) -> bool:
        """Whether such windows hardly have halves in common by chance, as a few words make them."""
        half = self.steps // 2
        positions, bits = len(torch.unique(self.of(half))), math.inf
        before = 0.0
        for length in range(1, half):
            counts = torch.unique(self.of(length), return_counts=True)[1].double()
            if len(counts) > positions / SUPPORT:
                break
            shares = counts / counts.sum()
            entropy = float(-(shares * shares.log2()).sum())
            bits, before = entropy - before, entropy
        return bits == math.inf or self._windows * half * 2.0 ** (-bits * half) < CHANCE

    def _ends_as(self, others: Stretches, window: Tensor, place: Tensor, theirs: Tensor) -> Tensor:
        """Whether windows, from these places on, are the beginnings of those of others."""
        ours = self._sums[window, self.steps] - self._sums[window, place]
        whole = others._sums[theirs, self.steps - place] * self._powers[self.steps]
        return ours * self._powers[self.steps - place] == whole

    def of(self, length: int) -> Tensor:
        """A number of each stretch of so many steps, ``[windows, places]``."""
        places = self.steps - length + 1
        found = self._sums[:, length:] - self._sums[:, :places]
        return found * self._powers[self.steps - torch.arange(places)]


def _follow_a_rule(windows: Tensor) -> bool:
    """Whether the next number is a sum of the last ones, each times one number, as of sines."""
    series = windows.double().reshape(*windows.shape[:2], -1)[:, :, 0]
    stretches = series.unfold(1, _ORDER + 1, 1).reshape(-1, _ORDER + 1)[: 1 << 14]
    if not bool(torch.isfinite(stretches).all()):
        return True
    inputs = torch.cat([stretches[:, :-1], torch.ones(len(stretches), 1, dtype=torch.float64)], 1)
    target = stretches[:, -1:]
    fitted = inputs @ torch.linalg.lstsq(inputs, target, driver="gelsd").solution
    return bool((fitted - target).std() <= _EXACT * target.std())


def _change(codes: Tensor) -> Tensor:
    """Whether enough steps of either half differ from those before."""
    changes, half = codes[:, 1:] != codes[:, :-1], codes.shape[1] // 2
    first, last = changes[:, :half].sum(1), changes[:, half:].sum(1)
    return torch.minimum(first, last) >= half // CHANGES


def codes_of(windows: Tensor) -> Tensor:
    """A whole number of each step, ``[windows, steps]``."""
    whole = windows.long() if is_whole(windows) else windows.double().contiguous().view(torch.int64)
    whole = whole.reshape(*windows.shape[:2], -1)
    features = torch.arange(1, 1 + whole.shape[2])
    return ((whole ^ (whole >> 29)) * (features * _ODD) + _ODD).sum(2)


def _signed(number: int) -> int:
    """A number below 2 to the 64th, as torch holds it."""
    return number - (1 << 64) if number >= 1 << 63 else number
