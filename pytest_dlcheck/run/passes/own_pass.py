"""The first batch passed in eval mode: once for all who ask. It keeps what was told, and no values."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.passes.first_pass import is_finite, is_real
from pytest_dlcheck.run.passes.shape_probes import Passed, passed
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import map_tensors, named_tensors


@dataclass(frozen=True)
class OwnPass:
    """What the pass showed.

    Attributes:
        passed: the call; its outputs have shapes and dtypes only, on the device ``meta``.
        sizes: the number of elements of each floating output, by its place, and of the loss, where all
            of them are finite; None where not, or where the recipe's loss is not asked of outputs.
    """

    passed: Passed
    sizes: dict[str, int] | None


def own_pass(rig: Rig) -> OwnPass:
    """The call of the first batch in eval mode, whoever makes it first."""
    found: OwnPass = rig.once("the first batch in eval mode", lambda: _passed(rig))
    return found


def _passed(rig: Rig) -> OwnPass:
    sizes: list[dict[str, int] | None] = []

    def read(outputs: Any) -> Any:
        with suppress(Exception):  # whoever needs the loss will meet its error, and tell it
            sizes.append(_finite(rig, outputs))
        return map_tensors(outputs, _form)

    result = passed(rig, rig.call.inputs, read)
    return OwnPass(result, sizes[0] if sizes else None)


def _finite(rig: Rig, outputs: Any) -> dict[str, int] | None:
    targets = rig.objective.targets(rig.batch)
    if rig.recipe.loss is None or rig.recipe.training_step is not None or targets is None:
        return None
    values = {name: t for name, t in named_tensors(outputs, "output") if is_real(t)}
    loss: Any = rig.objective.loss_of_outputs(outputs, targets)
    values |= {"loss": loss} if isinstance(loss, Tensor) else {}
    return {n: t.numel() for n, t in values.items()} if all(map(is_finite, values.values())) else None


def _form(tensor: Tensor) -> Tensor:
    plain = tensor.layout == torch.strided and not tensor.is_nested
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta") if plain else tensor
