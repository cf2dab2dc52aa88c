"""Losses that fall below zero, ever faster: whether they do, and what is told of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from math import isfinite
from statistics import median

from pytest_dlcheck.faults.dynamics.breakage import broken_at
from pytest_dlcheck.faults.dynamics.plunge import Plunge
from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Suspect

PART = 0.2
"""Share of the losses (ratio) that a median is taken of."""
ENOUGH = 20
"""Losses (count) below which nothing is concluded."""
AT_LEAST = 6
"""The same (count) where the losses then stop being finite: it fell fast."""
FASTER = 1.5
"""Fall in the second half over that in the first (ratio); what nears a floor stays below 1."""
FAR = 100.0
"""Depth below zero, in sizes of the first loss (ratio), from which there is no floor; chosen. Log
densities stay within 10 sizes in 400 steps; losses of a wrong sign reach 500 to 600,000."""
TINY = 0.1
"""Size of a first loss (in its unit) below which it is no measure, as a difference starts at zero:
then it counts as 1. Energies that are weakly held near zero, or not at all, fall to -57."""


@dataclass(frozen=True, slots=True)
class Fall:
    """How losses went, by three medians.

    Attributes:
        first: that of the first part of them, in the loss's unit, as all here.
        middle: that of the middle part.
        last: that of the last part.
        start: the size of the very first loss.
        broke: whether they stopped being finite after that.
    """

    first: float
    middle: float
    last: float
    start: float
    broke: bool

    @classmethod
    def of(
        cls,
        given: Sequence[float],
        *,
        part: float = PART,
        enough: int = ENOUGH,
        at_least: int = AT_LEAST,
    ) -> Fall | None:
        """Of the losses that are finite; None where they are too few.

        Args:
            given: one loss per step.
            part: share of them (ratio) that a median is taken of.
            enough: how many (count) are not too few, and
            at_least: where they then stop being finite.
        """
        losses = list(takewhile(isfinite, given))
        broke = len(losses) < len(given)
        if len(losses) < (at_least if broke else enough):
            return None
        few = max(1 if broke else 3, int(part * len(losses)))
        start = (len(losses) - few) // 2
        first, middle, last = (median(losses[i : i + few]) for i in (0, start, len(losses) - few))
        return cls(first, middle, last, abs(losses[0]), broke)

    def depth(self, sizes: float) -> float:
        """So many sizes of the first loss below zero, or of 1 where that is no measure."""
        return -sizes * (self.start if self.start >= TINY else 1.0)

    def sinks(self, floor: float, faster: float = FASTER) -> bool:
        """Whether it lies below a floor, and falls ever faster: so many times as far as before."""
        return self.last < floor and self.middle - self.last > faster * abs(self.first - self.middle)

    def fault(self, floor: float, how: str = "") -> Fault:
        """The sign of something is wrong.

        Args:
            floor: below which nothing ends, in the loss's unit.
            how: it went there.
        """
        return Fault(
            f"the loss went from {self.first:.4g} over {self.middle:.4g} to {self.last:.4g}{how} "
            f"(ever faster below {floor:.3g} has no floor)",
            measures=(Measure("loss at the end", self.last, "loss", floor, ">="),),
            suspects=(Suspect("loss", "is minimised below any floor: its sign is wrong"),),
            cause="the sign of the loss, or of a term of it, is wrong: nothing ends its fall",
            remedy="minimise what is smallest where the outputs are right: turn the sign",
        )


SINKS = ": the loss falls below zero, ever faster; does it have a floor?"


def sinks(trace: Trace) -> bool:
    """Whether it falls below zero ever faster, so that more steps must tell if the loss has a floor.

    Not of a loop that is not ours, which has the steps that it has.
    """
    own = trace.trial.kind != "train" or trace.row("recipe").flag("own_loop")
    if own or trace.ending.kind != "completed" or _is_meant(trace):
        return False
    fall = Fall.of(trace.series("loss").values)
    return fall is not None and fall.sinks(fall.depth(1.0))


def by_length(traces: Sequence[Trace]) -> tuple[tuple[Trace, ...], dict[int, Trace]]:
    """The trainings of the length that was asked for, and the longer ones by their seed."""
    shortest = min((trace.trial.steps for trace in traces), default=0)
    asked = tuple(trace for trace in traces if trace.trial.steps == shortest)
    return asked, {t.trial.seed: t for t in traces if t.trial.steps > shortest}


def more_steps(traces: Sequence[Trace], times: int) -> tuple[Trial, ...]:
    """Longer trainings, by so many times, of those that sink; and whether the floor is known."""
    deep = [trace.trial for trace in by_length(traces)[0] if sinks(trace)]
    known = [Terms(seed=trial.seed, device=trial.device).overfit(0.8) for trial in deep[:1]]
    return (*(replace(trial, steps=times * trial.steps) for trial in deep), *known)


def looks(traces: Sequence[Trace], every: Sequence[Trace]) -> tuple[tuple[Trace, ...], dict[int, Trace]]:
    """The same as by their length; longer ones tell nothing where the floor is known.

    A trial on one batch may have found the least loss that outputs can reach: then there is a floor,
    however far below zero, as that of a Poisson likelihood. Only where outputs were found to lower it
    without an end there is none; where neither is known, a deep fall is no proof.

    Args:
        traces: of the trainings.
        every: with those of other trials.
    """
    asked, longer = by_length(traces)
    rows = [trace.row("steps") for trace in every if trace.trial.kind == "overfit"]
    if any(row.flag("has_floor") for row in rows):
        return asked, {seed: Trace(trace.trial) for seed, trace in longer.items()}
    if not any(row.get("has_floor") is False for row in rows):
        longer = {s: t for s, t in longer.items() if _plunged(t) or without_floor(t, t) is None}
    return asked, longer


def told(traces: Sequence[Trace]) -> tuple[Trace, ...]:
    """All but longer trainings that were cut short, which tell nothing."""
    plain = [t for t in traces if t.trial.kind in {"train", "watch"} and not t.trial.dense]
    further = [*by_length(plain)[1].values(), *(t for t in traces if t.trial.kind == "overfit")]
    cut = [t for t in further if t.ending.kind not in {"completed", "diverged"}]
    return tuple(trace for trace in traces if trace not in cut)


def without_floor(trace: Trace, longer: Trace | None) -> Fault | None:
    """A loss that has no floor: it broke on its way down, or still falls ever faster in more steps.

    Args:
        trace: of a short training.
        longer: of a longer one under the same seed; None where there was none.
    """
    if _is_meant(trace):
        return None
    for seen in (trace, longer):
        if seen is not None and (fault := _plunged(seen)):
            return fault
    for seen, sure in ((trace, False), (longer, True)):
        fall = None if seen is None else Fall.of(seen.series("loss").values)
        if seen is None or fall is None or not (sure or fall.broke):
            continue
        floor, deepest = fall.depth(FAR), fall.depth(FAR**2)
        if fall.sinks(floor) or (sure and fall.last < deepest):
            end = ", then it is not finite" if fall.broke else ""
            return fall.fault(floor, f" in {len(seen.series('loss'))} steps{end}")
    return None


def _plunged(trace: Trace) -> Fault | None:
    """A fall that numbers did not survive."""
    plunge = Plunge.of(trace, broken_at(trace))
    if plunge is None:
        return None
    fall = Fall(plunge.first, plunge.middle, plunge.last, abs(plunge.first), broke=True)
    floor = fall.depth(FAR)
    if not plunge.is_endless(floor, fall.depth(FAR**2)):
        return None
    return fall.fault(floor, f" in {plunge.steps} steps, then numbers are not finite")


def _is_meant(trace: Trace) -> bool:
    row = trace.row("recipe")
    return row.flag("several_objectives") or row.flag("maximize")
