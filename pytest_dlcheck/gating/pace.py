"""Numbers of fresh processes held against a floor or history. It sees no traces.

The process is what is replicated: rounds inside one process share its memory layout, its compiled code
and its moment, and rank tests over them raise false alarms most of the time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean, variance

from pytest_dlcheck.gating.ruling import Ruling, State
from pytest_dlcheck.gating.spending import Look
from pytest_dlcheck.statistics import Interval
from pytest_dlcheck.verdict import Measure

FAILING = 0.01
"""One-sided error of failing (probability), of all looks together: a false alarm costs trust."""
PASSING = 0.1
"""One-sided error of passing (probability), of all looks together: what is worse by the margin is found
nine times of ten, as tests are usually planned."""
SHOWN = 0.025
"""One-sided error of the limits that are shown of a mean (probability): 95 % between them."""
WINDOW = 20
"""Earlier runs that are looked at, the latest ones."""
FEWEST_RUNS = 3
"""Earlier runs from which on history is judged: two tell next to nothing about their noise."""
_PERCENT = 100
_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))


@dataclass(frozen=True, slots=True)
class Quantity:
    """What is measured once in each process.

    Attributes:
        name: as it is recorded: ``"throughput"``.
        unit: of its values: ``samples/s``, ``s``, ``bytes``.
        sense: ``">="`` where more is better, ``"<="`` where less is.
        worse: the word for a change to the worse: ``"slower"``, ``"more"``.
    """

    name: str
    unit: str
    sense: str
    worse: str

    @property
    def sign(self) -> int:
        """1 where less is better, so that a change to the worse is positive."""
        return 1 if self.sense == "<=" else -1

    def badness(self, values: Sequence[float]) -> list[float]:
        """The logarithms of values, turned so that more is worse."""
        return [self.sign * math.log(value) if value > 0 else math.nan for value in values]

    def value(self, badness: float) -> float:
        """The value of such a logarithm."""
        return math.exp(min(700.0, max(-700.0, self.sign * badness)))

    def words(self, value: float) -> str:
        """A value with its unit: ``5,120 samples/s``, ``1.24 ms``, ``12.5 MiB``."""
        if self.unit == "bytes":
            return _bytes(value)
        if self.unit != "s":
            return f"{value:,.4g} {self.unit}" if abs(value) < 1e4 else f"{value:,.0f} {self.unit}"  # noqa: PLR2004
        scale, prefix = next(((s, p) for s, p in _PREFIXES[3:] if value >= s), _PREFIXES[-1])
        return f"{value / scale:.4g} {prefix}s"


@dataclass(frozen=True, slots=True)
class Looks:
    """After how many processes a side it is looked whether they decide.

    Attributes:
        first: at the first look.
        last: at the last look.
    """

    first: int
    last: int

    def risks(self, number: int) -> tuple[float, float]:
        """The one-sided errors of failing and of passing that one look may spend."""
        looks = (Look(number, self.first, self.last, risk) for risk in (FAILING, PASSING))
        failing, passing = (look.level for look in looks)
        return failing, passing


@dataclass(frozen=True, slots=True)
class Sample:
    """One quantity in some processes.

    Attributes:
        quantity: what was measured.
        values: one per process, in its unit, in the order in which they ran.
        margin: how much worse does not matter (ratio).
    """

    quantity: Quantity
    values: tuple[float, ...]
    margin: float

    def interval(self, risk: float) -> Interval:
        """The geometric mean with one-sided limits that each err with that probability; in its unit."""
        mean, half = _mean_and_half(self.quantity.badness(self.values), risk)
        ends = sorted((self.quantity.value(mean - half), self.quantity.value(mean + half)))
        return Interval(self.quantity.value(mean), *ends)

    def measure(self, bound: float | None = None) -> Measure:
        """The number, with its 95 % limits."""
        found = self.interval(SHOWN)
        known = len(self.values) > 1
        return Measure(
            self.quantity.name,
            found.estimate,
            self.quantity.unit,
            bound,
            self.quantity.sense,
            found.low if known else None,
            found.high if known else None,
            self.values,
        )

    def story(self) -> str:
        """What was measured, in words."""
        say, found = self.quantity.words, self.interval(SHOWN)
        count = len(self.values)
        if count == 1:
            return f"{self.quantity.name} {say(found.estimate)} in one process"
        low, high = say(found.low).split(" ", 1), say(found.high).split(" ", 1)
        shared = low[1] == high[1] == say(found.estimate).split(" ", 1)[1]
        ends = (low[0], high[0]) if shared else (" ".join(low), " ".join(high))
        limits = f" [{', '.join(ends)}]" if found.high > found.low else ""
        return f"{self.quantity.name} {say(found.estimate)}{limits} in {count} processes"


def against_bound(sample: Sample, bound: float, looks: Looks) -> Ruling:
    """A number to reach.

    It fails where the better end of the strict interval misses the bound. It holds where the worse end
    reaches it, or where the mean does and the interval reaches no further than the margin beyond.

    Args:
        sample: the processes.
        bound: in the quantity's unit.
        looks: among which the errors are divided.
    """
    quantity = sample.quantity
    badness, limit = quantity.badness(sample.values), quantity.badness([bound])[0]
    failing, passing = looks.risks(len(badness))
    mean, strict = _mean_and_half(badness, failing)
    _, half = _mean_and_half(badness, passing)
    state: State = "open"
    if mean - strict > limit:
        state = "fails"
    elif mean + half <= limit or (mean <= limit and half <= math.log1p(sample.margin)):
        state = "holds"
    because = f"{sample.story()}; must be {quantity.sense} {quantity.words(bound)}"
    return Ruling(quantity.name, state, because, sample.measure(bound))


def against_history(sample: Sample, runs: Sequence[float], name: str, first: int) -> Ruling:
    """The latest runs of a baseline on this machine.

    It fails where the mean of the first processes, and again that of as many further ones, lies beyond
    the one-sided prediction limit of the runs and beyond the margin.

    Args:
        sample: the processes; the first ``first`` of them are the first measurement.
        runs: values of earlier runs, oldest first.
        name: of the baseline.
        first: processes of one measurement.
    """
    quantity = sample.quantity
    past = quantity.badness(runs[-WINDOW:])
    spread = math.sqrt(variance(past) * (1 + 1 / len(past)))
    limit = max(t_quantile(FAILING, len(past) - 1) * spread, math.log1p(sample.margin))
    badness = [one - fmean(past) for one in quantity.badness(sample.values)]
    firstly, again = badness[:first], badness[first : 2 * first]
    state: State = "holds"
    if fmean(firstly) > limit:
        late = len(again) == first and fmean(again) > limit
        state = "fails" if late else "holds" if len(again) == first else "open"
    elif math.isnan(fmean(firstly)):
        state = "unknown"
    ratio = math.exp(fmean(badness))
    told = f"{change(ratio, quantity)} than the {len(past)} last runs of {name}"
    because = f"{sample.story()}; {told}; up to {percent(math.exp(limit))} is allowed"
    measure = Measure(
        f"{quantity.name} against {name}", ratio, "ratio", math.exp(limit), samples=exponentials(badness)
    )
    return Ruling(quantity.name, state, because, measure)


@cache
def t_quantile(risk: float, freedom: float) -> float:
    """The upper quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 1 - risk))


