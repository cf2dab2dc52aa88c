"""What the installed plugin adds to a pytest run that does not use it, and what pytest-benchmark adds.

    python tests/benchmarks/startup.py [--rounds 20]

A suite of one empty test runs in fresh processes, four ways in turns: without both plugins, with each,
with both. Every other plugin is kept out, and modules are compiled beforehand. Ratios are medians over
the rounds of paired runs, with a 95 % bootstrap interval, of the clock and of the processor.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

OURS, BENCHMARK = "dlcheck", "benchmark"
WAYS = {
    "pytest alone": (),
    "+ pytest-dlcheck": (OURS,),
    "+ pytest-benchmark": (BENCHMARK,),
    "+ both": (OURS, BENCHMARK),
}


def run(folder: Path, plugins: tuple[str, ...]) -> tuple[float, float]:
    """Seconds of one pytest process: of the clock, and of the processor."""
    others = {point.name for point in entry_points(group="pytest11")} - set(plugins)
    blocked = [argument for name in sorted(others) for argument in ("-p", f"no:{name}")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *blocked, str(folder)]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(folder / "compiled")
    began = perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=folder, env=environment)
    _, status, usage = os.wait4(child.pid, 0)
    wall = perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"pytest ended with {child.returncode}: {' '.join(command)}")
    return wall, usage.ru_utime + usage.ru_stime


def interval(ratios: list[float]) -> str:
    """The median, and its 95 % bootstrap interval."""
    draw = random.Random(0)
    medians = sorted(median(draw.choices(ratios, k=len(ratios))) for _ in range(2_000))
    return f"{median(ratios):.3f} [{medians[50]:.3f}, {medians[-51]:.3f}]"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    times: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pytest.ini").write_text("[pytest]\n")
        (folder / "test_nothing.py").write_text("def test_nothing():\n    pass\n")
        for plugins in WAYS.values():
            run(folder, plugins)
        for turn in range(options.rounds):
            for k in range(len(WAYS)):
                way = list(WAYS)[(k + turn) % len(WAYS)]
                times[way].append(run(folder, WAYS[way]))
    print(f"{options.rounds} rounds\n")
    print("| `pytest` on one empty test | wall | CPU | ratio, wall | ratio, CPU |")
    print("|---|---|---|---|---|")
    for way, found in times.items():
        walls, cpus = zip(*found, strict=True)
        ratios = [
            interval([a[i] / b[i] for a, b in zip(found, times["pytest alone"], strict=True)])
            for i in (0, 1)
        ]
        print(
            f"| {way} | {1e3 * median(walls):.0f} ms | {1e3 * median(cpus):.0f} ms "
            f"| {ratios[0]} | {ratios[1]} |"
        )


if __name__ == "__main__":
    main()
