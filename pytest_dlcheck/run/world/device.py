"""Which device a trial runs on, and its share of the machine. One question, one answer."""

from __future__ import annotations

import os

import torch

from pytest_dlcheck.recipe import RecipeError


def resolve(name: str) -> str:
    """The device that a policy's name stands for, as torch names it.

    Args:
        name: ``auto`` (the accelerator where there is one, else the CPU) or a device's name.

    Raises:
        RecipeError: there is no such device here; says which ones there are.
    """
    accelerator = _accelerator()
    if name == "auto":
        return accelerator.type if accelerator else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise RecipeError(f"device {name!r} is no device that torch knows; {_available()}") from None
    if device.type in {"cpu", "meta"}:
        return name
    count = torch.accelerator.device_count() if accelerator else 0
    if accelerator is None or device.type != accelerator.type or (device.index or 0) >= count:
        raise RecipeError(f"device {name!r} is not there; {_available()}")
    return name


def count_gpus() -> int:
    """How many CUDA (or ROCm) devices are there; where NVML tells, CUDA is not woken for it."""
    return torch.cuda.device_count()


def share_threads(workers: int) -> None:
    """Give torch its share of the processors, where ``OMP_NUM_THREADS`` does not say otherwise."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() // workers))


def peak_memory(device: torch.device) -> int | None:
    """The most bytes that torch's allocator held on the device since the reset; None on the CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return None


def reset_peak_memory(device: torch.device) -> None:
    """Begin to count the peak anew."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _accelerator() -> torch.device | None:
    if not torch.accelerator.is_available():
        return None
    return torch.accelerator.current_accelerator()


def _available() -> str:
    accelerator = _accelerator()
    if accelerator is None:
        return "available here: cpu"
    names = [f"{accelerator.type}:{i}" for i in range(torch.accelerator.device_count())]
    return f"available here: {', '.join(['cpu', *names])}"
