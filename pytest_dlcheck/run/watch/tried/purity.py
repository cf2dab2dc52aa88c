"""Which packages, functions and values are known to change nothing, and to stay what they are."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import torch

_PURE = """
torch numpy einops math cmath typing collections contextlib dataclasses enum itertools operator
_operator abc _abc types functools _functools builtins __future__ pytest_dlcheck
"""
PURE = frozenset(_PURE.split())
"""Packages whose functions change nothing outside, but for"""
_IMPURE = """
print open input exec eval compile setattr delattr vars globals locals breakpoint exit quit __import__
random save load seed manual_seed hub ops library distributed multiprocessing savetxt tofile memmap
from_file set_default_dtype set_default_device set_default_tensor_type set_num_threads
set_num_interop_threads set_printoptions set_deterministic_debug_mode use_deterministic_algorithms
set_float32_matmul_precision set_warn_always seterr attrgetter methodcaller
"""
IMPURE = frozenset(_IMPURE.split())
"""these, which print, read, keep or set something."""
_INNER = "__setattr__ __delattr__ __dict__ __globals__ __closure__ __code__ __builtins__"
INNER = frozenset(_INNER.split())
"""Attributes by which anything can be changed."""
_READ_ANYWAY = frozenset({"functools"})
"""Of their functions the closures tell what they do."""
_STILL = (type(None), bool, int, float, complex, str, bytes, range, type(Ellipsis), torch.Size)
_STILL_OF_TORCH = (torch.dtype, torch.device, torch.layout, torch.memory_format)


def is_still(value: Any) -> bool:
    """Whether it can never become another."""
    if type(value) in {tuple, frozenset}:
        return all(map(is_still, value))
    return type(value) in _STILL or isinstance(value, _STILL_OF_TORCH)


def package_of(thing: Any) -> str:
    """The package that a module, class or function says that it is of."""
    name = thing.__name__ if isinstance(thing, ModuleType) else getattr(thing, "__module__", "")
    return str(name).partition(".")[0]


def is_of_pure_code(function: FunctionType) -> bool:
    """Whether its code is of such a package, whatever its name says."""
    return _is_of_pure_file(function.__code__.co_filename)


@cache
def _is_of_pure_file(name: str) -> bool:
    """Whether it lies in one of those packages: one whose functions are met is loaded."""
    loaded = (sys.modules.get(package) for package in PURE - _READ_ANYWAY)
    files = [file for package in loaded if (file := getattr(package, "__file__", None))]
    return name.startswith(
        tuple(str(Path(f).parent) + "/" if Path(f).stem == "__init__" else f for f in files)
    )
