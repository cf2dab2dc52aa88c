"""Tells probes what a training loop does. It knows events, not channels, and never touches tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Generic

import torch
from torch import Tensor

from pytest_dlcheck.run.probe import Probe, S_contra
from pytest_dlcheck.trial import Trial

EVENTS = (
    "step_begins",
    "batch",
    "loss",
    "outputs",
    "gradients",
    "before_update",
    "after_update",
    "step_ends",
    "flush",
    "end",
)


class Observer(Generic[S_contra]):
    """Passes each event on to the probes that override it; the others cost nothing.

    Args:
        probes: who listens.
    """

    def __init__(self, probes: Iterable[Probe[S_contra]]) -> None:
        self.probes = list(probes)
        self._heard = self._listeners()

    def begin(self, scene: S_contra, trial: Trial) -> None:
        """The trial begins."""
        for probe in self.probes:
            probe.begin(scene, trial)
        self._heard = self._listeners()

    def step_begins(self, step: int) -> None:
        """A step begins."""
        for hear in self._heard["step_begins"]:
            hear(step)

    def batch(self, step: int, batch: Any) -> None:
        """A batch was read."""
        for hear in self._heard["batch"]:
            hear(step, batch)

    def loss(self, step: int, loss: Tensor) -> None:
        """A loss is about to be propagated back."""
        for hear in self._heard["loss"]:
            hear(step, loss)

    def outputs(self, step: int, batch: Any, outputs: Any) -> None:
        """A batch went through forward and loss."""
        for hear in self._heard["outputs"]:
            hear(step, batch, outputs)

    def gradients(self, step: int, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Gradients are complete and unscaled."""
        for hear in self._heard["gradients"]:
            hear(step, optimizer)

    def before_update(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """The optimizer is about to step."""
        for hear in self._heard["before_update"]:
            hear(step, optimizer)

    def after_update(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """The optimizer has stepped."""
        for hear in self._heard["after_update"]:
            hear(step, optimizer)

    def step_ends(self, step: int) -> None:
        """All optimizers have stepped."""
        for hear in self._heard["step_ends"]:
            hear(step)

    def flush(self) -> None:
        """Read back what is kept on the device."""
        for hear in self._heard["flush"]:
            hear()

    def end(self) -> None:
        """The trial ends, for every probe: one that fails must not keep others from unhooking."""
        failure: Exception | None = None
        for hear in self._heard["end"]:
            try:
                hear()
            except Exception as error:  # noqa: BLE001  the user's model may fail here again
                failure = failure or error
        if failure is not None:
            raise failure

    def _listeners(self) -> dict[str, list[Callable[..., None]]]:
        found: dict[str, list[Callable[..., None]]] = {event: [] for event in EVENTS}
        for probe in self.probes:
            kind: Any = type(probe)
            for event in _events_of(kind):
                if not probe.idle or event == "end":
                    found[event].append(getattr(probe, event))
        return found


@cache
def _events_of(kind: type) -> tuple[str, ...]:
    """Those that a kind of probe overrides."""
    return tuple(event for event in EVENTS if getattr(kind, event) is not getattr(Probe, event))
