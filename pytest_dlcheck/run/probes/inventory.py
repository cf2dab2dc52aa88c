"""What a training is made of, and which of its parts it has changed."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.modules.direct import direct
from pytest_dlcheck.run.probe import Probe, read_in_bulk
from pytest_dlcheck.run.sampling import GRADIENTS, Due
from pytest_dlcheck.run.scene import Scene
from pytest_dlcheck.trace import Row
from pytest_dlcheck.trial import Trial

_PART, _PART_ELSEWHERE = 1 << 16, 1 << 20
"""Words that are fingerprinted at once: on the CPU so many that they stay in its cache."""
_SMALL, _FEW = 1 << 12, 32
"""Words up to which a tensor is fingerprinted together with others, and how many of them at a time."""
_WORD = 8
"""Bytes of a word."""
HELD = 3
"""Recorded steps (count) of an optimizer that holds what was thawed, from which on it is meant to train:
one or two come where a part is thawed at the very end."""
_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class InventoryProbe(Probe[Scene]):
    """Fills the facts ``parameters``, ``buffers`` and ``modules``.

    ``changed`` compares a fingerprint of every bit at the trial's two ends, so that nothing is copied;
    it is None where nothing is trained.
    What a training thaws and then changes, or goes on to hold in its optimizer, was frozen for a while
    only, and is told as trained.
    """

    channels = frozenset({"parameters", "buffers", "modules"})

    def begin(self, scene: Scene, trial: Trial) -> None:
        """Fingerprint everything that may be trained."""
        self._scene = scene
        self._modes = {name: m.training for name, m in scene.model.named_modules()}
        self._frozen = {name: _all_frozen(m) for name, m in scene.model.named_modules()}
        self._before = {} if trial.kind == "inspect" else _fingerprints(scene)
        self._alive = {name: p.detach().any() for name, p in scene.parameters.items()}
        self._trainable = {name: p.requires_grad for name, p in scene.parameters.items()}
        self._still = {name: p for name, p in scene.parameters.items() if not p.requires_grad}
        self._thawed: set[str] = set()
        self._held = dict.fromkeys(self._still, 0)
        """At how many recorded steps an optimizer holds them, thawed, at a rate above zero."""
        self._is_due = Due(GRADIENTS)

    def gradients(self, step: int, optimizer: torch.optim.Optimizer | None) -> None:
        """Look which frozen parameters are thawed."""
        del optimizer
        if self._still and self._is_due(step):
            self._look_for_thawed()

    def before_update(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Look who holds what was thawed."""
        if self._thawed and self._is_due(step):
            moving = (group for group in optimizer.param_groups if group.get("lr", 1))
            held = {id(p) for group in moving for p in group["params"]}
            for name in self._thawed:
                parameter = self._scene.parameters[name]
                self._held[name] += parameter.requires_grad and id(parameter) in held

    def end(self) -> None:
        """Fingerprint everything again."""
        self._look_for_thawed()
        self._after = _fingerprints(self._scene) if self._before else {}
        self._buffers_after = dict(self._scene.model.named_buffers())

    def filled(self) -> Mapping[str, tuple[Row, ...]]:
        """The facts."""
        names = [name for name in self._before if name in self._after]
        ends = ([prints[name] for name in names] for prints in (self._before, self._after))
        before, after = map(read_in_bulk, ends)
        self._changes = {n: a != b for n, a, b in zip(names, before, after, strict=True)}
        self._lives = dict(zip(self._alive, read_in_bulk(list(self._alive.values())), strict=True))
        return {
            "parameters": tuple(self._parameter_row(n, p) for n, p in self._scene.parameters.items()),
            "buffers": tuple(self._buffer_row(name) for name in self._buffers_after),
            "modules": tuple(self._module_row(n, m) for n, m in self._scene.model.named_modules()),
        }

    def ends(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Fingerprints of the parameters, at the beginning and at the end; reads the device."""
        names = [name for name in self._scene.parameters if name in self._before]
        before, after = (
            tuple(torch.stack([prints[name].cpu() for name in names]).tolist() if names else ())
            for prints in (self._before, self._after)
        )
        return before, after

    def _look_for_thawed(self) -> None:
        thawed = [name for name, parameter in self._still.items() if parameter.requires_grad]
        self._thawed.update(thawed)
        for name in thawed:
            del self._still[name]

    def _is_retrained(self, name: str) -> bool:
        return name in self._thawed and (bool(self._changed(name)) or self._is_held(name))

    def _is_held(self, name: str) -> bool:
        return self._held.get(name, 0) >= HELD

    def _changed(self, name: str) -> bool | None:
        return self._changes.get(name)

    def _parameter_row(self, name: str, parameter: nn.Parameter) -> Row:
        groups = [
            group
            for optimizer in self._scene.optimizers
            for group in optimizer.param_groups
            if any(p is parameter for p in group["params"])
        ]
        return Row(
            name=name,
            shape=str(tuple(parameter.shape)),
            numel=parameter.numel(),
            dtype=str(parameter.dtype).removeprefix("torch."),
            requires_grad=self._trainable.get(name, parameter.requires_grad) or self._is_retrained(name),
            declared_frozen=self._scene.is_frozen(name),
            optimizers=len(groups) or int(self._is_held(name)),
            weight_decay=float(groups[0].get("weight_decay") or 0.0) if groups else None,
            zero_at_start=not self._lives[name],
            changed=self._changed(name),
        )

    def _buffer_row(self, name: str) -> Row:
        place = name.rpartition(".")[0]
        owner = self._scene.model.get_submodule(place)
        thawed = {each.rpartition(".")[0] for each in self._thawed}
        return Row(
            name=name,
            module=type(owner).__name__,
            owner_training=self._modes.get(place),
            owner_frozen=self._frozen.get(place, _all_frozen(owner)) and place not in thawed,
            declared_frozen=self._scene.is_frozen(name),
            changed=self._changed(name),
        )

    def _module_row(self, name: str, module: nn.Module) -> Row:
        return Row(
            name=name or "model",
            type=type(module).__name__,
            training_at_start=self._modes.get(name),
            training_at_end=module.training,
        )


def _all_frozen(module: nn.Module) -> bool:
    own = direct(module)
    return bool(own) and not any(p.requires_grad for p in own)


def _fingerprints(scene: Scene) -> dict[str, Tensor]:
    buffers = {n: b for n, b in scene.model.named_buffers() if not b.is_sparse}
    return weighed({**scene.parameters, **buffers})


def weighed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A fingerprint of every bit of each tensor, where it is: int64 of shape ``[]``."""
    words = {n: _words_of(t) for n, t in tensors.items()}
    alike: dict[torch.device, list[str]] = {}
    for name, flat in words.items():
        if flat.numel() <= _SMALL:
            alike.setdefault(flat.device, []).append(name)
    few = [some[i : i + _FEW] for some in alike.values() for i in range(0, len(some), _FEW)]
    weigh = _Weigh()
    found = {name: weigh(flat) for name, flat in words.items() if flat.numel() > _SMALL}
    for names in few:
        found |= zip(names, weigh.together([words[name] for name in names]), strict=True)
    return found


class _Weigh:
    """Fingerprints tensors one after the other, with one set of weights and one room for them all."""

    def __init__(self) -> None:
        self._desks: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def together(self, several: list[Tensor]) -> tuple[Tensor, ...]:
        """The same of small ones on one device, each weighed by places of its own."""
        lengths = [words.numel() for words in several]
        places, _ = self._desk(several[0].device, max(lengths))
        weighed = torch.cat(several) * torch.cat([places[:length] for length in lengths])
        sums = torch.cat([weighed.new_zeros(1), weighed.cumsum(0)])
        ends = torch.tensor([0, *accumulate(lengths)], device=sums.device)
        return sums[ends].diff().unbind()

    def __call__(self, words: Tensor) -> Tensor:
        """A number that all bits and their places go into: int64 of shape ``[]``."""
        # Summed at once, the CPU would widen a copy of the whole tensor first; one room serves all
        # parts, because the allocator does not reliably use those again that are freed.
        most = _PART if words.device.type == "cpu" else _PART_ELSEWHERE
        places, room = self._desk(words.device, min(most, words.numel()))
        total: Tensor | None = None
        for part in torch.split(words, most) if words.numel() > most else (words,):
            count = part.numel()
            weighed = torch.mul(part, places[:count], out=room[:count]).sum()
            total = weighed if total is None else total.mul_(31).add_(weighed)
        assert total is not None
        return total

    def _desk(self, device: torch.device, size: int) -> tuple[Tensor, Tensor]:
        known = self._desks.get(device)
        if known is None or known[0].numel() < size:
            # Weighed by place: the two biases of a binary head move by opposite steps, which a sum
            # never sees.
            places = torch.arange(1, 2 * size + 1, 2, device=device)
            self._desks[device] = places, torch.empty_like(places)
        return self._desks[device]


def _words_of(tensor: Tensor) -> Tensor:
    flat = tensor.detach()
    flat = torch.view_as_real(flat) if flat.is_complex() else flat
    if flat.is_floating_point():
        flat = flat.view(_BITS[flat.element_size()])
    if not flat.is_contiguous() and not torch.ops.aten.is_non_overlapping_and_dense(flat):
        flat = flat.contiguous()
    return _words(flat.as_strided((flat.numel(),), (1,)))


def _words(flat: Tensor) -> Tensor:
    """The same memory as words of 64 bits, where it can be cut so: half as many, and none to widen."""
    size = flat.element_size()
    whole = all(count * size % _WORD == 0 for count in (flat.numel(), flat.storage_offset()))
    return flat.view(torch.int64) if whole and flat.numel() and flat.data_ptr() % _WORD == 0 else flat
