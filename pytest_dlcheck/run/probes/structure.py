"""What the recipe is made of, and which of its parts a trial has changed."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.probe import Probe
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.trace import Row
from pytest_dlcheck.trial import Trial

_PART = 1 << 20
"""Elements that are fingerprinted at once."""
_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class StructureProbe(Probe):
    """Fills the facts ``recipe``, ``parameters``, ``buffers`` and ``modules``.

    ``changed`` compares a fingerprint of every bit at the trial's two ends, so that nothing is copied.
    """

    channels = frozenset({"recipe", "parameters", "buffers", "modules"})

    def begin(self, rig: Rig, trial: Trial) -> None:
        """Fingerprint everything."""
        del trial
        self._rig = rig
        self._modes = {name: m.training for name, m in rig.model.named_modules()}
        self._frozen = {name: _all_frozen(m) for name, m in rig.model.named_modules()}
        self._before = _fingerprints(rig)
        self._zero = {name: ~p.detach().any() for name, p in rig.parameters.items()}
        self._trainable = {name: p.requires_grad for name, p in rig.parameters.items()}

    def end(self) -> None:
        """Fingerprint everything again."""
        self._after = _fingerprints(self._rig)
        self._buffers_after = dict(self._rig.model.named_buffers())

    def filled(self) -> Mapping[str, tuple[Row, ...]]:
        """The facts."""
        return {"recipe": (recipe_row(self._rig),), **self.inventory()}

    def inventory(self) -> dict[str, tuple[Row, ...]]:
        """What is known without a recipe."""
        return {
            "parameters": tuple(self._parameter_row(n, p) for n, p in self._rig.parameters.items()),
            "buffers": tuple(self._buffer_row(name) for name in self._buffers_after),
            "modules": tuple(self._module_row(n, m) for n, m in self._rig.model.named_modules()),
        }

    def _changed(self, name: str) -> bool | None:
        before, after = self._before.get(name), self._after.get(name)
        return None if before is None or after is None else bool((before != after).item())

    def _parameter_row(self, name: str, parameter: nn.Parameter) -> Row:
        groups = [
            group
            for optimizer in self._rig.optimizers
            for group in optimizer.param_groups
            if any(p is parameter for p in group["params"])
        ]
        return Row(
            name=name,
            shape=str(tuple(parameter.shape)),
            numel=parameter.numel(),
            dtype=str(parameter.dtype).removeprefix("torch."),
            requires_grad=self._trainable.get(name, parameter.requires_grad),
            declared_frozen=self._rig.is_frozen(name),
            optimizers=len(groups),
            weight_decay=float(groups[0].get("weight_decay") or 0.0) if groups else None,
            zero_at_start=bool(self._zero[name].item()),
            changed=self._changed(name),
        )

    def _buffer_row(self, name: str) -> Row:
        owner = self._rig.model.get_submodule(name.rpartition(".")[0])
        return Row(
            name=name,
            module=type(owner).__name__,
            owner_training=self._modes.get(name.rpartition(".")[0]),
            owner_frozen=self._frozen.get(name.rpartition(".")[0], _all_frozen(owner)),
            declared_frozen=self._rig.is_frozen(name),
            changed=self._changed(name),
        )

    def _module_row(self, name: str, module: nn.Module) -> Row:
        return Row(
            name=name or "model",
            type=type(module).__name__,
            training_at_start=self._modes.get(name),
            training_at_end=module.training,
        )


def recipe_row(rig: Rig) -> Row:
    """The recipe's facts that checks decide by."""
    recipe, loss = rig.recipe, rig.recipe.loss
    return Row(
        model=type(rig.model).__name__,
        loss=getattr(loss, "__name__", type(loss).__name__) if loss is not None else None,
        training_step=recipe.training_step is not None,
        several_objectives=rig.objective.is_generator,
        optimizer=", ".join(type(o).__name__ for o in rig.optimizers) or None,
        optimizers=len(rig.optimizers),
        maximize=any(group.get("maximize") for o in rig.optimizers for group in o.param_groups),
        scheduler=bool(rig.schedulers),
        precision=recipe.precision,
        accumulate=recipe.accumulate,
        max_grad_norm=recipe.max_grad_norm,
        batch_size=rig.batch_size,
        batch_dim=recipe.batch_dim,
        causal=recipe.causal,
        shapes=recipe.shapes,
        declares_frozen=bool(tuple(recipe.frozen)),
        batches_per_epoch=rig.stream.batches_per_epoch,
    )


def _all_frozen(module: nn.Module) -> bool:
    own = list(module.parameters(recurse=False))
    return bool(own) and not any(p.requires_grad for p in own)


def _fingerprints(rig: Rig) -> dict[str, Tensor]:
    buffers = {n: b for n, b in rig.model.named_buffers() if not b.is_sparse}
    return {name: _bits(t) for name, t in (*rig.parameters.items(), *buffers.items())}


def _bits(tensor: Tensor) -> Tensor:
    flat = tensor.detach()
    flat = torch.view_as_real(flat) if flat.is_complex() else flat
    if flat.is_floating_point():
        flat = flat.view(_BITS[flat.element_size()])
    if not torch.ops.aten.is_non_overlapping_and_dense(flat):
        flat = flat.contiguous()
    flat = flat.as_strided((flat.numel(),), (1,))
    # Summed at once, the CPU would widen a copy of the whole tensor first; one room serves all parts,
    # because the allocator does not reliably use those again that are freed.
    room = torch.empty(min(_PART, flat.numel()), dtype=torch.int64, device=flat.device)
    # Weighed by place: the two biases of a binary head move by opposite steps, which a sum never sees.
    places = torch.arange(1, 2 * room.numel() + 1, 2, device=flat.device)
    total = torch.zeros((), dtype=torch.int64, device=flat.device)
    for part in torch.split(flat, _PART):
        weighed = room[: part.numel()].copy_(part).mul_(places[: part.numel()])
        total.mul_(31).add_(weighed.sum())
    return total
