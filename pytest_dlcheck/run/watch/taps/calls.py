"""Hears module calls: all of them in short windows, later those of the modules called from outside.

By torch's global hooks, and by hooks on the modules found. A hook must not keep its module from being
copied or pickled: its copies are itself, and it pickles as a function that does nothing.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping, MutableMapping
from contextlib import nullcontext
from typing import Any, Protocol

import torch
from torch import nn
from torch.compiler import is_dynamo_compiling
from torch.jit import ScriptModule
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils.hooks import RemovableHandle
from torch.utils.weak import WeakIdKeyDictionary

from pytest_dlcheck.run.modules.arguments import in_order
from pytest_dlcheck.run.watch.compiling import is_beyond_hearing
from pytest_dlcheck.run.watch.guard import Guard
from pytest_dlcheck.run.watch.listener import Listener


class Visited(Protocol):
    """Told of every module while all are heard."""

    def enters(self, module: nn.Module, arguments: tuple[Any, ...], *, outermost: bool) -> None:
        """It is called, from outside of any module or within one."""

    def leaves(
        self, module: nn.Module, arguments: tuple[Any, ...], named: Mapping[str, Any], output: object
    ) -> None:
        """It has returned what it makes of arguments, some given by their names; not where it raised."""


_named: dict[int, bool] = getattr(torch.nn.modules.module, "_global_forward_hooks_with_kwargs", {})
"""Global hooks that torch tells what is given by name; it keeps their ids when they are removed."""


class _Depth(threading.local):
    depth = 0


class Calls:
    """Tells of calls that come from outside of any module.

    Args:
        listener: told before each such call, and of those of modules that are followed aside.
        visited: told of every module that is called while all are heard.
        guard: stands before what modules call.
    """

    def __init__(self, listener: Listener, visited: Visited, guard: Guard) -> None:
        self._listener, self._visited, self._guard = listener, visited, guard
        self._everywhere: list[RemovableHandle] = []
        self._followed: MutableMapping[nn.Module, RemovableHandle] = WeakIdKeyDictionary()
        self._aside: MutableMapping[nn.Module, RemovableHandle] = WeakIdKeyDictionary()
        self._local = _Depth()

    @property
    def are_all_heard(self) -> bool:
        """Whether the calls of all modules are heard now."""
        return bool(self._everywhere)

    def listen_everywhere(self) -> None:
        """Hear the calls of all modules."""
        if not self._everywhere:
            self._everywhere = [
                register_module_forward_pre_hook(self._guard(self._enters)),
                register_module_forward_hook(
                    self._guard(self._leaves), with_kwargs=True, always_call=True
                ),
            ]

    def listen_to_the_followed(self) -> None:
        """Hear the calls of the followed modules only."""
        for handle in self._everywhere:
            handle.remove()
            _named.pop(handle.id, None)
        self._everywhere = []
        self.forget_open_calls()

    def follow(self, module: nn.Module) -> None:
        """Hear this module's calls from now on."""
        if isinstance(module, ScriptModule):
            return  # takes no hooks
        if module not in self._followed:
            ear = _Ear(module, self._listener)
            self._followed[module] = module.register_forward_pre_hook(ear, with_kwargs=True)

    def follow_aside(self, module: nn.Module) -> None:
        """Hear this module's calls from now on, from inside of others too, unless it is followed."""
        if not isinstance(module, ScriptModule) and module not in self._aside:
            ear = _EarAside(module, self._listener, self)
            self._aside[module] = module.register_forward_pre_hook(ear, with_kwargs=True)

    def forget_aside(self, module: nn.Module) -> None:
        """Hear it no more aside."""
        handle = self._aside.pop(module, None)
        if handle is not None:
            handle.remove()

    def forget_open_calls(self) -> None:
        """Calls that raised, or were left by a generator, are over."""
        self._local.depth = 0

    def close(self) -> None:
        """Take every hook off."""
        self.listen_to_the_followed()
        for handle in (*self._followed.values(), *self._aside.values()):
            handle.remove()
        self._followed.clear()
        self._aside.clear()

    def are_heard_otherwise(self, module: nn.Module) -> bool:
        """Whether a module's calls are told of, be it followed aside or not."""
        return bool(self._everywhere) or module in self._followed

    def _enters(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if is_beyond_hearing():
            return
        depth = self._local.depth
        self._local.depth = depth + 1
        is_odd = getattr(module, "_is_replica", False) or isinstance(module, ScriptModule)
        if depth == 0 and not is_odd and module not in self._followed:
            self._listener.called(module, args)
        self._visited.enters(module, args, outermost=depth == 0)

    def _leaves(self, module: nn.Module, args: tuple[Any, ...], *rest: Any) -> None:
        """A module returns; where it raises, torch leaves out what is given by name."""
        if not is_beyond_hearing():
            self._local.depth = max(0, self._local.depth - 1)
            self._visited.leaves(module, args, rest[0] if len(rest) > 1 else {}, rest[-1])


class _Ear:
    """A forward pre-hook that its module may be copied, pickled and saved with; copies are not heard."""

    def __init__(self, module: nn.Module, listener: Listener) -> None:
        self._module, self._listener = weakref.ref(module), listener

    def __call__(self, module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        if is_dynamo_compiling() or is_beyond_hearing():
            return
        quick = self._listener.quick
        if quick is not None and quick.is_plain and quick.is_idle_of(module):
            return
        if self._module() is module:
            self._listener.called(module, in_order(module, args, named))

    def __deepcopy__(self, memo: object) -> _Ear:
        return self

    def __copy__(self) -> _Ear:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (nullcontext(), "__exit__")  # takes three, gives None: needs nothing of ours


class _EarAside(_Ear):
    """The same of a module that is followed aside."""

    def __init__(self, module: nn.Module, listener: Listener, calls: Calls) -> None:
        super().__init__(module, listener)
        self._calls = calls

    def __call__(self, module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        if is_beyond_hearing() or self._module() is not module:
            return
        if not self._calls.are_heard_otherwise(module):
            self._listener.called_aside(module, in_order(module, args, named))
