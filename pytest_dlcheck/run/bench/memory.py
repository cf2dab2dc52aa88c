"""The memory that a training step takes at its peak. Bytes; each number says how it was come by."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import tensors
from pytest_dlcheck.trace import Row

ALLOCATED = "torch's CUDA allocator"
TENSORS = "torch's tensors in the main memory"
WARM = 3
"""Steps after which all that outlives a step is there."""


def resident_bytes() -> int | None:
    """What this process holds in the main memory (RSS); from now on its peak is counted anew."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", "ascii")
    with suppress(Exception):
        return int(import_module("psutil").Process().memory_info().rss)
    return None


def peak_resident_bytes() -> int | None:
    """The most that this process has held in the main memory."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text("ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    with suppress(Exception):
        peak = import_module("resource").getrusage(import_module("resource").RUSAGE_SELF).ru_maxrss
        return int(peak) if sys.platform == "darwin" else int(peak) * 1024
    return None


def growth(step: Callable[[], object], before: int | None) -> int | None:
    """By how much the process has grown at its peak, once steps are warm (bytes).

    Args:
        step: takes one step; it takes a few here.
        before: what the process held in the main memory before the recipe was built.

    Returns:
        None where it is not told.
    """
    for _ in range(WARM):
        step()
    after = peak_resident_bytes()
    return None if before is None or after is None else max(0, after - before)


def step_memory(rig: Rig, step: Callable[[], object], spare: int, grown: int | None) -> Row | None:
    """What a step takes at its peak.

    Args:
        rig: what is trained.
        step: takes one step, warm.
        spare: bytes on the device of batches that are prepared beyond the one that a step needs.
        grown: what ``growth`` told.

    Returns:
        ``bytes`` and ``source``, and ``resident`` (``grown``); None where torch does not tell what a
        step takes.
    """
    peak, source = (
        (_cuda_peak(rig.device, step) - spare, ALLOCATED)
        if rig.device.type == "cuda"
        else (_tensor_peak(rig, step), TENSORS)
    )
    if peak is None:
        return None
    return Row(bytes=peak, source=source, resident=grown)


def size_of(trees: Iterable[Any]) -> int:
    """Bytes of the memory behind all tensors of some nests; what is shared is counted once."""
    storages = {t.untyped_storage() for tree in trees for t in tensors(tree)}
    return sum({s.data_ptr(): s.nbytes() for s in storages}.values())


def _cuda_peak(device: torch.device, step: Callable[[], object]) -> int:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    for _ in range(WARM):
        step()
    torch.cuda.synchronize(device)
    return int(torch.cuda.max_memory_allocated(device))


def _tensor_peak(rig: Rig, step: Callable[[], object]) -> int | None:
    """What lives from step to step, and the most that one step allocates on top of it.

    A first profiled step makes every block known whose release the second one will report.
    """
    if rig.device.type != "cpu":
        return None
    activities = [torch.profiler.ProfilerActivity.CPU]
    held = 0

    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        step()
        held = size_of(_held(rig))
        with torch.profiler.record_function(_MARK):
            step()
    return held + _most_on_top(_events(profile))


_MARK = "dlcheck: the step whose memory is counted"


def _events(profile: Any) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="dlcheck-") as folder:
        path = os.path.join(folder, "trace.json")  # noqa: PTH118  what torch takes is text
        profile.export_chrome_trace(path)
        found: list[dict[str, Any]] = json.loads(Path(path).read_text("utf-8"))["traceEvents"]
        return found


def _most_on_top(events: list[dict[str, Any]]) -> int:
    """The highest sum of allocations and releases since the marked step began (bytes)."""
    begun = min((event["ts"] for event in events if event.get("name") == _MARK), default=None)
    if begun is None:
        return 0
    memory = [event for event in events if event.get("name") == "[memory]" and event["ts"] >= begun]
    total = most = 0
    for event in sorted(memory, key=lambda event: float(event["ts"])):
        total += int(event["args"]["Bytes"])
        most = max(most, total)
    return most


def _held(rig: Rig) -> Iterator[Tensor]:
    """Every tensor that outlives a step."""
    yield from rig.model.buffers()
    for parameter in rig.parameters.values():
        yield parameter
        if parameter.grad is not None:
            yield parameter.grad
    for optimizer in rig.optimizers:
        yield from tensors([dict(state) for state in optimizer.state.values()])
    yield from tensors(rig.current)
