"""Whether calls of a copy of a model may change anything outside it, as its code and what it names tell.

What is not certain counts as an effect.
"""

from __future__ import annotations

import builtins
import enum
import sys
from collections.abc import Set as AbstractSet
from dataclasses import is_dataclass
from functools import cached_property
from types import (
    BuiltinFunctionType,
    FunctionType,
    MemberDescriptorType,
    MethodDescriptorType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as of_modules

from pytest_dlcheck.run.code.bytecode import (
    globals_of,
    imports_of,
    names_of,
    writes_outside,
)
from pytest_dlcheck.run.watch.tried.holdings import Holdings
from pytest_dlcheck.run.watch.tried.purity import (
    IMPURE,
    INNER,
    PURE,
    is_of_pure_code,
    is_still,
    package_of,
)

_COPIES = ("__deepcopy__", "__copy__", "__reduce__", "__reduce_ex__", "__getstate__", "__setstate__")
_HOOKS_OF_ALL = ("_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks")
_OF_TYPES = (MethodDescriptorType, WrapperDescriptorType, MemberDescriptorType)
_MADE = ("__init__", "__new__", "__post_init__")


class _Found(Exception):  # noqa: N818  no error: something was found
    """An effect, or something that may have one."""


def has_effects(model: nn.Module) -> bool:
    """Whether calls of a copy, or copying, may do more than to give a result."""
    try:
        _Reach().of(model)
    except _Found:
        return True
    return False


class _Reach:
    """All that calls of a model may come upon."""

    def __init__(self) -> None:
        self._names: set[str] = _called_of_modules()
        self._classes: dict[type, bool] = {}
        self._read: dict[Any, object] = {}
        self._makes_more = False

    def of(self, model: nn.Module) -> None:
        """Raises where something is found."""
        for name in _HOOKS_OF_ALL:
            for hook in getattr(of_modules, name).values():
                _refuse(package_of(hook) != "pytest_dlcheck")
        holdings = Holdings(model)
        _refuse(holdings.is_odd)
        self._classes.update(dict.fromkeys(holdings.classes, False))
        for value in holdings.shared:
            self._names_it(value, frozenset())
        known: tuple[int, ...] = ()
        while known != (known := self._extent()):
            for kind in self._classes:
                _refuse(package_of(type(kind)) not in PURE)
            made = {(base, is_made) for kind, is_made in self._classes.items() for base in kind.__mro__}
            for base, is_made in made:
                self._methods(base, is_made=is_made)

    def _extent(self) -> tuple[int, ...]:
        """All that a look at the classes depends on, as it only ever grows."""
        made = sum(self._classes.values())
        return len(self._names), len(self._classes), made, self._makes_more

    def _methods(self, base: type, *, is_made: bool) -> None:
        if package_of(base) in PURE and not issubclass(base, nn.Module):
            return
        _refuse(package_of(base) in sys.stdlib_module_names - PURE)
        for name, value in list(vars(base).items()):
            is_called = name in self._names or "getattr" in self._names
            is_called = (is_called or name.startswith("__")) and name not in _MADE
            if is_called or (name in _MADE and (is_made or self._makes_more)):
                self._member(base, name, value)

    def _member(self, base: type, name: str, value: Any) -> None:
        is_method = not issubclass(base, enum.Enum)
        if isinstance(value, (staticmethod, classmethod)):
            is_method = isinstance(value, staticmethod) and issubclass(base, torch.autograd.Function)
            value = value.__func__
        value = value.func if isinstance(value, cached_property) else value
        if isinstance(value, property):
            for part in filter(None, (value.fget, value.fset, value.fdel)):
                self._member(base, name, part)
        elif isinstance(value, FunctionType):
            is_written = value.__code__.co_filename != "<string>" or not is_dataclass(base)
            if is_written or not name.startswith("__"):
                _refuse(name in _COPIES and not is_of_pure_code(value))
                self._function(value, is_method=is_method)
        elif name in self._names and package_of(base) not in PURE and not name.startswith("__"):
            self._names_it(value, frozenset())
        else:
            _refuse(callable(value) and package_of(type(value)) not in PURE)

    def _function(self, function: FunctionType, *, is_method: bool) -> None:
        if (id(function), is_method) in self._read:
            return
        self._read[id(function), is_method] = function
        is_ours = is_of_pure_code(function)
        names = frozenset() if is_ours else names_of(function)
        for cell in function.__closure__ or ():
            value = cell.cell_contents
            if isinstance(value, FunctionType):
                self._function(value, is_method=is_method)
            elif not is_ours:
                self._names_it(value, names, is_made=False)
        if is_ours:
            return
        _refuse(bool(names & INNER) or writes_outside(function, may_write_to_first=is_method))
        self._names |= names
        self._makes_more |= bool(names & {"type", "__class__"})
        kept = (
            function.__defaults__ or (),
            (function.__kwdefaults__ or {}).values(),
            vars(function).values(),
        )
        for value in (value for values in kept for value in values):
            self._names_it(value, names)
        for name in globals_of(function):
            if name in function.__globals__:
                self._names_it(function.__globals__[name], names)
            else:
                _refuse(name in IMPURE or name not in vars(builtins))
        for name in imports_of(function):
            self._names_it(sys.modules[name], names)

    def _names_it(self, value: Any, names: AbstractSet[str], *, is_made: bool = True) -> None:
        """What a name among globals, in a closure or of a class stands for."""
        if isinstance(value, FunctionType):
            _refuse(value.__name__ in IMPURE and is_of_pure_code(value))
            self._function(value, is_method=False)
        elif isinstance(value, ModuleType):
            self._module(value, names)
        elif isinstance(value, type):
            self._classes[value] = is_made or self._classes.get(value, False)
        elif isinstance(value, BuiltinFunctionType):
            owner = value.__self__
            _refuse(value.__name__ in IMPURE or not isinstance(owner, (type, ModuleType, type(None))))
            _refuse(owner is not None and package_of(owner) not in PURE)
        elif isinstance(value, enum.Enum):
            self._classes.setdefault(type(value), False)
        else:
            _refuse(not (is_still(value) or isinstance(value, _OF_TYPES)))

    def _module(self, module: ModuleType, names: AbstractSet[str]) -> None:
        if (id(module), names) in self._read:
            return
        self._read[id(module), names] = module
        is_pure, found = package_of(module) in PURE, names & vars(module).keys()
        _refuse(not is_pure and package_of(module) in sys.stdlib_module_names)
        _refuse(is_pure and bool(found & IMPURE))
        for value in map(vars(module).get, found):
            if not is_pure or isinstance(value, (FunctionType, ModuleType)):
                self._names_it(value, names)
            else:
                _refuse(package_of(type(value)) not in PURE)


def _called_of_modules() -> set[str]:
    """What calling, or copying, a module may call of it; not what other packages have added to it."""
    members = {name: value for name, value in vars(nn.Module).items() if name not in _MADE}
    added = {
        name
        for name, value in members.items()
        if isinstance(value, FunctionType) and not is_of_pure_code(value)
    }
    if not added:
        return set(members)
    own = (value for name, value in members.items() if name not in added)
    named = set().union(*(names_of(value) for value in own if isinstance(value, FunctionType)))
    return {name for name in members if name not in added or name in named}


def _refuse(is_so: bool) -> None:  # noqa: FBT001  a question
    if is_so:
        raise _Found
