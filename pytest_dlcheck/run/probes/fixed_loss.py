"""The loss on one fixed set of batches, before the first step and after the last."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_dlcheck.run.passes.fixed_batches import FixedBatches
from pytest_dlcheck.run.probe import Probe, TableBuffer
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.trace import Matrix
from pytest_dlcheck.trial import Trial


class FixedLossProbe(Probe[Rig]):
    """Fills ``fixed_loss``: a row before and a row after the training, a column per batch.

    Evaluated in train mode with the same dropout masks both times, so that only the weights differ.
    """

    channels = frozenset({"fixed_loss"})

    def begin(self, rig: Rig, trial: Trial) -> None:
        """Evaluate before the first step."""
        self._steps = trial.steps
        self._why_not = ""
        if rig.objective.is_generator:
            self._why_not = "several objectives are trained against each other"
            return
        self._fixed = FixedBatches.of(rig)
        self._names = [f"batch {i}" for i in range(len(self._fixed.batches))]
        self._buffer = TableBuffer(self._names)
        self._buffer.append(0, self._names, self._fixed.losses())

    def end(self) -> None:
        """Evaluate after the last step."""
        if not self._why_not:
            self._buffer.append(self._steps, self._names, self._fixed.losses_at_the_end())

    def filled(self) -> Mapping[str, Matrix | str]:
        """Both rows."""
        return {"fixed_loss": self._why_not or self._buffer.matrix()}
