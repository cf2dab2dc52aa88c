"""Calls without gradients: which model is evaluated, on what, and in a row with which others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from pytest_dlcheck.run.watch.batches.loading import Loading
from pytest_dlcheck.run.watch.compiling import Compilation
from pytest_dlcheck.run.watch.guard import Guard
from pytest_dlcheck.run.watch.models.answers import Answers
from pytest_dlcheck.run.watch.models.live_dropout import LiveDropout
from pytest_dlcheck.run.watch.models.modes import Drifts
from pytest_dlcheck.run.watch.models.phases import Phases
from pytest_dlcheck.run.watch.models.scores import Scores
from pytest_dlcheck.run.watch.models.teachers import Teachers
from pytest_dlcheck.run.watch.models.twins import Twins
from pytest_dlcheck.run.watch.strand import Strand


@dataclass(frozen=True, slots=True)
class Moment:
    """When something happens.

    Attributes:
        event: a number that grows with all that is heard.
        steps: optimizer steps before it.
        backwards: backward passes before it.
    """

    event: int
    steps: int
    backwards: int


class Evaluations:
    """Tells the strands of their evaluations.

    Args:
        strands: what is trained, as it becomes known.
        drifts: tells of modes.
        guard: stands before what models call.
        compilation: during which outputs and operations are not listened to.
    """

    def __init__(
        self, strands: Sequence[Strand], drifts: Drifts, guard: Guard, compilation: Compilation
    ) -> None:
        self._strands, self._drifts = strands, drifts
        self.phases, self.twins, self.teachers = Phases(), Twins(), Teachers()
        self.answers = Answers(guard)
        self.scores, self.live_dropout = Scores(guard, compilation), LiveDropout(guard, compilation)

    def called(
        self, module: nn.Module, arguments: tuple[Any, ...], loading: Loading | None, now: Moment
    ) -> None:
        """A module is called from outside, without gradients.

        Args:
            module: which.
            arguments: on what.
            loading: how loaders were read; None where it is not given a loader's batch.
            now: when.
        """
        drifts = self._drifts.of(module)
        phase = self.phases.called(now.event, now.steps, in_train_mode=drifts, loading=loading)
        self.teachers.called(module, now.steps, in_train_mode=drifts)
        if module.training:
            return
        shapes: Sequence[torch.Size] = ()
        if any(s.scene is not None and s.owns(module) for s in self._strands):
            self.live_dropout.called(module, arguments, phase.event)
            if loading is not None:
                self.answers.evaluated(module, now.steps)
        else:
            trained = [s.scene.model for s in self._strands if s.scene is not None]
            shapes = self.twins.is_evaluated(module, now.steps, phase.event, trained)
        for strand in self._strands:
            if strand.scene is None:
                continue
            is_own = strand.scene.model is module
            if is_own or (shapes and shapes == strand.shapes):
                exposure = strand.exposure if is_own else strand.exposure_of_copies
                exposure.is_evaluated(strand.step, arguments, loading, phase.event, now.backwards)
