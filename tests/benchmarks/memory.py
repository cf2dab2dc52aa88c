"""What we add to the peak memory of a training of about 100 million parameters (400 MB).

    python tests/benchmarks/memory.py [--rounds 3] [--steps 6] [--battery] [--optimizer sgd]

Each run is a process of its own, bare and watched by all probes in turns; told is the peak of its
resident memory (``ru_maxrss``) above what it held before the model was built. With ``--battery``, the
bare training stands against the whole default battery of the recipe, built once (``rebuild=False``).
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from dataclasses import replace
from statistics import median

MEGABYTE = 1 << 20


def child(mode: str, steps: int, optimizer: str) -> None:
    """Train, and print the bytes at the peak and those of the weights."""
    import torch
    from probes import Course, wanted_probes
    from workloads import Workload, mlp, wide_mlp

    torch.set_num_threads(1)
    if mode in {"trained", "battery"}:
        battery(whole=mode == "battery", steps=steps, optimizer=optimizer)
        return
    probes = wanted_probes("all") if mode == "watched" else []
    _train(Course(Workload("warm-up", mlp, steps, 1.0), probes, None))
    before = _peak()
    course = Course(Workload("wide MLP", wide_mlp, steps, 1.0), probes, None)
    weights = sum(p.numel() * p.element_size() for p in course.rig.parameters.values())
    _train(course)
    print(_peak() - before, weights)


def battery(*, whole: bool, steps: int, optimizer: str) -> None:
    """The bare training of a recipe, or its whole battery; prints as :func:`child` does."""
    import torch
    from workloads import mlp, wide_mlp

    from pytest_dlcheck.policy import Policy
    from pytest_dlcheck.session import Examination, Subject, default_checks

    def examine(factory: object, checks: tuple[str, ...]) -> None:
        policy = Policy(steps=steps, device="cpu")
        examination = Examination(Subject("wide_mlp", policy, checks, rebuild=False))
        for verdict in examination.conclude(factory).verdicts:  # type: ignore[arg-type]
            print(verdict.check, verdict.outcome, verdict.because, file=sys.stderr)
        for trial, trace in examination.traces.items():
            print(f"{trial}: {trace.seconds:.1f} s", file=sys.stderr)

    def built() -> object:
        recipe = wide_mlp()
        if optimizer == "adam":
            return replace(recipe, optimizer=torch.optim.Adam(recipe.model.parameters(), lr=1e-4))
        return recipe

    examine(mlp, default_checks() if whole else ("loss_decreases",))
    before = _peak()
    if whole:
        examine(built, default_checks())
    else:
        _bare(built(), steps)
    print(_peak() - before, 4 * _WEIGHTS)


_WEIGHTS = 1024 * 6144 + 2 * 6144 * 6144 + 6144 * 2816


def _bare(recipe: object, steps: int) -> None:
    for _, (inputs, targets) in zip(range(steps), recipe.train_data, strict=False):  # type: ignore[attr-defined]
        recipe.optimizer.zero_grad()  # type: ignore[attr-defined]
        recipe.loss(recipe.model(inputs), targets).backward()  # type: ignore[attr-defined]
        recipe.optimizer.step()  # type: ignore[attr-defined]


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
    parser.add_argument("--battery", action="store_true", help="the whole battery, built once")
    parser.add_argument("--optimizer", choices=("sgd", "adam"), default="sgd")
    modes = ("bare", "watched", "trained", "battery")
    parser.add_argument("--child", choices=modes, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.steps, options.optimizer)
        return
    peaks: dict[str, list[int]] = {mode: [] for mode in (modes[2:] if options.battery else modes[:2])}
    weights = 0
    for _ in range(options.rounds):
        for mode, found in peaks.items():
            command = [sys.executable, __file__, "--child", mode, "--steps", str(options.steps)]
            command += ["--optimizer", options.optimizer]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            peak, weights = map(int, output.split())
            found.append(peak)
    bare, watched = (median(found) for found in peaks.values())
    against = list(peaks)[1]
    print(f"| weights | peak, bare | peak, {against} | added | of the weights | of the bare peak |")
    print("|---|---|---|---|---|---|")
    sizes = " | ".join(f"{n / MEGABYTE:.0f} MB" for n in (weights, bare, watched, watched - bare))
    print(f"| {sizes} | {(watched - bare) / weights:.1%} | {watched / bare:.2f} |")


if __name__ == "__main__":
    main()
