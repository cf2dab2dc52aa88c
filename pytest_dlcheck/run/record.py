"""A trace in the making: filled while a trial runs, frozen at its end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pytest_dlcheck.run.probe import Probe
from pytest_dlcheck.trace import Channel, Ending, Matrix, Row, Series, Trace
from pytest_dlcheck.trial import Trial


@dataclass
class Record:
    """What was recorded so far."""

    channels: dict[str, Channel] = field(default_factory=dict)
    facts: dict[str, tuple[Row, ...]] = field(default_factory=dict)
    unobserved: dict[str, str] = field(default_factory=dict)
    inapplicable: dict[str, str] = field(default_factory=dict)

    def collect(self, probes: Iterable[Probe]) -> None:
        """Take what the probes have filled."""
        for probe in probes:
            for name, filling in probe.filled().items():
                if isinstance(filling, str):
                    self.unobserved[name] = filling
                elif isinstance(filling, (Series, Matrix)):
                    self.channels[name] = filling
                else:
                    self.facts[name] = tuple(filling)

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
        )
