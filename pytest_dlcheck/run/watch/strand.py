"""The training of one optimizer's parameters, as far as it can be seen from outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _NormBase

from pytest_dlcheck.run.calls.through_time import ThroughTime
from pytest_dlcheck.run.modules.freshness import is_untrained
from pytest_dlcheck.run.observer import Observer
from pytest_dlcheck.run.probe import Probe
from pytest_dlcheck.run.probes.batches import BatchProbe, copy_of
from pytest_dlcheck.run.probes.frozen_flags import FrozenFlagProbe
from pytest_dlcheck.run.probes.frozen_later import FrozenLaterProbe
from pytest_dlcheck.run.probes.gradients import GradientProbe
from pytest_dlcheck.run.probes.inventory import InventoryProbe
from pytest_dlcheck.run.probes.learning_rate import LearningRateProbe
from pytest_dlcheck.run.probes.loss import LossProbe
from pytest_dlcheck.run.probes.rounding import RoundingProbe
from pytest_dlcheck.run.probes.updates import UpdateProbe
from pytest_dlcheck.run.sampling import WATCHED, Due
from pytest_dlcheck.run.watch.batches.exposure import Exposure
from pytest_dlcheck.run.watch.batches.loading import Loading
from pytest_dlcheck.run.watch.batches.redrawn import Redrawn
from pytest_dlcheck.run.watch.batches.slices import Slices
from pytest_dlcheck.run.watch.batches.weighting import Weighting
from pytest_dlcheck.run.watch.discarded import Fate
from pytest_dlcheck.run.watch.losses.compared import Comparisons
from pytest_dlcheck.run.watch.models.axes import Axes
from pytest_dlcheck.run.watch.models.entries import Entries
from pytest_dlcheck.run.watch.models.flows import Flows
from pytest_dlcheck.run.watch.models.kept_states import KeptStates
from pytest_dlcheck.run.watch.models.modes import sensitive
from pytest_dlcheck.run.watch.models.reinterpreted import Reinterpreted
from pytest_dlcheck.run.watch.models.visits import Visits
from pytest_dlcheck.run.watch.ranks import Rank
from pytest_dlcheck.run.watch.scene import Scene, parameters_of
from pytest_dlcheck.run.watch.steps.applied import Applied
from pytest_dlcheck.run.watch.steps.clips import Clips
from pytest_dlcheck.run.watch.steps.drops import Drops
from pytest_dlcheck.run.watch.steps.gradients import Gradients
from pytest_dlcheck.run.watch.steps.newcomers import Newcomers
from pytest_dlcheck.run.watch.steps.owned import Owned
from pytest_dlcheck.run.watch.steps.parts import Parts
from pytest_dlcheck.run.watch.steps.plateaus import Plateaus
from pytest_dlcheck.run.watch.steps.reach import coverage, places
from pytest_dlcheck.run.watch.steps.schedules import Schedules
from pytest_dlcheck.run.watch.steps.successors import Successors
from pytest_dlcheck.run.watch.steps.tally import Reached
from pytest_dlcheck.run.watch.steps.tangle import Reach
from pytest_dlcheck.trace import Row
from pytest_dlcheck.trial import Trial

FLUSH_EVERY = 256
"""Steps between two readings from the device."""


class Heard(Protocol):
    """Which modules were called, and where their results went."""

    visits: Visits
    flows: Flows
    axes: Axes
    entries: Entries
    kept_states: KeptStates
    reinterpreted: Reinterpreted
    through_time: ThroughTime


class Strand(Applied, Owned):
    """What one optimizer trains, from its first step on.

    It keeps the model, but not the optimizer: with the optimizer's end it ends too.

    Args:
        scene: what it trains.
        optimizer: which is about to step for the first time.
        losses: what backward was called on before, since its parameters were last reset.
    """

    def __init__(
        self,
        scene: Scene,
        optimizer: torch.optim.Optimizer,
        losses: Sequence[Tensor | float],
    ) -> None:
        Applied.__init__(self)
        Owned.__init__(self, scene, optimizer)
        self._groups = 0
        self.gradients = Gradients(list(parameters_of(optimizer)))
        self.gradients.backwards = len(losses)
        self.parts, self.drops = Parts(), Drops(list(parameters_of(optimizer)))
        self.exposure = Exposure(list(parameters_of(optimizer)))
        self.exposure_of_copies, self.slices, self.weighting = Exposure(), Slices(), Weighting()
        self.redrawn = Redrawn()
        self.sensitive = sensitive(scene.model)
        self.mode_matters = bool(self.sensitive)
        self.normalizes = any(isinstance(m, _NormBase) for m in self.sensitive)
        self.maximize = any(group.get("maximize") for group in optimizer.param_groups)
        self.losses, self._batches = LossProbe(), BatchProbe()
        self._inventory, self.rates = InventoryProbe(), LearningRateProbe()
        self.rounding = RoundingProbe()
        """This, the rates and the losses hear of every step; others only of those of a schedule."""
        self.probes: list[Probe[Scene]] = [
            *(self.losses, self._batches, GradientProbe(), UpdateProbe()),
            *(self.rates, self.rounding, self._inventory, FrozenFlagProbe(), FrozenLaterProbe()),
        ]
        self.observer = Observer(self.probes)
        self.observer.begin(scene, Trial("watch"))
        self._sampling, self._is_sampled = Due(WATCHED), True
        self.newcomers, self.fate = Newcomers(scene.model), Fate(scene.model, optimizer)
        self.successors = Successors()
        self.reach = Reach(self.gradients)
        self.schedules, self.plateaus, self.comparisons = Schedules(), Plateaus(), Comparisons()
        self.rank: Rank | None = None
        self.ranks: Row | None = None
        self.is_replicated = False
        self.step = 0
        self.first_event = self.last_event = 0
        self.in_eval = Reached()
        self.clips = Clips()
        self.shared_losses = self.fresh_batches = 0
        self.is_scaled = False
        self.is_alone = self.is_looked_at = True
        """Looked at are the steps of a schedule; where there are several strands, all of them."""
        self.reached = self.reached_in_company = 0
        """Backward passes seen to reach it, and those of them while other strands were known."""
        self.was_called = False
        """Whether its model was called in order to train."""
        self.was_fresh = False
        """Whether it was untrained where it was in eval mode from the first step on."""
        for loss in losses:
            self.losses.keep(0, loss)
        self._pending: list[Tensor | float] = []

    # -- events -------------------------------------------------------------------------------

    def taken_over(self, optimizer: torch.optim.Optimizer, keys: set[int]) -> bool:
        """Another optimizer steps parameters of this one; the samples before are another training's."""
        is_new = super().taken_over(optimizer, keys)
        self.gradients.belong_to(list(parameters_of(optimizer)))
        if is_new:
            self.exposure.forget()
        return is_new

    def backward_begins(self, strands: Sequence[Strand], *, scaled: bool) -> None:
        """Some backward begins, of a loss that a gradient scaler has scaled or not."""
        self.is_scaled = scaled
        if self.schedules.since_last:
            self.schedules.backward_begins()
        if not self.is_looked_at:
            return
        reset = self.gradients.backward_begins()
        self.parts.backward_begins()
        self.drops.backward_begins()
        if reset:
            self._pending.clear()
        if not self.is_alone:
            self.reach.backward_begins([s.reach for s in strands if s is not self], reset=reset)

    def backward_ends(self, losses: Sequence[Tensor | float]) -> bool:
        """Some backward has ended; returns whether it reached these parameters."""
        reached = not self.is_looked_at or self.gradients.backward_ends()
        if reached:
            self.reached += self.is_looked_at
            self.reached_in_company += not self.is_alone
            self.expect(losses)
            self.fate.is_propagated()
            if self.exposure.pending is not None:
                self.exposure.is_propagated()
            if self.is_looked_at:
                self.parts.backward_ends()
                self.drops.backward_ends()
        return reached

    def expect(self, losses: Sequence[Tensor | float]) -> None:
        """These were propagated to it: in the step that goes on, or for the next."""
        if not self.is_stepping:
            self._pending += losses
            return
        for loss in losses:
            self.losses.keep(self.step, loss)

    def batch(self, arguments: Any, loading: Loading) -> None:
        """The model is called on a batch in order to train."""
        copy = None
        self.gradients.awaits_backward = True
        if self._is_sampled:
            self.was_called = True
            if self.redrawn.is_open:
                self.redrawn.sees(self.step, arguments)
            copy = copy_of(arguments)
            if copy is None:
                self.observer.batch(self.step, arguments)
            else:
                self._batches.copied(self.step, copy)
        if self.scene is not None:
            if self.drops.is_open:
                self.drops.called(arguments, loading)
            training = self.scene.model.training
            self.exposure.is_called_to_train(self.step, arguments, loading, training=training, copy=copy)
            self.fate.is_called(with_gradients=True)

    def gradients_are_complete(self, optimizer: torch.optim.Optimizer) -> None:
        """The optimizer is about to apply them."""
        step, gradients = self.step, self.gradients
        if self.rank is not None:
            self.rank.before_step(step)
        if self.is_looked_at:
            if len(optimizer.param_groups) != self._groups:
                self._groups = len(optimizer.param_groups)
                self.keys.update(map(id, parameters_of(optimizer)))
            self.look(step, gradients, self.owners)
            if self.scene is not None:
                self.newcomers.look(step, self.scene.model, optimizer)
            self.parts.applied(optimizer)
            self.drops.applied(gradients)
            self._look_for_successors()
        self.is_stepping, pending, self._pending = True, self._pending, []
        self.expect(pending)
        if self._is_sampled:
            self._note_the_mode(step)
            self.observer.gradients(step)
            self.observer.before_update(step, optimizer)
            return
        self.rates.before_update(step, optimizer)
        self.note_oddities(optimizer)

    def _look_for_successors(self) -> None:
        """Where no backward has reached a model that some did before, another may be in its place."""
        if self.gradients.backwards:
            self.in_eval.reach()
            self.successors.is_reached()
        elif self.reached and self.scene is not None:
            self.in_eval.leave()
            self.successors.look(self.step, self.scene.model, self.gradients)

    def note_oddities(self, optimizer: torch.optim.Optimizer) -> None:
        """What few trainings have, but then at every step: eval mode, and numbers of half precision."""
        self._note_the_mode(self.step)
        if not self.rounding.idle:
            self.rounding.gradients(self.step, optimizer)

    def _note_the_mode(self, step: int) -> None:
        if self.scene is not None and not self.scene.model.training and self._is_in_eval():
            self.in_eval.add(step)
            if not step:
                self.was_fresh = any(map(is_untrained, self.scene.model.parameters()))

    def step_ends(self, optimizer: torch.optim.Optimizer) -> None:
        """The optimizer has stepped."""
        if self._is_sampled:
            self.observer.after_update(self.step, optimizer)
        if self.scene is not None:
            training = self.scene.model.training
            if not (training and self.exposure.is_steady):
                self.exposure.is_stepped(training=training)
        if self.schedules.since_last or not self.step:
            self.schedules.optimizer_stepped()
        self.step, self.is_stepping = self.step + 1, False
        self._is_sampled = self.step >= self._sampling.next and self._sampling(self.step)
        self.is_looked_at = self._is_sampled or not self.is_alone
        if self.is_looked_at:
            self.gradients.step_ends()
            self.parts.step_ends(self.step, optimizer)
            self.drops.step_ends()
        if self.step % FLUSH_EVERY == 0:
            self.observer.flush()
            self.clips.flush()

    @property
    def following(self) -> int:
        """The number of steps after which something is due again."""
        return min(self._sampling.next, (self.step // FLUSH_EVERY + 1) * FLUSH_EVERY)

    def values_are_clipped(self, parameters: Sequence[Tensor]) -> None:
        """Measure them before, where this step is looked at."""
        if self.is_looked_at:
            self.clips.measure(parameters)

    def clipped(self, parameters: Sequence[Tensor], bound: float, norm: Tensor | None) -> None:
        """Its gradients were clipped; kept is the factor that they were scaled by."""
        if norm is None:
            norm = self.clips.values(self.step, bound, parameters, scaled=self.is_scaled)
        else:
            self.clips.add(self.step, bound, norm, scaled=self.is_scaled)
        if self.is_looked_at and norm is not None:
            self.clips.look(self.step, parameters, self.gradients, norm)

    def _is_in_eval(self) -> bool:
        """As ``model.eval()`` leaves it; normalisation alone may be kept there on purpose."""
        return bool(self.sensitive) and not any(module.training for module in self.sensitive)

    # -- the end ------------------------------------------------------------------------------

    def close(self, heard: Heard, *, early: bool) -> None:
        """Nothing more will be stepped: read everything back, and let the model go."""
        if self.scene is not None:
            self.observer.flush()
            self.observer.end()
            self.exposure.close(early=early)
            self.in_eval.settle()
            if self.rank is not None:
                self.rank.end(self.step)
            self.filled = {name: fill for probe in self.probes for name, fill in probe.filled().items()}
            self.began_as, self.ended_as = self._inventory.ends()
            self.key_of = {name: id(p) for name, p in self.scene.parameters.items()}
            self.filled["coverage"] = coverage(self.scene, self.keys, self.filled["gradient_norm"])
            self.filled["flow"] = places(
                self.scene, self.filled["gradient_norm"], heard.visits, heard.flows
            )
            axes, trained = heard.axes.rows(self.scene.model), self.exposure.trained()
            axes += heard.kept_states.rows(self.scene.model, trained)
            self.filled["axes"] = (*axes, *heard.reinterpreted.rows(self.scene.model))
            self.filled["through_time"] = heard.through_time.rows(self.scene.model)
            self.filled["data_scale"] = heard.entries.scale(self.scene.model)
            self.filled["batch_norms"] = heard.entries.norms(self.scene.model)
            self.unflattened = heard.visits.unflattened(self.scene.model)
            self.scene = None
            self.probes, self.sensitive, self._inventory = [], [], InventoryProbe()
            self.observer = Observer([])
            self.left_over = self.gradients.backwards
            self.discarded, self.rests = self.gradients.discarded, self.gradients.rests.rows
            self.parts.close()
            self.drops.close()
            self.opposed, self.directions = self.reach.opposed(), self.reach.compared()
            self.reach.close()
            self.gradients = Gradients([])
