"""The short training loop: one recipe, some steps, watched by probes. It judges nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from inspect import signature
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from pytest_dlcheck.recipe import RecipeError
from pytest_dlcheck.run.losses.attainable import NOTHING_KNOWN, Attainable
from pytest_dlcheck.run.observer import Observer
from pytest_dlcheck.run.parts import takes_closure
from pytest_dlcheck.run.probes.loss import LossProbe
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.stream import ExhaustedError
from pytest_dlcheck.trace import Ending
from pytest_dlcheck.trial import Until

FLUSH_EVERY = 32
"""Steps between two readings from the device; a divergence is seen at most so much later."""
FLUSH_EVERY_UNTIL = 8
"""The same where a stopping rule waits for the loss."""
TALK = 1.0
"""Seconds after which whoever asked to be told of progress is told again."""
SMOOTHED = 5
"""Losses that a stopping rule averages over."""

Progress = Callable[[int, float], None]
"""Told ``(step, loss)`` now and then."""


@dataclass(frozen=True)
class Limits:
    """When a loop stops.

    Attributes:
        steps: optimizer steps at most.
        until: a stopping rule on the loss.
        reach: what loss is possible, and what is without looking at inputs: ``until`` counts from
            the second to the first.
        deadline: a ``time.perf_counter`` second to stop at, or None.
    """

    steps: int
    until: Until | None = None
    reach: Attainable = NOTHING_KNOWN
    deadline: float | None = None


class Loop:
    """Trains a rig for some steps.

    Args:
        rig: what to train.
        observer: who is told.
        losses: the probe that holds the losses, for the stopping rules.
        next_batch: where batches come from.
        schedulers: whether the recipe's schedulers step.
    """

    def __init__(
        self,
        rig: Rig,
        observer: Observer[Rig],
        losses: LossProbe,
        next_batch: Callable[[], Any],
        *,
        schedulers: bool = True,
    ) -> None:
        self.rig, self.observer, self.losses = rig, observer, losses
        self.next_batch = next_batch
        self.schedulers = rig.schedulers if schedulers else []
        fp16 = rig.recipe.precision == "fp16-mixed"
        self.scaler = torch.amp.GradScaler(rig.device.type) if fp16 else None
        self.step = 0
        self.skipped: list[int] = []
        """Steps that the gradient scaler skipped because of an overflow."""
        self._choose()  # refuses what cannot be trained
        self._epochs = 0
        self._looked = perf_counter()
        self._wants_loss = {id(s) for s in self.schedulers if "metrics" in signature(s.step).parameters}

    def run(self, limits: Limits, progress: Progress | None = None) -> Ending:
        """Train; returns how it ended. Errors of the user's code are raised."""
        waits = limits.until is not None and limits.until.progress is not None
        every = FLUSH_EVERY_UNTIL if waits else FLUSH_EVERY
        take_step = self._choose()  # not an attribute: the loop would hold itself, and its model
        for self.step in range(limits.steps):
            try:
                self.observer.step_begins(self.step)
                take_step()
                self.observer.step_ends(self.step)
            except ExhaustedError:
                return self._exhausted()
            self._step_schedulers()
            if self._epochs_are_over(limits.until):
                break
            due = (self.step + 1) % every == 0 or (progress and perf_counter() - self._looked > TALK)
            if due and (ending := self._look(limits, progress)):
                return ending
            if limits.deadline is not None and perf_counter() > limits.deadline:
                return Ending("timed_out", self.step, "its time limit was reached", "between steps")
        if self.rig.objective.is_generator and not len(self.losses.so_far()):
            raise RecipeError(
                f"training_step yielded nothing in {limits.steps} steps: "
                "yield (optimizer, loss) once per optimizer step"
            )
        return self._look(limits, progress) or Ending()

    def stepper(self) -> Callable[[], None]:
        """What takes one step, without schedulers, for whoever repeats it by themselves."""
        return self._choose()

    # -- one step, in its four forms ------------------------------------------------------------

    def _choose(self) -> Callable[[], None]:
        rig = self.rig
        if rig.objective.is_generator:
            return self._generator_step
        if not rig.optimizers:
            raise RecipeError("optimizer= is missing: nothing could be trained")
        if any(takes_closure(optimizer) for optimizer in rig.optimizers):
            if rig.recipe.accumulate > 1 or self.scaler is not None:
                raise RecipeError("accumulate= and fp16-mixed do not go with closures (LBFGS)")
            return self._closure_step
        return self._plain_step

    def _plain_step(self) -> None:
        rig = self.rig
        for optimizer in rig.optimizers:
            optimizer.zero_grad()
        for _ in range(rig.recipe.accumulate):
            self._backward(self._batch(), share=1 / rig.recipe.accumulate)
        self._unscale(rig.optimizers)
        self.observer.gradients(self.step)
        self._clip(list(rig.parameters.values()))
        for optimizer in rig.optimizers:
            self._update(optimizer)
        self._next_scale()

    def _generator_step(self) -> None:
        rig = self.rig
        batch = self._batch()
        for optimizer, loss in self._objectives(batch):
            rig.phase = "backward"
            optimizer.zero_grad()
            self.observer.loss(self.step, loss)
            self._scaled(loss).backward()  # type: ignore[no-untyped-call]
            self._unscale([optimizer])
            self.observer.gradients(self.step, optimizer)
            self._clip([p for group in optimizer.param_groups for p in group["params"]])
            self._update(optimizer)
            self._next_scale()
            rig.phase = "training_step"

    def _closure_step(self) -> None:
        batch, evaluations = self._batch(), 0

        def closure() -> Tensor:
            nonlocal evaluations
            for optimizer in self.rig.optimizers:
                optimizer.zero_grad()
            loss = self._backward(batch, observed=evaluations == 0)
            if evaluations == 0:
                self.observer.gradients(self.step)
            self._clip(list(self.rig.parameters.values()))
            evaluations += 1
            return loss

        for optimizer in self.rig.optimizers:
            self.rig.phase = "the optimizer's step"
            self.observer.before_update(self.step, optimizer)
            optimizer.step(closure)  # type: ignore[arg-type]
            self.observer.after_update(self.step, optimizer)

    # -- parts of a step ----------------------------------------------------------------------

    def _batch(self) -> Any:
        self.rig.phase = "reading train_data"
        batch = self.next_batch()
        self.observer.batch(self.step, batch)
        return batch

    def _backward(self, batch: Any, *, share: float = 1.0, observed: bool = True) -> Tensor:
        rig = self.rig
        rig.phase = "forward and loss"
        with rig.autocast():
            loss, outputs = rig.objective.loss(batch)
        if observed:
            self.observer.loss(self.step, loss)
            self.observer.outputs(self.step, batch, outputs)
        rig.phase = "backward"
        if not loss.requires_grad:
            raise RecipeError(
                "the loss does not depend on any trainable parameter, so nothing can be learned: "
                "look for .detach(), .item(), torch.no_grad() or requires_grad_(False) on the way"
            )
        self._scaled(loss if share == 1.0 else loss * share).backward()  # type: ignore[no-untyped-call]
        return loss

    def _objectives(self, batch: Any) -> Iterator[tuple[Any, Tensor]]:
        self.rig.phase = "training_step"
        objectives = self.rig.objective.objectives(batch)
        while True:
            with self.rig.autocast():
                pair = next(objectives, None)
            if pair is None:
                return
            yield pair

    def _update(self, optimizer: torch.optim.Optimizer) -> None:
        self.rig.phase = "the optimizer's step"
        self.observer.before_update(self.step, optimizer)
        if self.scaler is None:
            optimizer.step()
        else:
            with _counting(optimizer) as steps:
                self.scaler.step(optimizer)
            if not steps:
                self.skipped.append(self.step)
        self.observer.after_update(self.step, optimizer)

    def _scaled(self, loss: Tensor) -> Tensor:
        return loss if self.scaler is None else self.scaler.scale(loss)

    def _unscale(self, optimizers: list[torch.optim.Optimizer]) -> None:
        if self.scaler is not None:
            for optimizer in optimizers:
                self.scaler.unscale_(optimizer)

    def _next_scale(self) -> None:
        if self.scaler is not None:
            self.scaler.update()

    def _clip(self, parameters: list[nn.Parameter]) -> None:
        if self.rig.recipe.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(parameters, self.rig.recipe.max_grad_norm)

    def _step_schedulers(self) -> None:
        times = 1
        if self.rig.recipe.scheduler_interval == "epoch":
            times, self._epochs = self.rig.epochs_ended - self._epochs, self.rig.epochs_ended
        self.rig.phase = "the scheduler's step"
        for scheduler in self.schedulers * times:
            if id(scheduler) in self._wants_loss:
                scheduler.step(self._last_loss())
            else:
                scheduler.step()

    # -- looking at the loss ------------------------------------------------------------------

    def _last_loss(self) -> float:
        return self.losses.so_far()[-1]

    def _look(self, limits: Limits, progress: Progress | None) -> Ending | None:
        self._looked = perf_counter()
        self.observer.flush()
        series = self.losses.so_far()
        if progress is not None and len(series):
            progress(self.step, series[-1])
        for step, loss in zip(series.steps, series.values, strict=True):
            if not math.isfinite(loss) and step not in self.skipped:
                return Ending("diverged", step, f"the loss became {loss}", f"step {step}")
        asked = None if limits.until is None else limits.until.progress
        if asked is not None and progress_of(series.values, limits.reach) >= asked:
            return Ending("completed", self.step)
        return None

    def _epochs_are_over(self, until: Until | None) -> bool:
        return until is not None and until.epochs is not None and self.rig.epochs_ended >= until.epochs

    def _exhausted(self) -> Ending:
        self.observer.flush()
        return Ending("completed", self.step, f"train_data is a one-shot iterator of {self.step} steps")


class _counting:  # noqa: N801  a context manager that reads as a phrase
    """Counts the optimizer's steps inside, by its public hook."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer, self._steps = optimizer, list[int]()

    def __enter__(self) -> list[int]:
        self._handle = self._optimizer.register_step_post_hook(lambda *_: self._steps.append(1))
        return self._steps

    def __exit__(self, *_: object) -> None:
        self._handle.remove()


def progress_of(losses: tuple[float, ...], reach: Attainable) -> float:
    """The share of its way to the floor that the smoothed loss has covered.

    Its way begins where it began itself, or at what is reached without looking at the inputs.
    """
    if len(losses) < SMOOTHED:
        return 0.0
    start = reach.start(losses[0])
    recent = sum(losses[-SMOOTHED:]) / SMOOTHED
    return (start - recent) / (start - reach.floor) if start > reach.floor else 0.0
