"""How often gates on speed err, and what they find: simulated processes, judged by the gate itself.

Run ``python tests/benchmarks/gates_speed.py``; it prints a table in Markdown. Each process is a number
with normal noise on its logarithm: what is left of a process's noise where two take turns. History has
20 earlier runs of three processes each. "and sessions" adds as much noise again from session to session,
which all processes of one session share.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pytest_dlcheck.baseline import Baseline, Past
from pytest_dlcheck.check import Check, example_trace
from pytest_dlcheck.checks.throughput import Throughput
from pytest_dlcheck.judging import judged
from pytest_dlcheck.trace import Row, Series, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Outcome, Verdict

SLOWDOWNS, NOISES = (0.0, 0.03, 0.05, 0.10), (0.01, 0.03)
SECONDS, SAMPLES, BASE = 0.01, 64, "3f2a1c9d"
TIMING = Row(samples=SAMPLES, settled=True, spread=0.02, in_turns=True)
Draw = Callable[[float], float]


def process(trial: Trial, seconds: float) -> Trace:
    """What one process would tell."""
    return example_trace(trial, step_seconds=Series((0,), (seconds,)), timing=TIMING)


def session(check: Check, terms: Terms, slowdown: float, draw: Draw) -> tuple[Verdict, int]:
    """One session's verdict, and how many processes it took."""
    count = 0

    def run(trial: Trial) -> Trace:
        nonlocal count
        count += 1
        times = 1.0 if trial.revision else 1 + slowdown
        return process(trial, draw(SECONDS * times))

    return judged(check, map(run, check.trials(terms)), run, terms), count


def side_by_side(rng: np.random.Generator, noise: float, slowdown: float) -> tuple[Verdict, int]:
    """Another commit, in turns."""
    draw: Draw = lambda seconds: seconds * float(np.exp(rng.normal(0, noise)))  # noqa: E731
    return session(Throughput(), Terms(against=BASE), slowdown, draw)


def history(
    rng: np.random.Generator, noise: float, slowdown: float, *, sessions: bool = False
) -> tuple[Verdict, int]:
    """Twenty earlier runs."""

    def one_session() -> Draw:
        shared = rng.normal(0, noise) if sessions else 0.0
        return lambda seconds: seconds * float(np.exp(shared + rng.normal(0, noise)))

    past = []
    for number in range(20):
        draw = one_session()
        seconds = np.exp(np.mean([np.log(draw(SECONDS)) for _ in range(3)]))
        past.append(Past(f"{number:08x}", float(number), float(SAMPLES / seconds)))
    baseline = Baseline("main", {"throughput": tuple(past)})
    return session(replace(Throughput(), baseline=baseline), Terms(), slowdown, one_session())


def sessions_too(rng: np.random.Generator, noise: float, slowdown: float) -> tuple[Verdict, int]:
    """Twenty earlier runs, each with a noise that its processes share."""
    return history(rng, noise, slowdown, sessions=True)


def floor(rng: np.random.Generator, noise: float, slowdown: float) -> tuple[Verdict, int]:
    """A floor at exactly what the code did before."""
    draw: Draw = lambda seconds: seconds * float(np.exp(rng.normal(0, noise)))  # noqa: E731
    return session(replace(Throughput(), at_least=SAMPLES / SECONDS), Terms(), slowdown, draw)


GATES = {
    "side by side with another commit": side_by_side,
    "the last 20 runs": history,
    "the last 20 runs, and sessions": sessions_too,
    "a floor at the old throughput": floor,
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", type=int, default=400, help="simulated per cell")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    asked = parser.parse_args()
    count = asked.sessions
    print("| held against | noise | slowdown | fails | passes | inconclusive | processes |")
    print("|---|---|---|---|---|---|---|")
    for name, gate in GATES.items():
        for noise in NOISES:
            for slowdown in SLOWDOWNS:
                rng = np.random.default_rng(asked.seed)
                found = [gate(rng, noise, slowdown) for _ in range(count)]
                shares = [
                    sum(verdict.outcome is outcome for verdict, _ in found) / count
                    for outcome in (Outcome.FAILED, Outcome.PASSED, Outcome.INCONCLUSIVE)
                ]
                spent = sum(processes for _, processes in found) / count
                told = " | ".join(f"{share:.1%}" for share in shares)
                print(f"| {name} | {noise:.0%} | {slowdown:.0%} | {told} | {spent:.1f} |", flush=True)


if __name__ == "__main__":
    main()
