"""Clocks for a device: the host's on the CPU, events on CUDA; one synchronisation per measurement."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import torch

from pytest_dlcheck.run.bench.timing import Clock, Step


def clock_of(device: torch.device) -> Clock:
    """The clock that tells how long work on a device takes."""
    if device.type == "cuda":
        return _CudaClock(device)
    return host_clock if device.type == "cpu" else waiting_clock


def caller_clock_of(device: torch.device) -> Clock:
    """The clock that tells how long a caller waits for the result, its launch included."""
    return host_clock if device.type == "cpu" else waiting_clock


def host_clock(step: Step, count: int) -> float:
    """For steps that are done when they return."""
    began = perf_counter()
    for _ in range(count):
        step()
    return perf_counter() - began


def waiting_clock(step: Step, count: int) -> float:
    """For steps that are only queued when they return."""
    torch.accelerator.synchronize()
    began = perf_counter()
    for _ in range(count):
        step()
    torch.accelerator.synchronize()
    return perf_counter() - began


class _CudaClock:
    """The device's own time between two events around the steps."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.current_stream(device)

    def __call__(self, step: Step, count: int) -> float:
        event: Any = torch.cuda.Event
        begin, end = event(enable_timing=True), event(enable_timing=True)
        begin.record(self._stream)
        for _ in range(count):
            step()
        end.record(self._stream)
        end.synchronize()
        return float(begin.elapsed_time(end)) / 1000
