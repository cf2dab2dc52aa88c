"""The loss at initialisation beside that of a model that knows nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.errors import CannotTellError, NotApplicableError
from pytest_dlcheck.run.experiment import Experiment
from pytest_dlcheck.run.losses.calls import CLASSES, REGRESSION, LossCall, last_operation
from pytest_dlcheck.run.passes.first_pass import heard_by
from pytest_dlcheck.run.passes.initial_written import of_written_out
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import tensors
from pytest_dlcheck.trace import Row

_FEW = 2
_SURE = 1e-6


class InitialLoss(Experiment):
    """Fills ``initial_loss``: a row per loss function of torch that is given the model's outputs.

    ``uninformed`` is the same loss of the best answer that looks at nothing: all logits zero, or the
    mean of the targets; ``spread`` is how large logits are (standard deviation within a row), or how
    large outputs are (root mean square).
    """

    fact = "initial_loss"
    asks_first_pass = True

    def run(self, rig: Rig) -> Iterable[Row]:
        """Look at the loss as it was computed, in train mode, and ask each loss function again."""
        if rig.objective.is_generator:
            raise NotApplicableError("several objectives are trained against each other")
        if rig.recipe.batch_dim is None:
            raise NotApplicableError("samples do not stand alone (batch_dim=None): chance is not known")
        with rig.undisturbed(), torch.enable_grad():
            heard = heard_by(rig)
            result = heard.computed
            made = [last_operation(t)[1] for t in tensors(result.outputs)]
            own_loss = rig.recipe.loss is None and rig.recipe.training_step is None
            calls = [
                call
                for call in result.calls
                if own_loss or not made or any(last_operation(call.outputs)[1] is m for m in made)
            ]
            rows = [row for call in calls for row in _row(call)]
            rows += of_written_out(rig, heard) if not calls else []
        if not rows:
            raise NotApplicableError(
                "the loss is none whose value without knowledge is known "
                "(cross-entropy, binary cross-entropy, squared or absolute error)"
            )
        scale = _input_scale(rig)
        return [Row(row, input_scale=scale) for row in rows]


def _input_scale(rig: Rig) -> float | None:
    """The largest root mean square of a floating input."""
    found = [t.detach().double() for t in tensors(_inputs(rig)) if t.is_floating_point() and t.numel()]
    scales = [float(t.pow(2).mean().sqrt()) for t in found]
    return max((scale for scale in scales if math.isfinite(scale)), default=None)


def _inputs(rig: Rig) -> Any:
    try:
        return rig.call.inputs
    except CannotTellError:
        return None


def _row(call: LossCall) -> Iterable[Row]:
    outputs, targets = call.outputs.detach().float(), call.targets.detach()
    if call.kind in CLASSES and outputs.dim() >= _FEW and outputs.size(1) >= _FEW:
        flat = torch.zeros_like(outputs)
        flat = flat.log_softmax(1) if call.kind == "nll_loss" else flat
        yield _against(call, outputs, flat, spread=outputs.std(1).mean())
    elif call.kind == "binary_cross_entropy_with_logits":
        yield _against(call, outputs, torch.zeros_like(outputs), spread=outputs.pow(2).mean().sqrt())
    elif call.kind == "binary_cross_entropy":
        logits = outputs.logit(_SURE)
        yield _against(call, outputs, outputs * 0 + 0.5, spread=logits.pow(2).mean().sqrt())
    elif call.kind in REGRESSION and outputs.shape == targets.shape and len(targets) >= _FEW:
        goal = targets.float()
        yield Row(
            kind=call.kind,
            loss=call.with_outputs(outputs),
            uninformed=call.with_outputs(goal.mean(0, keepdim=True).expand_as(goal)),
            zero=call.with_outputs(torch.zeros_like(outputs)),
            spread=float(outputs.pow(2).mean().sqrt()),
            target_scale=float(goal.pow(2).mean().sqrt()),
            target_mean=float(goal.mean().abs()),
            target_spread=float(goal.std()),
        )


def _against(call: LossCall, outputs: Tensor, flat: Tensor, *, spread: Tensor) -> Row:
    finite = outputs[outputs.isfinite()]
    return Row(
        kind=call.kind,
        loss=call.with_outputs(outputs),
        uninformed=call.with_outputs(flat),
        spread=float(spread if spread.isfinite() else finite.std()),
    )
