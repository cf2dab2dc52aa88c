"""How long each step took on the host, and how much of it was spent waiting for data."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any

from pytest_dlcheck.run.probe import Probe
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.world import device
from pytest_dlcheck.trace import Row, Series
from pytest_dlcheck.trial import Trial


class TimeProbe(Probe[Rig]):
    """Fills ``seconds`` and ``data_seconds`` per step, and the fact ``memory`` (bytes).

    On an accelerator a step's host time says how fast work is queued, not done: throughput is
    measured elsewhere.
    """

    channels = frozenset({"seconds", "data_seconds", "memory"})

    def begin(self, rig: Rig, trial: Trial) -> None:
        """Start the clocks."""
        del trial
        self._device = rig.device
        self._weights = sum(p.numel() * p.element_size() for p in rig.parameters.values())
        self._seconds: list[float] = []
        self._waits: list[float] = []
        device.reset_peak_memory(rig.device)

    def step_begins(self, step: int) -> None:
        """Start the step's clock."""
        del step
        self._began = perf_counter()
        self._wait = 0.0

    def batch(self, step: int, batch: Any) -> None:
        """The batch is there: the first of the step is all that was surely waited for."""
        del step, batch
        if not self._wait:
            self._wait = perf_counter() - self._began

    def step_ends(self, step: int) -> None:
        """Stop the step's clock."""
        del step
        self._seconds.append(perf_counter() - self._began)
        self._waits.append(self._wait)

    def filled(self) -> Mapping[str, Series | tuple[Row, ...]]:
        """The times and the memory."""
        steps = tuple(range(len(self._seconds)))
        row = Row(parameter_bytes=self._weights, peak_bytes=device.peak_memory(self._device))
        return {
            "seconds": Series(steps, tuple(self._seconds)),
            "data_seconds": Series(steps, tuple(self._waits)),
            "memory": (row,),
        }
