"""The signal on its way through the model, and its units, before any training."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_dlcheck.run.errors import NotApplicableError
from pytest_dlcheck.run.experiment import Experiment
from pytest_dlcheck.run.passes.soundings import Sounding, sound
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.trace import Row


class UnitsAtStart(Experiment):
    """Fills ``units``: a row per activation layer that follows weights, on the first batch."""

    fact = "units"

    def run(self, rig: Rig) -> Iterable[Row]:
        """One pass in the modes of training."""
        if not (rows := _sounded(rig).units()):
            raise NotApplicableError("no activation that can die or saturate follows weights")
        return rows


class SignalAtStart(Experiment):
    """Fills ``signal``: a row per layer of weights, on the first batch."""

    fact = "signal"

    def run(self, rig: Rig) -> Iterable[Row]:
        """One pass in the modes of training."""
        if not (rows := _sounded(rig).signal()):
            raise NotApplicableError("no linear layer or convolution is seen in the forward")
        return rows


def _sounded(rig: Rig) -> Sounding:
    """One pass for both facts: the first, where it was sounded."""
    if rig.first is not None and rig.first.sounding is not None:
        known: Sounding = rig.first.sounding
        return known
    found: Sounding = rig.once("soundings", lambda: sound(rig, [rig.batch]))
    return found
