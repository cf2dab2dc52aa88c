"""The norms of tensors, many at once. Nothing is kept, nothing is judged."""

from __future__ import annotations

import torch
from torch import Tensor

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
