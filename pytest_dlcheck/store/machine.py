"""The kind of machine that something was measured on: facts from a fixed list, no names of hosts."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

Fact = str | int | bool
FACTS = (
    "cpu",
    "cpus",
    "system",
    "device",
    "gpu",
    "driver",
    "cuda",
    "threads",
    "dtype",
    "matmul_precision",
    "tf32",
    "deterministic",
)
"""All that is ever told of a machine: what speeds and numbers depend on, and nothing that names it."""


@dataclass(frozen=True)
class Machine:
    """A kind of machine: measurements from one kind can be compared.

    Attributes:
        facts: name -> value, of the names in :data:`FACTS`; others are dropped.
    """

    facts: Mapping[str, Fact] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Keep what is allowed, in order."""
        kept = {name: self.facts[name] for name in FACTS if self.facts.get(name) not in {None, ""}}
        object.__setattr__(self, "facts", kept)

    @property
    def key(self) -> str:
        """The same for machines of one kind, and for no other."""
        return hashlib.sha256(self.to_json().encode("ascii")).hexdigest()[:16]

    def to_json(self) -> str:
        """The facts as JSON text."""
        return json.dumps(self.facts, sort_keys=True)

    def differs(self, other: Machine) -> str:
        """What is different here, in words: ``threads 8, not 4``."""
        pairs = ((name, self.facts.get(name, "none"), other.facts.get(name, "none")) for name in FACTS)
        return ", ".join(
            f"{name.replace('_', ' ')} {mine}, not {its}" for name, mine, its in pairs if mine != its
        )

    def __hash__(self) -> int:
        return hash(self.key)

    def __str__(self) -> str:
        facts = self.facts
        device = facts.get("gpu") or facts.get("device", "")
        words = [str(facts.get("cpu", "unknown processor")), f"{facts.get('cpus', '?')} CPUs"]
        words += [str(device)] if device else []
        threads = facts.get("threads", 0)
        words += [f"{threads} thread{'' if threads == 1 else 's'}"] if threads else []
        return ", ".join(words)


def this_machine(torch_facts: Mapping[str, Fact]) -> Machine:
    """The machine that this runs on.

    Args:
        torch_facts: what torch knows of it: device, driver, threads, dtype settings.
    """
    own: dict[str, Fact] = {"cpu": _cpu(), "cpus": _cpus(), "system": _system()}
    return Machine({**own, **torch_facts})


def _system() -> str:
    return f"{platform.system()} {platform.machine()}"


def _cpus() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    import psutil

    return psutil.cpu_count() or 1


@cache
def _cpu() -> str:
    """The processor's model; asked where it is quick first, because a full probe takes a second."""
    model = (
        _from_proc() if sys.platform == "linux" else _from_sysctl() if sys.platform == "darwin" else ""
    )
    return model or _probed()


def _from_proc() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", errors="replace")
    except OSError:
        return ""
    first, *_ = text.split("\n\n", 1)
    fields = dict(_split(row) for row in first.splitlines() if ":" in row)
    name = fields.get("model name", "")
    # Virtual machines shorten the name; the numbers tell generations apart.
    numbers = [fields.get(key, "") for key in ("cpu family", "model")]
    return f"{name} ({'/'.join(numbers)})" if name and all(numbers) else name


def _split(row: str) -> tuple[str, str]:
    key, _, value = row.partition(":")
    return key.strip(), value.strip()


def _from_sysctl() -> str:
    command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=5, check=False
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _probed() -> str:
    try:
        import cpuinfo

        return str(cpuinfo.get_cpu_info().get("brand_raw", "")) or platform.processor()
    except Exception:  # noqa: BLE001  the probe runs foreign commands; what it cannot tell stays unknown
        return platform.processor()
