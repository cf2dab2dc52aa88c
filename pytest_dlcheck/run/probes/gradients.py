"""The gradient norm of every parameter, on sampled steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from pytest_dlcheck.run.probe import Probe, TableBuffer
from pytest_dlcheck.run.sampling import EVERY, GRADIENTS, Due
from pytest_dlcheck.run.scene import Scene
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


_foreach_norm = torch._foreach_norm  # noqa: SLF001  torch's optimizers and clipping stand on it


def norms(tensors: list[Tensor]) -> list[Tensor]:
    """The L2 norm of each tensor, as float32 of shape ``[]``, sparse and complex ones included."""
    plain = [t if t.dtype is torch.float32 and not t.is_sparse else _plain(t) for t in tensors]
    plain = [t.detach() if t.requires_grad else t for t in plain]
    devices = {tensor.device for tensor in plain}
    if len(devices) == 1:
        return list(_foreach_norm(plain, 2, dtype=torch.float32))
    found: list[Tensor] = [torch.empty(())] * len(plain)
    for device in devices:
        here = [i for i, tensor in enumerate(plain) if tensor.device == device]
        group = [plain[i] for i in here]
        for i, norm in zip(here, _foreach_norm(group, 2, dtype=torch.float32), strict=True):
            found[i] = norm
    return found


def _plain(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    if tensor.is_sparse:
        tensor = tensor.coalesce().values()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    return tensor.float() if tensor.dtype == torch.float64 else tensor
