"""What else the machine did while the time was taken: other processes, a busy or throttled GPU."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from time import perf_counter, sleep
from typing import Any

import torch

from pytest_dlcheck.trace import Row

_LOOKS, _PAUSE = 5, 0.2
"""How often, and seconds apart, a GPU is asked whether it is busy before we use it: its driver averages
over up to a second."""
_THROTTLED = {
    0x08: "hardware slowdown",
    0x20: "too hot (software)",
    0x40: "too hot (hardware)",
    0x80: "power brake",
}
"""NVML's reasons for clocks below what the load asks for; a power cap is normal under load."""


class Surroundings:
    """Watches the machine; made before the device is used.

    Args:
        device: that is timed.
        partner: the process that takes turns with this one, which is no stranger; None for none.
    """

    def __init__(self, device: torch.device, partner: int | None = None) -> None:
        self._partner = partner
        self._gpu = _Gpu(device) if device.type == "cuda" else None
        self._gpu_busy = None if self._gpu is None else self._gpu.busy()
        self._throttled: set[str] = set()
        self.begin()

    def begin(self) -> None:
        """Count from now on."""
        self._began = perf_counter()
        self._busy, self._own = _busy_seconds(), self._known_seconds()
        self._compiled = compilations()

    def look(self) -> None:
        """Look at what can be seen only while work is going on."""
        if self._gpu is not None:
            self._throttled |= self._gpu.throttled()

    def row(self) -> Row:
        """What was seen since.

        Returns:
            ``processors`` of this machine that could be used, ``elsewhere`` (how many of them other
            processes kept busy, None where that is not told), ``gpu_busy`` (its share of time before
            we used it, None where that is not told), ``throttled`` (why its clocks were lowered) and
            ``compilations`` (graphs that torch.compile made meanwhile).
        """
        passed = max(perf_counter() - self._began, 1e-9)
        busy, own = _busy_seconds(), self._known_seconds()
        elsewhere = None
        if busy is not None and self._busy is not None and own is not None and self._own is not None:
            elsewhere = max(0.0, (busy - self._busy) - (own - self._own)) / passed
        return Row(
            processors=os.cpu_count() or 1,
            elsewhere=elsewhere,
            gpu_busy=self._gpu_busy,
            throttled=", ".join(sorted(self._throttled)),
            compilations=compilations() - self._compiled,
        )

    def _known_seconds(self) -> float | None:
        """Processor seconds that are none of strangers."""
        own = _seconds_of(None)
        partner = 0.0 if self._partner is None else _seconds_of(self._partner)
        return None if own is None or partner is None else own + partner


def compilations() -> int:
    """How many graphs torch.compile has made in this process."""
    dynamo: Any = sys.modules.get("torch._dynamo.utils")
    counters = {} if dynamo is None else dynamo.counters
    return int(counters.get("stats", {}).get("unique_graphs", 0))


def _busy_seconds() -> float | None:
    """Processor seconds that all processes of the machine have used."""
    with suppress(Exception):
        times = import_module("psutil").cpu_times()._asdict()
        idle = ("idle", "iowait", "steal", "guest", "guest_nice")  # guests are counted as users too
        return float(sum(value for name, value in times.items() if name not in idle))
    return None


def _seconds_of(pid: int | None) -> float | None:
    """Processor seconds of a process (None: this one) and of those that it started."""
    with suppress(Exception):
        own = import_module("psutil").Process(pid)
        used = own.cpu_times()
        alive = [child.cpu_times() for child in own.children(recursive=True)]
        told = used.user + used.system + used.children_user + used.children_system
        return float(told + sum(times.user + times.system for times in alive))
    return None


class _Gpu:
    """One NVIDIA GPU as its driver tells of it, where ``nvidia-ml-py`` is installed."""

    def __init__(self, device: torch.device) -> None:
        self._nvml: Any = None
        with suppress(Exception):
            nvml: Any = import_module("pynvml")
            nvml.nvmlInit()
            uuid = torch.cuda.get_device_properties(device).uuid
            self._handle = nvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
            self._nvml = nvml

    def busy(self) -> float | None:
        """The share of time in which it works though we do not (ratio); None where it is not told."""
        torch.cuda.synchronize()
        shares = []
        for _ in range(_LOOKS):
            sleep(_PAUSE)
            rates = self._ask(lambda nvml: nvml.nvmlDeviceGetUtilizationRates(self._handle))
            if rates is None:
                return None
            shares.append(rates.gpu / 100)
        return float(min(shares[-_LOOKS // 2 :]))

    def throttled(self) -> set[str]:
        """Why its clocks are lowered."""
        mask = self._ask(lambda nvml: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(self._handle))
        return {words for bit, words in _THROTTLED.items() if mask and mask & bit}

    def _ask(self, question: Callable[[Any], Any]) -> Any:
        if self._nvml is None:
            return None
        with suppress(Exception):
            return question(self._nvml)
        return None
