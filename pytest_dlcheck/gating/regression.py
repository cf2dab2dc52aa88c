"""Rules whether a metric is worse than it was: at another commit, or in earlier runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean, variance

from pytest_dlcheck.baseline import Past
from pytest_dlcheck.gating.claim import Claim
from pytest_dlcheck.gating.noise import SeedNoise, sign_test, t_quantile
from pytest_dlcheck.gating.readings import Reading
from pytest_dlcheck.gating.ruling import Ruling, State
from pytest_dlcheck.statistics import Interval
from pytest_dlcheck.verdict import Measure

WINDOW = 20
"""Earlier runs that are looked back at."""
MANY = 20
"""How many times more seeds are told to be needed at most."""
UNCHANGED = Interval(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class AgainstCommit:
    """A metric against the same of another commit, seed by seed, on the same examples.

    It holds where it is surely less than the margin worse, or where every training is the same bit for
    bit. It fails where it is surely worse by the paired differences of seeds, by more than the margin
    as measured, and where the examples that changed sides are surely no accident either.
    """

    claim: Claim
    bases: Mapping[int, Reading]
    name: str

    def rule(self, among: int = 1) -> Ruling:
        """What came of it, where so many hypotheses share the risk of a false failure."""
        claim = self.claim
        pairs = [(self.bases[head.seed], head) for head in claim.readings if head.seed in self.bases]
        drops = tuple(claim.sign * (base.value - head.value) for base, head in pairs)
        heads, bases = fmean(h.value for _, h in pairs), fmean(b.value for b, _ in pairs)
        story = f"{claim.metric} {heads:.4g} against {bases:.4g} at {self.name}"
        if all(base.is_same_as(head) for base, head in pairs):
            alike = f"trained bit for bit alike over {_seeds(len(pairs))}, {_margin(claim)}"
            return _ruling(claim, "holds", f"{story}: {alike}", UNCHANGED, drops)
        level, strict = claim.look.level, claim.look.at(claim.look.number, among)
        error, freedom = _paired(claim).error(drops)
        drop = _limited(fmean(drops), error, freedom, level)
        state = _state(claim, drop, _limited(fmean(drops), error, freedom, strict))
        sides = _changed_sides(pairs)
        if state == "fails" and sides is not None and sign_test(*sides) > strict:
            state = "open"
        told = f"{_told(claim, drop)} over {_seeds(len(pairs))}{_counted(sides)}, {_margin(claim)}"
        if state != "fails" and claim.is_share and (coarse := _too_coarse(claim, heads)):
            return _ruling(claim, "unknown", f"{story}: {told}; {coarse}", drop, drops)
        told += _more_seeds(claim, drop, len(drops)) if state == "open" else ""
        return _ruling(claim, state, f"{story}: {told}", drop, drops)


@dataclass(frozen=True, slots=True)
class AgainstPast:
    """A metric against its earlier runs on this kind of machine.

    As against a commit, but earlier runs have left numbers only: means are compared, with the noise
    between seeds of this run and of the earlier ones. Values that came again are counted once, because
    the same training repeated tells nothing new; so the noise assumed at first weighs the more.
    """

    claim: Claim
    past: Sequence[Past]
    name: str

    def rule(self, among: int = 1) -> Ruling:
        """What came of it, where so many hypotheses share the risk of a false failure."""
        claim, window = self.claim, self.past[-WINDOW:]
        before = fmean(fmean(_samples(run)) for run in window)
        ran = f"{len(window)} run{'s' if len(window) > 1 else ''} of {self.name}"
        story = f"{claim.metric} {claim.mean:.4g} against {before:.4g} in {ran}"
        drops = tuple(claim.sign * (before - value) for value in claim.values)
        same = min(len(claim.values), len(_samples(window[-1])))
        if claim.values[:same] == _samples(window[-1])[:same]:
            alike = f"to the last digit as in the last of them, {_margin(claim)}"
            return _ruling(claim, "holds", f"{story}: {alike}", UNCHANGED, drops)
        level, strict = claim.look.level, claim.look.at(claim.look.number, among)
        error, freedom = self._error(set(chain.from_iterable(map(_samples, window))))
        drop = _limited(fmean(drops), error, freedom, level)
        state = _state(claim, drop, _limited(fmean(drops), error, freedom, strict))
        told = f"{_told(claim, drop)} over {_seeds(len(drops))}, {_margin(claim)}"
        told += _more_seeds(claim, drop, len(drops)) if state == "open" else ""
        return _ruling(claim, state, f"{story}: {told}", drop, drops)

    def _error(self, earlier: set[float]) -> tuple[float, int]:
        """The standard error of the difference of means, and its degrees of freedom."""
        claim, noise, further = self.claim, self.claim.seeds(), len(earlier) - 1
        total = noise.weight * noise.deviation**2 + further * (variance(earlier) if further else 0.0)
        weight = noise.weight + further
        error, freedom = SeedNoise((total / weight) ** 0.5, weight).error(claim.values)
        return error * (1 + len(claim.values) / len(earlier)) ** 0.5, freedom


def _more_seeds(claim: Claim, drop: Interval, seeds: int) -> str:
    """How many seeds might decide it, after the last look; empty before."""
    if claim.look.number < claim.look.last:
        return ""
    half = drop.high - drop.estimate
    way = max(claim.margin - drop.estimate, drop.estimate if drop.estimate > claim.margin else 0.0)
    needed = seeds * (half / way) ** 2 if way > 0 else math.inf
    if needed > MANY * seeds:
        return "; it is too close to the margin to be told: allow more (margin=), or less"
    return f"; about {math.ceil(needed) + 1} seeds may decide it (max_seeds=)"


def _state(claim: Claim, drop: Interval, strict: Interval) -> State:
    if strict.low > 0 and drop.estimate > claim.margin:
        return "fails"
    return "holds" if drop.high < claim.margin else "open"


def _limited(mean: float, error: float, freedom: int, level: float) -> Interval:
    half = t_quantile(level, freedom) * error
    return Interval(mean, mean - half, mean + half)


def _paired(claim: Claim) -> SeedNoise:
    """A difference of two trainings has the noise of both."""
    alone = claim.seeds()
    return SeedNoise(2**0.5 * alone.deviation, alone.weight)


def _samples(run: Past) -> tuple[float, ...]:
    return run.samples or (run.value,)


def _changed_sides(pairs: Sequence[tuple[Reading, Reading]]) -> tuple[int, int] | None:
    """How many examples are less often right now, and how many more often; None where not known."""
    if any(not (b.right and b.order == h.order and len(b.right) == len(h.right)) for b, h in pairs):
        return None
    if len({len(head.right) for _, head in pairs}) != 1:
        return None
    import numpy as np

    less = np.zeros(len(pairs[0][0].right), dtype=np.int32)
    for base, head in pairs:
        less += np.frombuffer(base.right, np.int8)
        less -= np.frombuffer(head.right, np.int8)
    return int((less > 0).sum()), int((less < 0).sum())


def _too_coarse(claim: Claim, share: float) -> str:
    """Why examples are too few to tell the margin at all; empty where they are enough."""
    samples = min(reading.samples for reading in claim.readings)
    if not 0 < claim.margin * samples < 1:
        return ""
    needed = max(2 / claim.margin, share * (1 - share) / claim.margin**2)
    return (
        f"one of {samples:,} samples alone is {claim.amount(1 / samples)}: to tell "
        f"{claim.amount(claim.margin)} needs about {needed:,.0f}"
    )


def _told(claim: Claim, drop: Interval) -> str:
    word, shown = ("worse", drop) if drop.estimate >= 0 else ("better", -drop)
    scale = 100 if claim.is_share else 1
    bounds = f"[{scale * shown.low:.3g}, {scale * shown.high:.3g}]"
    return f"{word} by {claim.amount(shown.estimate)} {bounds}"


def _counted(sides: tuple[int, int] | None) -> str:
    return "" if sides is None else f" ({sides[0]:,} examples worse, {sides[1]:,} better)"


def _margin(claim: Claim) -> str:
    return f"with a margin of {claim.amount(claim.margin)}"


def _seeds(count: int) -> str:
    return f"{count} seed{'s' if count > 1 else ''}"


def _ruling(claim: Claim, state: State, because: str, drop: Interval, drops: Sequence[float]) -> Ruling:
    measure = Measure(
        f"worsening of {claim.metric}",
        drop.estimate,
        claim.unit,
        claim.margin,
        "<=",
        drop.low,
        drop.high,
        tuple(drops),
    )
    remedy = "look at what changed in between; if so much may be lost, say margin="
    return Ruling(claim.metric, state, because, measure, remedy if state == "fails" else "")
