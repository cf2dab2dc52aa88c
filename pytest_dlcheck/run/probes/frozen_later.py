"""Normalisations that are frozen while a training is under way, and run in train mode still."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _NormBase

from pytest_dlcheck.run.modules.direct import direct
from pytest_dlcheck.run.probe import Probe, read_in_bulk
from pytest_dlcheck.run.probes.inventory import weighed
from pytest_dlcheck.run.sampling import GRADIENTS, Due
from pytest_dlcheck.run.scene import Scene
from pytest_dlcheck.trace import Row
from pytest_dlcheck.trial import Trial

_STATISTICS = ("running_mean", "running_var")


@dataclass
class _Later:
    module: _NormBase
    before: dict[str, Tensor]
    trains: bool = False


class FrozenLaterProbe(Probe[Scene]):
    """Fills the fact ``frozen_later``: a row per normalisation whose statistics moved, and no parameter.

    It is compared from the first step on at which it was seen frozen; what is thawed again is let be.
    """

    channels = frozenset({"frozen_later"})

    def begin(self, scene: Scene, trial: Trial) -> None:
        """Keep what trains, keeps statistics, and may be frozen."""
        del trial
        roots = {"": scene.model, **getattr(scene, "beside", {})}
        self._norms = {
            ".".join(part for part in (place, name) if part): module
            for place, root in roots.items()
            for name, module in root.named_modules()
            if isinstance(module, _NormBase) and module.running_mean is not None and _trains(module)
        }
        self._frozen: dict[str, _Later] = {}
        self._is_due = Due(GRADIENTS)
        self.idle = not self._norms

    def gradients(self, step: int, optimizer: torch.optim.Optimizer | None) -> None:
        """Look which of them are frozen, and in which mode."""
        del optimizer
        if not self._is_due(step):
            return
        for name, module in self._norms.items():
            if _trains(module):
                self._frozen.pop(name, None)
                continue
            if name not in self._frozen:
                self._frozen[name] = _Later(module, _prints(module))
            self._frozen[name].trains |= module.training

    def end(self) -> None:
        """Compare what is frozen still."""
        self._norms = {}
        self._pairs = {
            name: (later.before, _prints(later.module))
            for name, later in self._frozen.items()
            if later.trains and not _trains(later.module)
        }
        self._frozen = {}

    def filled(self) -> Mapping[str, tuple[Row, ...]]:
        """The rows."""
        changes = {name: _changes(*ends) for name, ends in self._pairs.items()}
        return {
            "frozen_later": tuple(
                Row(name=name, parameters=len(self._pairs[name][0]) - len(_STATISTICS))
                for name, changed in changes.items()
                if changed and changed <= set(_STATISTICS)
            )
        }


def _trains(norm: _NormBase) -> bool:
    """Whether it has parameters of its own that require grad; one without any is of no kind here."""
    return any(p.requires_grad for p in direct(norm))


def _prints(norm: _NormBase) -> dict[str, Tensor]:
    buffers = {n: b for n in _STATISTICS if (b := getattr(norm, n)) is not None}
    return weighed({**dict(norm.named_parameters(recurse=False)), **buffers})


def _changes(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> set[str]:
    if before.keys() != after.keys():
        return set(before)
    names = list(before)
    ends = (read_in_bulk([prints[name] for name in names]) for prints in (before, after))
    return {n for n, a, b in zip(names, *ends, strict=True) if a != b}