def _mean_and_half(badness: Sequence[float], risk: float) -> tuple[float, float]:
    if len(badness) <= 1:
        return fmean(badness), math.inf
    error = math.sqrt(variance(badness) / len(badness))
    return fmean(badness), reach(risk, len(badness) - 1, error)


def reach(risk: float, freedom: float, error: float) -> float:
    """How far a one-sided limit lies from the mean."""
    return t_quantile(risk, freedom) * error if math.isfinite(error) else math.inf


def exponentials(values: Sequence[float]) -> tuple[float, ...]:
    """Of logarithms."""
    return tuple(map(math.exp, values))


def change(ratio: float, quantity: Quantity) -> str:
    """A ratio to the worse (above 1) or to the better, in words."""
    if ratio >= 1 or quantity.unit == "bytes":
        word = quantity.worse if ratio >= 1 else "less"
        return f"{abs(ratio - 1) * _PERCENT:.3g} % {word}"
    return f"{(1 - ratio) * _PERCENT:.3g} % faster"


def percent(ratio: float) -> str:
    """By how much a ratio is above 1."""
    return f"{(ratio - 1) * _PERCENT:.3g} %"


def _bytes(value: float) -> str:
    scale, unit = next(
        ((s, u) for s, u in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")) if value >= s), (1, "bytes")
    )
    return f"{value / scale:,.4g} {unit}"
