"""A trial's own world: seeded random numbers, and everything global put back afterwards."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from pytest_dlcheck.run.world import numpy_draws


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed python, numpy and torch; on leaving, put back all global state that training may touch.

    Put back are the random states of python, numpy (where loaded), torch and its accelerator, the
    default dtype and device, the grad mode, the deterministic and TF32 flags, and torch's threads.
    """
    undo = _global_state()
    try:
        seed_everything(seed)
        with torch.enable_grad():
            yield
    finally:
        for restore, value in undo:
            restore(value)


def seed_everything(seed: int) -> None:
    """Seed python, numpy (where loaded) and torch on every device."""
    _seed_python(seed)
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


def reseed(seed: int) -> None:
    """Seed anew, hundreds of times in a trial: an accelerator that was never woken is left asleep.

    For it, ``torch.manual_seed`` keeps a whole stack trace at every call, which takes milliseconds.
    """
    _seed_python(seed)
    if _accelerator_awake():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


def _seed_python(seed: int) -> None:
    random.seed(seed)
    numpy_draws.seed(seed)


def _accelerator_awake() -> bool:
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return True
    if not torch.accelerator.is_available():
        return False
    accelerator = torch.accelerator.current_accelerator()
    return accelerator is not None and accelerator.type != "cuda"


@contextmanager
def same_draws(seed: int) -> Iterator[None]:
    """Random numbers as after seeding, and the stream outside continued as if nothing was drawn."""
    undo = _random_state()
    with numpy_draws.aside():
        try:
            reseed(seed)
            yield
        finally:
            for restore, value in undo:
                restore(value)


def random_states() -> list[Any]:
    """Where the generators of python, numpy (where loaded) and torch stand, to see whether any drew."""
    return [*(_comparable(value) for _, value in _random_state()), numpy_draws.standing()]


def _comparable(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.numpy().tobytes()
    return [_comparable(part) for part in value] if isinstance(value, list) else value


def _random_state() -> list[tuple[Any, Any]]:
    """Of all generators but numpy's, what puts it back, and the state."""
    undo: list[tuple[Any, Any]] = [
        (random.setstate, random.getstate()),
        (torch.set_rng_state, torch.get_rng_state()),
    ]
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        undo.append((torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))
    if torch.backends.mps.is_available():
        undo.append((torch.mps.set_rng_state, torch.mps.get_rng_state()))
    return undo


def _global_state() -> list[tuple[Any, Any]]:
    numpy = sys.modules.get("numpy")
    return [
        *_random_state(),
        *([(numpy.random.set_state, numpy.random.get_state(legacy=False))] if numpy is not None else ()),
        (torch.set_default_dtype, torch.get_default_dtype()),
        (_set_default_device, _default_device()),
        (torch.set_grad_enabled, torch.is_grad_enabled()),
        (_set_deterministic, (_deterministic(), _warns_only())),
        (_set_flag("deterministic"), torch.backends.cudnn.deterministic),
        (_set_flag("benchmark"), torch.backends.cudnn.benchmark),
        (_set_flag("enabled"), torch.backends.cudnn.enabled),
        (_set_matmul_precision, _matmul_precision()),
        (torch.set_num_threads, torch.get_num_threads()),
        (torch.autograd.set_detect_anomaly, torch.is_anomaly_enabled()),
    ]


def _default_device() -> torch.device:
    """Where tensors are made; ``torch.get_default_device`` may fail on torch 2.6, as below."""
    return torch.empty(0).device


def _set_default_device(wanted: torch.device) -> None:
    if wanted == _default_device():
        return
    torch.set_default_device(None if wanted.type == "cpu" else wanted)
    try:
        torch.get_default_device()
    except AttributeError:  # torch 2.6, once it is set back: libraries ask for it
        del torch._GLOBAL_DEVICE_CONTEXT.device_context  # noqa: SLF001


def _matmul_precision() -> tuple[str, str]:
    """The precision of matrix products, by torch's older and by its newer switch; empty if unread.

    The older one cannot be read any more where the user has used the newer one.
    """
    try:
        older = torch.get_float32_matmul_precision()
    except RuntimeError:
        older = ""
    return older, getattr(torch.backends.cuda.matmul, "fp32_precision", "")


def _set_matmul_precision(wanted: tuple[str, str]) -> None:
    older, newer = wanted
    if older and wanted != _matmul_precision():
        torch.set_float32_matmul_precision(older)
    elif newer and wanted != _matmul_precision():
        torch.backends.cuda.matmul.fp32_precision = newer


def _deterministic() -> bool:
    return torch.are_deterministic_algorithms_enabled()


def _warns_only() -> bool:
    return torch.is_deterministic_algorithms_warn_only_enabled()


def _set_deterministic(state: tuple[bool, bool]) -> None:
    mode, warn_only = state
    if state != (_deterministic(), _warns_only()):  # setting it imports torch's compiler
        torch.use_deterministic_algorithms(mode, warn_only=warn_only)


def _set_flag(name: str) -> Any:
    return lambda value: setattr(torch.backends.cudnn, name, value)
