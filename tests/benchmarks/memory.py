"""What probes add to the peak memory of a training of about 100 million parameters (400 MB).

    python tests/benchmarks/memory.py [--rounds 3] [--steps 6]

Each run is a process of its own, bare and watched by all probes in turns; told is the peak of its
resident memory (``ru_maxrss``) above what it held before the model was built.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from statistics import median

MEGABYTE = 1 << 20


def child(mode: str, steps: int) -> None:
    """Train, and print the bytes at the peak and those of the weights."""
    import torch
    from probes import Course, wanted_probes
    from workloads import Workload, mlp, wide_mlp

    torch.set_num_threads(1)
    probes = wanted_probes("all") if mode == "watched" else []
    _train(Course(Workload("warm-up", mlp, steps, 1.0), probes, None))
    before = _peak()
    course = Course(Workload("wide MLP", wide_mlp, steps, 1.0), probes, None)
    weights = sum(p.numel() * p.element_size() for p in course.rig.parameters.values())
    _train(course)
    print(_peak() - before, weights)


def _train(course: object) -> None:
    for step in range(course.limits.steps):  # type: ignore[attr-defined]
        course.one(step)  # type: ignore[attr-defined]
    course.finish()  # type: ignore[attr-defined]


def _peak() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--child", choices=("bare", "watched"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.steps)
        return
    peaks: dict[str, list[int]] = {"bare": [], "watched": []}
    weights = 0
    for _ in range(options.rounds):
        for mode, found in peaks.items():
            command = [sys.executable, __file__, "--child", mode, "--steps", str(options.steps)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            peak, weights = map(int, output.split())
            found.append(peak)
    bare, watched = (median(found) for found in peaks.values())
    print("| weights | peak, bare | peak, watched | added | share of the weights |")
    print("|---|---|---|---|---|")
    sizes = " | ".join(f"{n / MEGABYTE:.0f} MB" for n in (weights, bare, watched, watched - bare))
    print(f"| {sizes} | {(watched - bare) / weights:.1%} |")


if __name__ == "__main__":
    main()
