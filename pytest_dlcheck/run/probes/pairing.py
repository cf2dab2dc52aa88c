"""How much better the right targets fit than those of other samples, while the training goes on."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.errors import NotApplicableError, message_of
from pytest_dlcheck.run.losses.labels import cross_entropy, hits
from pytest_dlcheck.run.passes.evaluation import evaluated
from pytest_dlcheck.run.probe import Probe, ScalarBuffer, number_of
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.crossing import Crossing, rolled
from pytest_dlcheck.run.tensors.tree import batch_size, detached, tensors
from pytest_dlcheck.run.world.drawing import told_to_draw
from pytest_dlcheck.trace import Row, Series
from pytest_dlcheck.trial import Trial

POINTS = 48
"""Steps of the first epoch at which outputs are held against other targets: some 50 us each."""
DEAR_POINTS = 7
"""The same where it takes two more forwards: about 5 % of 100 steps."""
LATE = 8
"""Steps at the end of the trial, where later epochs have begun, that show what was memorised."""
TELLING = 512
"""Samples that tell how many targets differ from the next one's: a share to a fiftieth."""
_SAME = 1e-6
"""Relative difference below which other targets make no difference at all."""


class PairingProbe(Probe[Rig]):
    """Fills ``pairing_gain``, ``crossed_loss``, ``stream_accuracy`` and ``pairing``.

    The gain is the loss against the targets of other samples of the batch, less that against its own,
    before the batch is trained on. On new data its mean is zero unless something was learned from
    inputs that holds for other samples too. Where the recipe has a ``loss=``, the step's own outputs
    are used; elsewhere the batch goes through the step twice more, after the backward.
    """

    channels = frozenset({"pairing_gain", "crossed_loss", "stream_accuracy", "pairing"})

    def begin(self, rig: Rig, trial: Trial) -> None:
        """Choose the steps."""
        self._rig, self._why_not = rig, ""
        self._batch: Any = None
        self._gains, self._crossed, self._hits = ScalarBuffer(), ScalarBuffer(), ScalarBuffer()
        self._moved: list[Tensor | float] = []
        self._differs: list[Tensor] = []
        self._fresh = self._samples = 0
        self._classifies = self._draws = True
        self._is_sure = False
        """Once an answer was found to be right or wrong, the device is not waited for again."""
        self._stands_in: bool | None = None
        self._cheap = rig.recipe.loss is not None and rig.recipe.batch_dim == 0
        self._refused = self._refusal(rig)
        """Why the question does not arise for this recipe."""
        self._elsewhere = trial.kind != "train"
        self.idle = self._elsewhere or bool(self._refused)
        self._due = _chosen(rig, trial.steps, POINTS, LATE)
        self._dear = _chosen(rig, trial.steps, DEAR_POINTS, LATE // 4)

    def step_begins(self, step: int) -> None:
        """See whether the data is still new."""
        if self._rig.epochs_ended == 0:
            self._fresh = step + 1

    def loss(self, step: int, loss: Tensor) -> None:
        """Keep it for the event to come."""
        self._loss = number_of(loss) if step in self._due else None

    def outputs(self, step: int, batch: Any, outputs: Any) -> None:
        """Hold the outputs against the targets of other samples."""
        if step not in self._due or self._why_not or self._refused:
            return
        try:
            targets = self._rig.objective.targets(batch)
            if self._stands_in is None:
                self._stands_in = not self._cheap and cross_entropy(outputs, targets) is not None
            if self._cheap or self._stands_in:
                self._cross(step, targets, detached(outputs))
            elif step in self._dear:
                self._batch = batch
        except Exception as error:  # noqa: BLE001  the user's loss may refuse in any way
            self._why_not = f"the loss refused the targets of other samples: {message_of(error)}"

    def gradients(self, step: int, optimizer: torch.optim.Optimizer | None) -> None:
        """Go through the batch once more, with its own targets and with others."""
        del optimizer
        batch, self._batch = self._batch, None
        if batch is None or self._why_not:
            return
        try:
            if (size := self._crossing.size(batch)) > 1:
                self._samples = size
                right = self._again(batch)
                moved = self._again(self._crossing.moved(batch, _shift(step, size)))
                self._keep(step, number_of(right), number_of(moved))
                self._differs.append((moved - right).abs() > _SAME * right.abs())
        except Exception as error:  # noqa: BLE001  the user's step may refuse in any way
            self._why_not = f"the step refused the targets of other samples: {message_of(error)}"

    def flush(self) -> None:
        """Read back."""
        self._gains.flush()
        self._crossed.flush()
        self._hits.flush()

    def filled(self) -> Mapping[str, Series | tuple[Row, ...] | str]:
        """What was found."""
        if self._elsewhere:
            return {}
        if not self._refused and self._differs and not torch.stack(self._differs).any():
            self._refused = "the step takes no notice of what stands in the targets' place of a batch"
        if self._refused:
            return {"pairing": (Row(inapplicable=self._refused),)}
        why = self._why_not or ("" if len(self._gains.series()) else "no batch held two samples")
        if why:
            return {"pairing": why}
        moved = fmean(map(float, self._moved)) if self._moved else 1.0
        row = Row(fresh_steps=self._fresh, samples=self._samples, moved=moved)
        found: dict[str, Series | tuple[Row, ...] | str] = {"pairing": (row,)}
        buffers = {
            "pairing_gain": self._gains,
            "crossed_loss": self._crossed,
            "stream_accuracy": self._hits,
        }
        for name, buffer in buffers.items():
            if len(series := buffer.series()):
                found[name] = series
        return found

    def _refusal(self, rig: Rig) -> str:
        if rig.objective.is_generator:
            return "several objectives are trained against each other"
        try:
            if not self._cheap:
                self._crossing = Crossing(rig.recipe, rig.batch)
        except NotApplicableError as error:
            return str(error)
        return ""

    def _keep(self, step: int, right: Tensor | float, moved: Tensor | float) -> None:
        self._gains.append(step, moved - right)
        self._crossed.append(step, moved)

    def _again(self, batch: Any) -> Tensor:
        with self._rig.undisturbed():
            return evaluated(self._rig, batch)[0]

    def _cross(self, step: int, targets: Any, outputs: Any) -> None:
        if targets is None:
            self._refused = "a batch has no targets: no pairs to break"
            return
        rig, size = self._rig, _count(targets)
        if size < 2 or self._loss is None:  # noqa: PLR2004  a single sample has no other
            return
        others = rolled(targets, _shift(step, size), size)

        def crossed() -> Tensor | float:
            with torch.no_grad(), rig.autocast():
                return number_of(rig.objective.loss_of_outputs(outputs, others))

        if self._stands_in:
            right, loss = (number_of(_stand_in(outputs, t)) for t in (targets, others))
        else:
            right = self._loss
            loss, self._draws = told_to_draw(crossed, rig.seed) if self._draws else (crossed(), False)
        self._keep(step, right, loss)
        self._samples = size
        if len(self._moved) * size < TELLING and (parts := tensors(targets)):
            differs = parts[0] != tensors(others)[0]
            differs = differs if differs.dim() == 1 else differs.reshape(len(differs), -1).any(1)
            self._moved.append(_share(differs))
        if self._classifies:
            correct = hits(outputs, targets, sure=self._is_sure)
            self._classifies = self._is_sure = correct is not None
            if correct is not None:
                self._hits.append(step, _share(correct))


def _chosen(rig: Rig, steps: int, points: int, late: int) -> frozenset[int]:
    """Steps spread over the first epoch but for its beginning, and the last ones of the trial."""
    per_epoch = rig.stream.batches_per_epoch
    epoch = steps if per_epoch is None else min(steps, -(-per_epoch // rig.recipe.accumulate))
    start = epoch // 5 if points == POINTS else epoch // 2
    span = max(1, epoch - 1 - start)
    early = {start + round(i * span / (points - 1)) for i in range(points)}
    return frozenset(step for step in {*early, *range(max(epoch, steps - late), steps)} if step < steps)


def _share(these: Tensor) -> Tensor | float:
    """The share of samples for which it holds, as a number where that waits for no device."""
    return number_of(torch.count_nonzero(these)) / max(1, len(these))


def _stand_in(outputs: Any, targets: Any) -> Tensor:
    value = cross_entropy(outputs, targets, sure=True)
    assert value is not None
    return value


def _shift(step: int, size: int) -> int:
    """Another neighbour at each step, never oneself."""
    return 1 + (7 * step + size // 2) % (size - 1)


def _count(targets: Any) -> int:
    if isinstance(targets, Tensor):
        return len(targets) if targets.dim() else 1
    if isinstance(targets, (list, tuple)) and not any(isinstance(t, Tensor) for t in targets):
        return len(targets)
    return batch_size(targets, 0) or 1
