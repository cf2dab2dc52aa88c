"""A copy of a model that may be called unnoticed. Models that know too much get none."""

from __future__ import annotations

import argparse
import copy
import enum
from dataclasses import fields, is_dataclass
from types import BuiltinFunctionType, FunctionType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.watch.compiling import is_beyond_hearing
from pytest_dlcheck.run.watch.tried.effects import has_effects

_ATOMS = (
    *(type(None), bool, int, float, complex, str, bytes, range, slice, type(Ellipsis), type, enum.Enum),
    *(torch.dtype, torch.device, torch.Size, FunctionType, BuiltinFunctionType),
)
_NESTS = (tuple, list, set, frozenset, dict)
_OWN = frozenset(nn.Module().__dict__)
"""What every module has."""
_HOOKS = (
    *("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"),
    *("_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks"),
)
DEPTH = 4
"""Nests within nests of a module's own attributes that are looked into."""


def may_be_tried(model: nn.Module) -> bool:
    """Whether a copy shares nothing that a call may change.

    So it is where modules have no hooks, and hold tensors, numbers, words and settings, but no trainers,
    data sets or other things of a life of their own, and where nothing that they do goes further.
    """
    return not is_beyond_hearing() and all(map(_is_plain, model.modules())) and not has_effects(model)


def standing_copy(model: nn.Module) -> nn.Module | None:
    """A copy of a model that `may_be_tried`; None where it cannot be copied."""
    try:
        return copy.deepcopy(model)
    except Exception:  # noqa: BLE001  modules may be copied in ways of their own, or not at all
        return None


def _is_plain(module: nn.Module) -> bool:
    own = module.__dict__
    if "forward" in own or own.get("_compiled_call_impl") is not None:
        return False
    if isinstance(module, torch.jit.ScriptModule) or any(own.get(name) for name in _HOOKS):
        return False
    if type(module).__module__.startswith("torch.nn."):
        return True
    return all(_holds_nothing_odd(value, DEPTH) for name, value in own.items() if name not in _OWN)


def _holds_nothing_odd(value: Any, depth: int) -> bool:
    if isinstance(value, Tensor):
        return value.grad_fn is None
    if isinstance(value, (*_ATOMS, nn.Module)):
        return True
    if not depth:
        return False
    parts: list[Any]
    if type(value) in _NESTS:
        parts = [*value.keys(), *value.values()] if isinstance(value, dict) else list(value)
    elif is_dataclass(value):
        parts = [getattr(value, each.name) for each in fields(value)]
    elif isinstance(value, (SimpleNamespace, argparse.Namespace)):
        parts = list(vars(value).values())
    else:
        return False
    return all(_holds_nothing_odd(part, depth - 1) for part in parts)
