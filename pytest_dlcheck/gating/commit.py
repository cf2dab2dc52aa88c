"""Numbers of fresh processes held against those of another commit. It sees no traces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median, variance

from pytest_dlcheck.gating.pace import Looks, Sample, change, exponentials, percent, reach
from pytest_dlcheck.gating.ruling import Ruling, State
from pytest_dlcheck.verdict import Measure

_HASH = 40


@dataclass(frozen=True, slots=True)
class Difference:
    """By how much the code at hand is worse, on the scale of logarithms.

    Attributes:
        mean: the estimate; above 0 is worse.
        error: its standard error; infinite where there are too few processes to tell.
        freedom: degrees of freedom of that.
        count: processes a side.
        singles: one difference for each process of the code at hand.
        how: the two ran, in words.
    """

    mean: float
    error: float
    freedom: float
    count: int
    singles: tuple[float, ...]
    how: str


def apart(head: Sequence[float], base: Sequence[float]) -> Difference:
    """Of processes that ran one after the other, after Welch (1947).

    Args:
        head: one logarithm per process of the code at hand, more is worse.
        base: the same of the other commit.
    """
    mean, middle = fmean(head) - fmean(base), fmean(base)
    singles = tuple(one - middle for one in head)
    how = f"processes in turns with {len(base)} of it"
    if min(len(head), len(base)) <= 1:
        return Difference(mean, math.inf, 1.0, 1, singles, how)
    a, b = variance(head) / len(head), variance(base) / len(base)
    count = min(len(head), len(base))
    if not a + b > 0:
        return Difference(mean, math.nan if math.isnan(a + b) else 0.0, 1.0, count, singles, how)
    freedom = (a + b) ** 2 / (a**2 / (len(head) - 1) + b**2 / (len(base) - 1))
    return Difference(mean, math.sqrt(a + b), freedom, count, singles, how)


def in_turns(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> Difference:
    """Of processes that ran at the same time, in pairs that took turns at every block.

    What disturbs the machine for longer than a turn disturbs both of a pair alike. So each pair gives
    one number, the median difference of blocks that followed each other; what differs from process to
    process remains, and is the noise of the mean over pairs (Student). The idea is that of duet
    benchmarking (Bulej et al. 2020), with turns in place of two processors.

    Args:
        pairs: of the code at hand and of the other commit, one logarithm per block, more is worse.
    """
    singles = tuple(median(h - b for h, b in zip(*pair, strict=False)) for pair in pairs)
    error = math.sqrt(variance(singles) / len(singles)) if len(singles) > 1 else math.inf
    how = f"in {len(singles)} pair{'s' * (len(singles) != 1)} that took turns"
    return Difference(fmean(singles), error, max(1, len(singles) - 1), len(singles), singles, how)


def against_commit(sample: Sample, difference: Difference, name: str, looks: Looks) -> Ruling:
    """Another commit, run beside this one.

    It fails where a one-sided t test on the logarithms says that it is worse (p < 0.01 over all looks)
    and the ratio is beyond the margin; it holds where the upper end of the ratio's interval is within
    the margin.

    Args:
        sample: the processes of the code at hand.
        difference: to those of the other commit.
        name: of that commit.
        looks: among which the errors are divided.
    """
    quantity, found = sample.quantity, difference
    failing, passing = looks.risks(found.count)
    half = reach(passing, found.freedom, found.error)
    allowed = math.log1p(sample.margin)
    surely_worse = found.mean > reach(failing, found.freedom, found.error)
    state: State = "open"
    if surely_worse and found.mean > allowed:
        state = "fails"
    elif found.mean + half < allowed:
        state = "holds"
    ratio, low, high = (math.exp(x) for x in (found.mean, *_ends(found.mean, half)))
    limits = f" [{_signed(low)}, {_signed(high)}]" if math.isfinite(half) else ""
    told = f"{change(ratio, quantity)}{limits} than at {short(name)}, {found.how}"
    because = f"{sample.story()}; {told}; up to {percent(1 + sample.margin)} is allowed"
    measure = Measure(
        f"{quantity.name} against {short(name)}",
        ratio,
        "ratio",
        1 + sample.margin,
        "<=",
        low,
        high,
        exponentials(found.singles),
    )
    return Ruling(quantity.name, state, because, measure)


def short(revision: str) -> str:
    """A commit in few characters, a name as it is."""
    return revision[:10] if len(revision) == _HASH else revision


def _ends(middle: float, half: float) -> tuple[float, float]:
    return (middle - half, middle + half) if math.isfinite(half) else (-math.inf, 700.0)


def _signed(ratio: float) -> str:
    return f"{(ratio - 1) * 100:+.3g} %"
