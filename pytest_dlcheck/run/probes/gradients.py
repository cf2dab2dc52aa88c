"""The gradient norm of every parameter, on sampled steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from pytest_dlcheck.run.probe import Probe, TableBuffer
from pytest_dlcheck.run.sampling import EVERY, GRADIENTS, Due
from pytest_dlcheck.run.scene import Scene
from pytest_dlcheck.run.tensors.norms import norms
from pytest_dlcheck.trace import Matrix, Row
from pytest_dlcheck.trial import Trial


class GradientProbe(Probe[Scene]):
    """Fills ``gradient_norm``: L2, unscaled, before clipping; None where there is no gradient.

    And the fact ``dropouts``: what thins gradients out on purpose, a row per module and its share.
    """

    channels = frozenset({"gradient_norm", "dropouts"})

    def begin(self, scene: Scene, trial: Trial) -> None:
        """Find the parameters, per optimizer and over all."""
        self._is_due = Due(EVERY if trial.dense else GRADIENTS)
        self._all = list(scene.parameters.items())
        self._dropouts = tuple(_dropouts(scene.model))
        names = {id(p): name for name, p in self._all}
        self._of = {
            id(optimizer): [
                (names[id(p)], p)
                for group in optimizer.param_groups
                for p in group["params"]
                if id(p) in names
            ]
            for optimizer in scene.optimizers
        }
        self._buffer = TableBuffer([name for name, _ in self._all])

    def gradients(self, step: int, optimizer: torch.optim.Optimizer | None) -> None:
        """Norm all gradients at once."""
        if not self._is_due(step):
            return
        wanted = self._all if optimizer is None else self._of.get(id(optimizer), [])
        present = {name: grad for name, p in wanted if (grad := p.grad) is not None}
        self._buffer.append(step, list(present), norms(list(present.values())))

    def flush(self) -> None:
        """Read back."""
        self._buffer.flush()

    def filled(self) -> Mapping[str, Matrix | tuple[Row, ...]]:
        """The norms, and the dropouts."""
        return {"gradient_norm": self._buffer.matrix(), "dropouts": self._dropouts}


def _dropouts(model: nn.Module) -> Iterator[Row]:
    for name, module in model.named_modules():
        holds = isinstance(module, (nn.RNNBase, nn.MultiheadAttention))
        share = getattr(module, "dropout" if holds else "p", None)
        if (holds or isinstance(module, _DropoutNd)) and isinstance(share, (int, float)) and share > 0:
            yield Row(name=name or "model", type=type(module).__name__, p=float(share))
