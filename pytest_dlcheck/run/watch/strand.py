"""The training of one optimizer's parameters, as far as it can be seen from outside."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from pytest_dlcheck.run.observer import Observer
from pytest_dlcheck.run.probe import Probe, ScalarBuffer
from pytest_dlcheck.run.probes.batches import BatchProbe
from pytest_dlcheck.run.probes.gradients import GradientProbe
from pytest_dlcheck.run.probes.learning_rate import LearningRateProbe
from pytest_dlcheck.run.probes.loss import LossProbe
from pytest_dlcheck.run.probes.rounding import RoundingProbe
from pytest_dlcheck.run.probes.updates import UpdateProbe
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.sampling import GRADIENTS
from pytest_dlcheck.run.watch.exposure import Exposure
from pytest_dlcheck.run.watch.gradients import Gradients
from pytest_dlcheck.run.watch.inventory import InventoryProbe
from pytest_dlcheck.run.watch.loading import Loading
from pytest_dlcheck.run.watch.modes import sensitive
from pytest_dlcheck.run.watch.ranks import Rank
from pytest_dlcheck.run.watch.reach import coverage, places
from pytest_dlcheck.run.watch.scene import Scene, parameters_of
from pytest_dlcheck.run.watch.schedules import Schedules
from pytest_dlcheck.run.watch.tally import Tally
from pytest_dlcheck.run.watch.tangle import Reach
from pytest_dlcheck.run.watch.targets import Comparisons
from pytest_dlcheck.run.watch.visits import Visits
from pytest_dlcheck.trace import Row
from pytest_dlcheck.trial import Trial

FLUSH_EVERY = 32
"""Steps between two readings from the device."""


class Strand:
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
        losses: Sequence[Tensor],
    ) -> None:
        self.scene: Scene | None = scene
        self.name = f"{type(scene.model).__name__}, {type(optimizer).__name__}"
        self.keys = {id(p) for p in parameters_of(optimizer)}
        self.owner = weakref.ref(optimizer)
        self.optimizers_seen = 1
        self.gradients = Gradients(list(parameters_of(optimizer)))
        self.gradients.backwards = len(losses)
        self.shapes = [p.shape for p in scene.model.parameters()]
        self.exposure = Exposure()
        self.sensitive = sensitive(scene.model)
        self.mode_matters = bool(self.sensitive)
        self.normalizes = any(isinstance(m, _NormBase) for m in self.sensitive)
        self.maximize = any(group.get("maximize") for group in optimizer.param_groups)
        self.losses = LossProbe()
        self.probes: list[Probe] = [
            self.losses,
            BatchProbe(),
            GradientProbe(),
            UpdateProbe(),
            LearningRateProbe(),
            RoundingProbe(),
            InventoryProbe(),
        ]
        self.observer = Observer(self.probes)
        self.observer.begin(cast("Rig", self.scene), Trial("watch"))
        self.reach = Reach(self.gradients)
        self.schedules = Schedules()
        self.comparisons = Comparisons()
        self.rank: Rank | None = None
        self.ranks: Row | None = None
        self.is_replicated = False
        self.step = 0
        self.first_event = self.last_event = 0
        self.kept_gradients, self.repeated = Tally(), Tally()
        self.without_gradients, self.in_eval = Tally(), Tally()
        self.micro_batches: Counter[int] = Counter()
        self.clipping = ScalarBuffer()
        self.shared_losses = 0
        self.is_scaled = False
        self.is_alone = self.is_looked_at = True
        """Looked at are the steps of a schedule; where there are several strands, all of them."""
        self.looked = 0
        self.clips = self.clips_before_backward = self.clips_scaled = 0
        self.reached = 0
        for loss in losses:
            self.observer.loss(0, loss)
        self._pending: list[Tensor] = []

    # -- events -------------------------------------------------------------------------------

    def backward_begins(self, strands: Sequence[Strand], *, scaled: bool) -> None:
        """Some backward begins, of a loss that a gradient scaler has scaled or not."""
        self.is_scaled = scaled
        self.schedules.backward_begins()
        if not self.is_looked_at:
            return
        reset = self.gradients.backward_begins()
        if reset:
            self._pending.clear()
        if not self.is_alone:
            self.reach.backward_begins([s.reach for s in strands if s is not self], reset=reset)

    def backward_ends(self, losses: Sequence[Tensor]) -> bool:
        """Some backward has ended; returns whether it reached these parameters."""
        reached = not self.is_looked_at or self.gradients.backward_ends()
        if reached:
            self.reached += 1
            self._pending += losses
            self.exposure.is_propagated()
        return reached

    def batch(self, arguments: Any, loading: Loading) -> None:
        """The model is called on a batch in order to train."""
        self.observer.batch(self.step, arguments)
        if self.scene is not None:
            training = self.scene.model.training
            self.exposure.is_called_to_train(self.step, arguments, loading, training=training)

    def gradients_are_complete(self, optimizer: torch.optim.Optimizer) -> None:
        """The optimizer is about to apply them."""
        step, gradients = self.step, self.gradients
        if self.rank is not None:
            self.rank.before_step(step)
        if self.is_looked_at:
            self._look(step, gradients)
        if self._is_in_eval():
            self.in_eval.add(step)
        for loss in self._pending:
            self.observer.loss(step, loss)
        self._pending.clear()
        self.observer.gradients(step)
        self.observer.before_update(step, optimizer)

    def _look(self, step: int, gradients: Gradients) -> None:
        self.looked += 1
        if step and not gradients.was_reset and gradients.backwards:
            self.kept_gradients.add(step)
        if not gradients.backwards:
            if step and gradients.are_unchanged():
                self.repeated.add(step)
        elif gradients.are_absent():
            self.without_gradients.add(step)
        self.micro_batches[gradients.backwards] += 1

    def step_ends(self, optimizer: torch.optim.Optimizer) -> None:
        """The optimizer has stepped."""
        self.observer.after_update(self.step, optimizer)
        self.observer.step_ends(self.step)
        if self.scene is not None:
            self.exposure.is_stepped(training=self.scene.model.training)
        self.schedules.optimizer_stepped()
        self.step += 1
        self.is_looked_at = not self.is_alone or self.step in GRADIENTS
        if self.is_looked_at:
            self.gradients.step_ends()
        if self.step % FLUSH_EVERY == 0:
            self.observer.flush()
            self.clipping.flush()

    def clipped(self, bound: float, norm: Tensor) -> None:
        """Its gradients were clipped; kept is the factor that they were scaled by."""
        self.clips += 1
        self.clips_before_backward += not self.gradients.backwards
        self.clips_scaled += self.is_scaled
        self.clipping.append(self.step, (bound / (norm.detach() + 1e-6)).clamp(max=1.0).float())

    def _is_in_eval(self) -> bool:
        """As ``model.eval()`` leaves it; normalisation alone may be kept there on purpose."""
        if self.scene is None or self.scene.model.training or not self.sensitive:
            return False
        return not any(module.training for module in self.sensitive)

    # -- the end ------------------------------------------------------------------------------

    def close(self, visits: Visits, *, early: bool) -> None:
        """Nothing more will be stepped: read everything back, and let the model go."""
        if self.scene is not None:
            self.observer.flush()
            self.observer.end()
            self.exposure.close(early=early)
            if self.rank is not None:
                self.rank.end(self.step)
            self.filled = {name: fill for probe in self.probes for name, fill in probe.filled().items()}
            self.key_of = {name: id(p) for name, p in self.scene.parameters.items()}
            self.filled["coverage"] = coverage(self.scene, self.keys, self.filled["gradient_norm"])
            self.filled["flow"] = places(self.scene, self.filled["gradient_norm"], visits)
            self.scene = None
            self.probes, self.observer, self.sensitive = [], Observer([]), []
            self.left_over = self.gradients.backwards
            self.discarded = self.gradients.discarded
            self.opposed, self.directions = self.reach.opposed(), self.reach.compared()
            self.gradients = Gradients([])

    def owns(self, module: nn.Module) -> bool:
        """Whether a module holds, or is part of, what is trained here."""
        return any(id(p) in self.keys for p in module.parameters())
