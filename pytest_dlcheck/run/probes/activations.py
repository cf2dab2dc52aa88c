"""What leaves each module without children: its scale and its share of zeros, on sampled steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pytest_dlcheck.run.probe import Probe, TableBuffer
from pytest_dlcheck.run.sampling import EVERY, TENSORS
from pytest_dlcheck.run.scene import Scene
from pytest_dlcheck.run.tensors.tree import tensors
from pytest_dlcheck.trace import Matrix
from pytest_dlcheck.trial import Trial

SAMPLES = 8
"""Samples of a batch that are looked at; all of them in a dense trial."""


class ActivationProbe(Probe[Scene]):
    """Fills ``activation_rms`` and ``activation_zero_share`` (ratio), per module without children.

    Hooks hang on the modules only during the sampled steps.
    """

    channels = frozenset({"activation_rms", "activation_zero_share"})

    def begin(self, scene: Scene, trial: Trial) -> None:
        """Find the modules."""
        self._schedule = EVERY if trial.dense else TENSORS
        self._limit = None if trial.dense else SAMPLES
        self._modules = [
            (name or "model", module)
            for name, module in scene.model.named_modules()
            if next(module.children(), None) is None
        ]
        self._compiled = any(hasattr(m, "_orig_mod") for m in scene.model.modules())
        sites = [name for name, _ in self._modules]
        self._rms, self._nonzero = TableBuffer(sites), TableBuffer(sites)
        self._handles: list[RemovableHandle] = []
        self._seen: dict[str, tuple[Tensor, Tensor, int]] = {}

    def step_begins(self, step: int) -> None:
        """Hang the hooks."""
        if step in self._schedule and not self._compiled:
            self._handles = [
                module.register_forward_hook(self._hook(name)) for name, module in self._modules
            ]

    def step_ends(self, step: int) -> None:
        """Take them off, and keep what they saw."""
        self._unhook()
        if not self._seen:
            return
        sites, (norms, counts, sizes) = list(self._seen), zip(*self._seen.values(), strict=True)
        self._rms.append(step, sites, norms, [size**-0.5 for size in sizes])
        self._nonzero.append(step, sites, counts, [1 / size for size in sizes])
        self._seen = {}

    def flush(self) -> None:
        """Read back."""
        self._rms.flush()
        self._nonzero.flush()

    def end(self) -> None:
        """Leave no hook behind, also when a step was broken off."""
        self._unhook()

    def filled(self) -> Mapping[str, Matrix | str]:
        """Both channels."""
        if self._compiled:
            reason = "the model is compiled: activations inside it are not observed"
            return dict.fromkeys(self.channels, reason)
        return {
            "activation_rms": self._rms.matrix(),
            "activation_zero_share": _complement(self._nonzero.matrix()),
        }

    def _unhook(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _hook(self, name: str) -> Any:
        def look(_module: nn.Module, _inputs: Any, output: Any) -> None:
            for tensor in tensors(output)[:1]:
                if tensor.is_floating_point() and tensor.numel():
                    part = tensor.detach()
                    part = part[: self._limit] if part.dim() else part
                    wide = torch.promote_types(part.dtype, torch.float32)
                    norm = torch.linalg.vector_norm(part, dtype=wide).float()
                    self._seen[name] = (norm, torch.count_nonzero(part), part.numel())

        return look


def _complement(shares: Matrix) -> Matrix:
    rows = (tuple(None if v is None else 1 - v for v in row) for row in shares.values)
    return replace(shares, values=tuple(rows))
