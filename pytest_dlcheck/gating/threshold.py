"""Rules whether a metric reaches a number. It holds no trial and no policy."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_dlcheck.gating.claim import Claim
from pytest_dlcheck.gating.noise import Distances, t_quantile
from pytest_dlcheck.gating.ruling import Ruling, State
from pytest_dlcheck.statistics import Interval
from pytest_dlcheck.verdict import Measure

_REACH = 2.0
"""Standard errors that more seeds may yet move the mean by."""
_MOST = 1e7
"""Validation samples beyond which no number is told."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """A number to reach.

    It holds where the mean reaches it and the true value is surely no more than the margin off; it
    fails where the true value surely does not reach it; else it is open, or unknown where the examples
    are too few for any number of seeds to decide.
    """

    claim: Claim
    bound: float

    def rule(self, among: int = 1) -> Ruling:
        """What came of it, where so many hypotheses share the risk of a false failure."""
        claim, look = self.claim, self.claim.look
        shown = claim.interval(look.level)
        strict = shown if among == 1 else claim.interval(look.at(look.number, among))
        state = self._state(self._turned(shown), self._turned(strict))
        story = f"{claim.measured(shown)}; {self._asked(shown, state)}"
        remedy = "train longer (steps=, epochs=), or ask for what it reaches" if state == "fails" else ""
        if state == "open" and (short := self._too_few(shown)):
            state, story, remedy = "unknown", f"{story}: {short}", "give more validation samples"
        elif state == "open" and look.number == look.last:
            story += f"; all {look.last} seeds of max_seeds= are spent{self._which_tells_more()}"
        measure = Measure(
            claim.metric,
            shown.estimate,
            claim.unit,
            self.bound,
            claim.sense,
            shown.low,
            shown.high,
            claim.values,
        )
        return Ruling(claim.metric, state, story, measure, remedy)

    def _asked(self, shown: Interval, state: State) -> str:
        """What must be so; with the margin where it holds although the interval reaches into that."""
        claim, asked = self.claim, f"must be {self.claim.sense} {self.bound:.4g}"
        if state != "holds" or self._turned(shown).low >= claim.sign * self.bound:
            return asked
        end, limit = ("lower" if claim.sign > 0 else "upper"), self.bound - claim.sign * claim.margin
        return f"{asked}, the {end} end {claim.sense} {limit:.4g}"

    def _which_tells_more(self) -> str:
        """What is short: examples, or seeds."""
        claim, level = self.claim, self.claim.look.level
        error, freedom = claim.seeds().error(claim.values)
        by_seeds = t_quantile(level, freedom) * error
        by_examples = max(claim.examples()(claim.mean, level))
        more = "validation samples" if by_examples > by_seeds else "seeds"
        return f", and more {more} would tell more"

    def _turned(self, interval: Interval) -> Interval:
        """As if more were better."""
        return interval if self.claim.sign > 0 else -interval

    def _state(self, shown: Interval, strict: Interval) -> State:
        bound = self.claim.sign * self.bound
        if strict.high < bound:
            return "fails"
        if shown.estimate >= bound and shown.low >= bound - self.claim.margin:
            return "holds"
        return "open"

    def _too_few(self, shown: Interval) -> str:
        """Why no number of seeds can decide it, with how many samples could; empty where they can."""
        claim = self.claim
        level = claim.look.at(claim.look.last)
        reach = _REACH * claim.seeds().error(claim.values)[0]
        if self._decides(claim.examples(), (-reach, 0.0, reach), level):
            return ""
        times = 1.0
        while times * claim.readings[0].samples < _MOST:
            times *= 1.25
            if self._decides(claim.examples(times), (0.0,), level):
                break
        samples = claim.readings[0].samples
        return (
            f"cannot show {self.bound:.4g} with {samples:,} samples, with any number of seeds; at "
            f"{shown.estimate:.3g} that needs about {_rounded(times * samples)}"
        )

    def _decides(self, examples: Distances, shifts: tuple[float, ...], level: float) -> bool:
        """Whether it would be decided if seeds made no noise, at the mean or as far off."""
        states = set()
        for shift in shifts:
            mean = self.claim.mean + shift
            mean = min(1.0, max(0.0, mean)) if self.claim.is_share else mean
            below, above = examples(mean, level)
            turned = self._turned(Interval(mean, mean - below, mean + above))
            states.add(self._state(turned, turned))
        return states != {"open"}


def _rounded(count: float) -> str:
    """A count to two digits."""
    digits = max(0, len(str(int(count))) - 2)
    return f"{round(count, -digits):,.0f}"
