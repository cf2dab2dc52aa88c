"""A trace in the making: filled while a trial runs, frozen at its end."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pytest_dlcheck.run.probe import Probe
from pytest_dlcheck.trace import Channel, Ending, Matrix, Row, Series, Trace
from pytest_dlcheck.trial import Trial

BETWEEN_STEPS = frozenset({"fixed_loss"})
"""Channels that are measured before the first step and after the last, whatever became of these."""


@dataclass
class Record:
    """What was recorded so far; of further optimizers of an own loop, a trace each."""

    channels: dict[str, Channel] = field(default_factory=dict)
    facts: dict[str, tuple[Row, ...]] = field(default_factory=dict)
    unobserved: dict[str, str] = field(default_factory=dict)
    inapplicable: dict[str, str] = field(default_factory=dict)
    others: tuple[Trace, ...] = ()

    def collect(self, probes: Iterable[Probe[Any]]) -> None:
        """Take what the probes have filled."""
        for probe in probes:
            self.fill(probe.filled())

    def fill(self, fillings: Mapping[str, Channel | Sequence[Row] | str]) -> None:
        """Take channels, rows of facts, or reasons why something could not be observed."""
        for name, filling in fillings.items():
            if isinstance(filling, str):
                self.unobserved[name] = filling
            elif isinstance(filling, (Series, Matrix)):
                self.channels[name] = filling
            else:
                self.facts[name] = tuple(filling)

    def forget(self, steps: Collection[int]) -> None:
        """Leave out steps that did not take place: those that the gradient scaler skipped."""
        for name in self.channels.keys() - BETWEEN_STEPS if steps else ():
            self.channels[name] = _without(self.channels[name], steps)

    def trace(self, trial: Trial, ending: Ending, seconds: float) -> Trace:
        """The finished trace."""
        return Trace(
            trial=trial,
            ending=ending,
            channels=self.channels,
            facts=self.facts,
            unobserved=self.unobserved,
            inapplicable=self.inapplicable,
            seconds=seconds,
            others=self.others,
        )


def _without(channel: Channel, steps: Collection[int]) -> Channel:
    kept = [i for i, step in enumerate(channel.steps) if step not in steps]
    left = tuple(channel.steps[i] for i in kept)
    if isinstance(channel, Series):
        values = tuple(channel.values[i] for i in kept)
        return replace(channel, steps=left, values=values)
    return Matrix(left, channel.sites, tuple(channel.values[i] for i in kept))
