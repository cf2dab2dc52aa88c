"""Calls without gradients: which model is evaluated, on what, and in a row with which others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from pytest_dlcheck.run.watch.batches.hand_cut import HandCut
from pytest_dlcheck.run.watch.batches.loading import Loading
from pytest_dlcheck.run.watch.compiling import Compilation
from pytest_dlcheck.run.watch.evaluated.live_dropout import LiveDropout
from pytest_dlcheck.run.watch.evaluated.moment import Moment
from pytest_dlcheck.run.watch.evaluated.old_heads import OldHeads
from pytest_dlcheck.run.watch.evaluated.phases import Phases
from pytest_dlcheck.run.watch.evaluated.scores import Scores
from pytest_dlcheck.run.watch.evaluated.teachers import Teachers
from pytest_dlcheck.run.watch.evaluated.twins import Twins
from pytest_dlcheck.run.watch.guard import Guard
from pytest_dlcheck.run.watch.models.answers import Answers
from pytest_dlcheck.run.watch.models.modes import Drifts
from pytest_dlcheck.run.watch.strand import Strand
from pytest_dlcheck.trace import Row


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
        self.phases, self.twins, self.teachers = Phases(), Twins(), Teachers(guard, compilation)
        self.answers, self.old_heads = Answers(guard), OldHeads(guard, compilation)
        self._asked: dict[Strand, int] = {}
        """Their steps at which their models, or parts of these, were first called so."""
        self._frozen: dict[Strand, int] = {}
        """Their steps at which their models were first called so while nothing in them was to train."""
        self._taken: set[Strand] = set()
        """Those whose weights were taken."""
        self._hand_cut: defaultdict[Strand, HandCut] = defaultdict(HandCut)
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
        for strand in self._strands:
            if drifts and strand.scene is not None and strand.scene.model is module:
                from_loader, cut = loading is not None, self._hand_cut[strand]
                cut.called(arguments, phase.event, strand.step, from_loader=from_loader)
            self._is_asked(strand, module, arguments)
        if drifts:
            return
        shapes: Sequence[torch.Size] = ()
        if any(s.scene is not None and s.owns(module) for s in self._strands):
            self.live_dropout.called(module, arguments, phase.event)
            if loading is not None:
                self.answers.evaluated(module, now.steps)
        else:
            shapes = self.copy_is_called(module, arguments, now, from_loader=loading is not None)
        for strand in self._strands:
            if strand.scene is None:
                continue
            is_own = strand.scene.model is module
            if is_own and _is_frozen(module) and not self._is_frozen_meanwhile(strand):
                continue  # a part of something else now, which may well get what this was trained on
            if is_own or (shapes and shapes == strand.shapes):
                exposure = strand.exposure if is_own else strand.exposure_of_copies
                exposure.is_evaluated(
                    *(strand.step, arguments, loading, phase.event, now.backwards),
                    in_train_mode=module.training,
                )

    def _is_frozen_meanwhile(self, strand: Strand) -> bool:
        """Whether it has been trained on since it was first called so, and nothing else after that."""
        since = self._frozen.setdefault(strand, strand.step)
        return strand.step > since and all(s.last_event <= strand.last_event for s in self._strands)

    def _is_asked(self, strand: Strand, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        """Remember the first call, the model's or a part's, and what the model is asked about."""
        if strand.scene is not None and strand.scene.model is module:
            strand.fate.is_asked_about(arguments)
        is_known = strand in self._asked and strand.fate.is_asked
        if strand.scene is not None and not is_known and strand.owns(module):
            self._asked.setdefault(strand, strand.step)
            strand.fate.is_called(with_gradients=False)

    def hand_cut(self, strand: Strand) -> Row:
        """Its calls in train mode on what no loader gave."""
        return self._hand_cut[strand].row(strand.exposure.trained())

    def end(self) -> None:
        """The watch ends."""
        self.phases.end()
        self.old_heads.end()
        for cut in self._hand_cut.values():
            cut.end()

    def weights_are_taken(self, state: Mapping[str, object]) -> None:
        """Somebody may evaluate them where nobody hears it."""
        for strand in self._strands:
            strand.fate.is_called(with_gradients=False)
            if strand not in self._taken and strand.is_in(state):
                self._taken.add(strand)

    def asked_of(self, strand: Strand) -> dict[str, bool]:
        """What was asked of its model before its last step, and of all that look as it at any time."""
        since, alike = self._asked.get(strand), [s for s in self._strands if s.shapes == strand.shapes]
        return {
            "own_calls": since is not None and since < strand.step,
            "own_answers": any(s in self._asked or s.fate.is_open for s in alike),
            "own_weights": any(s in self._taken for s in alike),
        }

    def copy_is_called(
        self, module: nn.Module, arguments: tuple[Any, ...], now: Moment, *, from_loader: bool
    ) -> Sequence[torch.Size]:
        """What is no part of a root is called in eval mode without gradients.

        Args:
            module: which.
            arguments: on what.
            now: when.
            from_loader: whether that is a batch fresh from a loader.

        Returns:
            The shapes of its parameters; none before it has moved.
        """
        return self.twins.is_evaluated(module, arguments, now, self._strands, from_loader=from_loader)


def _is_frozen(module: nn.Module) -> bool:
    return not any(p.requires_grad for p in module.parameters())
