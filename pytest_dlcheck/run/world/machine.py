"""What torch knows of the machine: device, driver, threads, dtype settings. Nothing is changed."""

from __future__ import annotations

from contextlib import suppress

import torch


def facts(device: str) -> dict[str, str | int | bool]:
    """What speeds and numbers depend on, as far as torch tells it.

    Args:
        device: where models run, as torch names it.
    """
    kind = torch.device(device).type
    found: dict[str, str | int | bool] = {
        "device": kind,
        "threads": torch.get_num_threads(),
        "dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }
    if kind == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
        found["driver"] = _driver()
        found["cuda"] = torch.version.cuda or getattr(torch.version, "hip", None) or ""
        found["tf32"] = bool(torch.backends.cudnn.allow_tf32)
    return found


def _driver() -> str:
    """The driver's version; torch itself knows it by a number alone."""
    with suppress(Exception):  # a library that may be missing, or of another driver
        import pynvml

        pynvml.nvmlInit()
        try:
            version = pynvml.nvmlSystemGetDriverVersion()
        finally:
            pynvml.nvmlShutdown()
        return version.decode() if isinstance(version, bytes) else str(version)
    number = torch._C._cuda_getDriverVersion()  # type: ignore[attr-defined]  # noqa: SLF001
    return str(number)
