"""Which of a model's modules behave differently in train and eval mode, and in which they are."""

from __future__ import annotations

import weakref
from collections.abc import MutableMapping

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.weak import WeakIdKeyDictionary

from pytest_dlcheck.run.modules.direct import direct


def sensitive(root: nn.Module) -> list[nn.Module]:
    """The modules whose behaviour depends on their mode, frozen normalisation left out."""
    return [module for module in root.modules() if _is_sensitive(module)]


class Drifts:
    """Whether modules run in train mode although their mode makes a difference.

    Not those of a model that is itself in eval mode: they were put back on purpose (MC dropout). Nothing
    of a model is kept alive here.
    """

    def __init__(self) -> None:
        self._known: MutableMapping[nn.Module, list[weakref.ref[nn.Module]]] = WeakIdKeyDictionary()

    def of(self, module: nn.Module) -> bool:
        """Whether this one does."""
        known = self._known.get(module)
        if known is None:
            known = self._known[module] = [weakref.ref(part) for part in sensitive(module)]
        living = (reference() for reference in known)
        return module.training and any(part is not None and part.training for part in living)


def _is_sensitive(module: nn.Module) -> bool:
    if isinstance(module, _DropoutNd):
        return bool(module.p > 0)
    if isinstance(module, _NormBase) and not isinstance(module, nn.modules.instancenorm._InstanceNorm):  # noqa: SLF001
        return bool(module.track_running_stats) and not _is_frozen(module)
    if isinstance(module, nn.RNNBase):
        return bool(module.dropout) and module.num_layers > 1
    if isinstance(module, nn.MultiheadAttention):
        return bool(module.dropout)
    return False


def _is_frozen(module: nn.Module) -> bool:
    own = direct(module)
    return bool(own) and not any(p.requires_grad for p in own)
