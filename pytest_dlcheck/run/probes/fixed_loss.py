"""The loss on one fixed set of batches, before the first step and after the last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.probe import Probe, TableBuffer
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tree import copied
from pytest_dlcheck.trace import Matrix
from pytest_dlcheck.trial import Trial

BATCHES = 4
"""Batches held fixed: two evaluations of them cost about 3 % of 100 steps."""


class FixedLossProbe(Probe):
    """Fills ``fixed_loss``: a row before and a row after the training, a column per batch.

    Evaluated in train mode with the same dropout masks both times, so that only the weights differ.
    """

    channels = frozenset({"fixed_loss"})

    def begin(self, rig: Rig, trial: Trial) -> None:
        """Evaluate before the first step."""
        self._rig, self._steps = rig, trial.steps
        self._why_not = ""
        if rig.objective.is_generator:
            self._why_not = "several objectives are trained against each other"
            return
        self._batches = [copied(batch) for batch in rig.look_ahead(BATCHES)]
        self._buffer = TableBuffer([f"batch {i}" for i in range(len(self._batches))])
        self._evaluate(0)

    def end(self) -> None:
        """Evaluate after the last step."""
        if not self._why_not:
            self._evaluate(self._steps)

    def filled(self) -> Mapping[str, Matrix | str]:
        """Both rows."""
        return {"fixed_loss": self._why_not or self._buffer.matrix()}

    def _evaluate(self, step: int) -> None:
        with self._rig.undisturbed():
            losses = [self._loss(copied(batch)) for batch in self._batches]
        self._buffer.append(step, [f"batch {i}" for i in range(len(losses))], losses)

    def _loss(self, batch: Any) -> Tensor:
        rig = self._rig
        with rig.autocast():
            try:
                with torch.no_grad():
                    return rig.objective.loss(batch)[0].detach()
            except RuntimeError:  # a step that differentiates by itself, such as a gradient penalty
                with torch.enable_grad():
                    return rig.objective.loss(batch)[0].detach()
