"""What a watcher hears before a backward: batches, calls of models, and weights taken and loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from pytest_dlcheck.run.tensors.tree import first_tensor
from pytest_dlcheck.run.watch.batches.loading import Loading
from pytest_dlcheck.run.watch.ensemble import Ensemble
from pytest_dlcheck.run.watch.evaluated.moment import Moment
from pytest_dlcheck.run.watch.strand import Strand


class Forwards(Ensemble):
    """Sorts calls: trainings and evaluations, of which model, on whose batch."""

    def batch_is_read(self, loader: object, batch: object) -> None:
        """The next forward is given it, most likely."""
        self.batch_waits = True
        if self.seeds.is_open:
            self.seeds.batch_is_read()
        if self.loading.read(loader):
            self.wake()
            self._outside.pass_begins()
            self.turns.pass_begins(loader, batch, self.strands)
            self.new_classes.pass_begins(loader, self.loading.length, self.steps)
        if self.new_classes.open is not None:
            self.new_classes.open.add(batch)
        self.restarts.read(loader, batch)
        self._outside.batch_is_read(loader, batch)
        self._targets.batch_is_read(batch, loader)
        self._first_calls.batch_is_read(loader, batch)
        self.evaluations.answers.batch_is_read(batch)

    def loader_ends(self, loader: object) -> None:
        """A pass was read to its end."""
        self.loading.ends(loader)
        self.restarts.ends(loader)

    def called(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        """It trains, or is evaluated."""
        self.event += 1
        from_loader, self.batch_waits = self.batch_waits, False
        trains = torch.is_grad_enabled()
        if self.seeds.is_open:
            self.seeds.called(to_train=trains and module.training)
        if self.scores.curious or not trains:
            self.scores.called(module, to_train=trains)
        if self._outside.calls.are_all_heard:
            self._outside.is_called(module, with_gradients=trains)
        for strand in self.strands:
            if strand.slices.is_open and strand.scene is not None:
                strand.slices.sees(arguments, trains=trains, from_loader=from_loader)
        if trains:
            self._is_called_to_train(module, arguments, from_loader=from_loader)
        else:
            given = first_tensor(arguments) if from_loader else None
            if given is not None and not self.loading.may_have_given(given.shape):
                from_loader, self.batch_waits = False, True
            self._is_evaluated(module, arguments, self.loading if from_loader else None)

    def _is_called_to_train(
        self, module: nn.Module, arguments: tuple[Any, ...], *, from_loader: bool
    ) -> None:
        self._targets.is_called(module, arguments)
        self.restarts.is_called(module, arguments)
        self.likeness.called(module, self.backwards)
        is_known = False
        for strand in self.strands:
            if strand.scene is not None and strand.scene.model is module:
                is_known = True
                strand.batch(arguments, self.loading)
                self._first_calls.is_called(module)
                if from_loader:
                    self.opens_a_window(strand, module, arguments)
        if from_loader and not is_known and self.loading.length != 1:
            self.loading.given_to.add(module)

    def _is_evaluated(
        self, module: nn.Module, arguments: tuple[Any, ...], loading: Loading | None
    ) -> None:
        """It is called without gradients; on a loader's last batch, where there is a loading."""
        for strand in self.strands:
            is_its_model = strand.scene is not None and strand.scene.model is module
            if is_its_model and strand.redrawn.is_curious:
                strand.redrawn.is_asked(arguments)
        now = Moment(self.event, self.steps, self.backwards)
        self.evaluations.called(module, arguments, loading, now)
        self.new_classes.is_evaluated(loading)
        self.judged.called(module, arguments, loading.source if loading else 0, self.steps)

    def called_aside(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        """A copy may be evaluated."""
        if torch.is_grad_enabled() or self._drifts.of(module):
            return
        twins = self.evaluations.twins
        if twins.is_part_of_a_step(module, self.backwards):
            if twins.is_a_teacher(module):
                self._aside.forget(module)
        else:
            now = Moment(self.event, self.steps, self.backwards)
            if module.training:
                twins.is_glanced_at(module, now, self.strands)
            else:
                self.evaluations.copy_is_called(module, arguments, now, from_loader=False)

    def is_seeded(self, name: str, seed: object) -> None:
        """Where it is the same seed again, what is drawn in this step is seen."""
        if self.seeds.seeded(name, seed):
            self.wake()

    def is_set_aside(self, module: nn.Module) -> None:
        """It may be a copy that is to be evaluated."""
        self._aside.add(module)
        self.evaluations.old_heads.is_set_aside(module)

    def opens_a_window(self, strand: Strand, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        """Something fresh from a loader was given to a root: a backward may follow, or more of it."""
        strand.fresh_batches += 1
        strand.weighting.add(self.loading)
        if not _asks_for_its_gradient(arguments):
            drifts, is_off = self._drifts.of(module), not module.training
            self.unpropagated.called(self.event, strand.step, in_train_mode=drifts, in_eval_mode=is_off)

    def weights_are_taken(self, state: Mapping[str, object]) -> None:
        """They may be meant to be kept."""
        self.evaluations.weights_are_taken(state)
        self.restored.is_taken(state, self.steps)

    def weights_are_loaded(self, module: nn.Module, state: Mapping[str, object]) -> None:
        """Are they what was meant to be kept?"""
        self.restored.is_loaded(module, state, self.steps)

    def wake(self) -> None:
        """Hear everything, if a lull hears it instead."""
        raise NotImplementedError


def _asks_for_its_gradient(arguments: tuple[Any, ...]) -> bool:
    """As an attack on the inputs does, or a picture of what a model looks at."""
    return bool(arguments) and getattr(arguments[0], "requires_grad", False) is True
