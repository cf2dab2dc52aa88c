"""How often accuracy gates err, and what they cost: simulated, without any training.

    python tests/benchmarks/gates_accuracy.py [REPETITIONS]

Examples have a difficulty, trainings have luck: a training with seed i is right about example j if a
normal variate that both share and one of its own stay below the quantile of the training's accuracy,
so that two trainings disagree about as many examples as two seeds of a small network do. Every
repetition draws new examples and new seeds, and is judged by the very code that judges trainings.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from scipy.special import ndtri

from pytest_dlcheck.checks.accuracy import Accuracy
from pytest_dlcheck.gating.claim import Claim
from pytest_dlcheck.gating.readings import ACCURACY, Reading
from pytest_dlcheck.gating.regression import AgainstCommit
from pytest_dlcheck.gating.ruling import Ruling
from pytest_dlcheck.gating.spending import Look
from pytest_dlcheck.gating.threshold import Threshold

OWN = 0.5
"""The part of an example's luck that each training has for itself, relative to its difficulty."""
BEFORE = 0.95
"""The true accuracy of the other commit, and the threshold."""
SEEDS = 5
GATE = Accuracy()


@dataclass(frozen=True)
class World:
    """What is simulated.

    Attributes:
        examples: validation samples.
        deviation: standard deviation of the true accuracy between seeds (share).
    """

    examples: int
    deviation: float

    def trainings(
        self, rng: np.random.Generator, accuracy: float, difficulty: np.ndarray
    ) -> list[Reading]:
        """As many as seeds may be spent, of one commit."""
        scale = np.sqrt(1 + OWN**2)
        found = []
        for seed in range(SEEDS):
            true = np.clip(accuracy + self.deviation * rng.standard_normal(), 0.001, 0.999)
            luck = difficulty + OWN * rng.standard_normal(self.examples, dtype=np.float32)
            right = luck < ndtri(true) * scale
            found.append(
                Reading(
                    seed=seed,
                    value=float(right.mean()),
                    samples=self.examples,
                    effective=self.examples,
                    right=right.astype(np.int8).tobytes(),
                    order="the same",
                    losses=(rng.random(),),
                )
            )
        return found


WORLDS = (World(1_000, 0.003), World(5_000, 0.003), World(5_000, 0.01), World(5_000, 0.02))
Run = Callable[[World, float, int, np.random.Generator], tuple[str, int]]


def looks(first: int, last: int) -> Iterator[Look]:
    """One after another."""
    return (Look(number, first, last, GATE.risk) for number in range(first, last + 1))


def claim(readings: list[Reading], look: Look) -> Claim:
    """What is claimed of so many trainings."""
    rules = GATE.rules
    return Claim(
        metric=ACCURACY,
        is_share=True,
        readings=readings[: look.number],
        margin=rules.margin,
        sense=">=",
        look=look,
        assumed=rules.assumed,
    )


def against_commit(world: World, drop: float, first: int, rng: np.random.Generator) -> tuple[str, int]:
    """One comparison of two commits: what came of it, and how many trainings were spent."""
    difficulty = rng.standard_normal(world.examples, dtype=np.float32)
    before = world.trainings(rng, BEFORE, difficulty)
    after = world.trainings(rng, BEFORE - drop, difficulty)
    for look in looks(first, SEEDS):
        bases = {reading.seed: reading for reading in before[: look.number]}
        ruling = AgainstCommit(claim(after, look), bases, "base").rule()
        if ruling.state != "open":
            break
    return ended(ruling), 2 * look.number


def threshold(world: World, gap: float, first: int, rng: np.random.Generator) -> tuple[str, int]:
    """One threshold at 0.95, with a true accuracy that lies so far above it."""
    difficulty = rng.standard_normal(world.examples, dtype=np.float32)
    found = world.trainings(rng, BEFORE + gap, difficulty)
    for look in looks(first, SEEDS):
        ruling = Threshold(claim(found, look), BEFORE).rule()
        if ruling.state != "open":
            break
    return ended(ruling), look.number


def ended(ruling: Ruling) -> str:
    """What a user would be told."""
    return {"fails": "failed", "holds": "passed"}.get(ruling.state, "inconclusive")


def row(run: Run, world: World, shift: float, repetitions: int) -> str:
    """One line of a table: seeds one at a time, then all at once."""
    cells = [f"{world.examples:,}", f"{100 * world.deviation:g}", f"{100 * shift:g}"]
    for first in (1, SEEDS):
        rng = np.random.default_rng([world.examples, round(1e4 * world.deviation), first])
        results = [run(world, shift, first, rng) for _ in range(repetitions)]
        counts = Counter(state for state, _ in results)
        cells += [f"{100 * counts[state] / repetitions:.1f} %" for state in ("failed", "passed")]
        cells.append(f"{np.mean([trainings for _, trainings in results]):.1f}")
    return f"| {' | '.join(cells)} |"


def table(run: Run, shifts: tuple[float, ...], what: str, repetitions: int) -> None:
    """One table, Markdown; what neither failed nor passed was inconclusive."""
    each = "failed | passed | trainings"
    print(f"| examples | seed noise | {what} | 1 to {SEEDS} seeds: {each} | {SEEDS} seeds: {each} |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for world in WORLDS:
        for shift in shifts:
            print(row(run, world, shift, repetitions))


def main() -> None:
    """Print the tables."""
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 800
    began = perf_counter()
    print(f"Against another commit, in points, {repetitions} repetitions a line:\n")
    table(against_commit, (0.0, 0.005, 0.01, 0.03), "true drop", repetitions)
    print(f"\nAgainst a threshold of {BEFORE}, in points:\n")
    table(threshold, (-0.03, -0.01, 0.0, 0.01, 0.03), "true distance", repetitions)
    print(f"\n{perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
