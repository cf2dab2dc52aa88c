"""Measures how quiet the checks are: `python -m tests.zoo.measure`, or with `--rejudge` in seconds.

Every model is trained under every seed and its traces are kept; `--rejudge` judges them again, with
the checks as they are now, and says beside the false alarms what they miss in the clinic (whose cases
`--clinic` records). `--fresh` records anew; names pick models.
"""

# ruff: noqa: T201  it prints what it measured

from __future__ import annotations

import argparse
import shutil
import warnings
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_all_start_methods, get_context, set_start_method
from time import perf_counter

from pytest_dlcheck.check import registry
from pytest_dlcheck.trial import Terms
from pytest_dlcheck.verdict import Outcome, Verdict
from tests.clinic.recorded import missed, record

from .menagerie import menagerie, split, steps_of
from .traces import FOLDER, Animal

ALARMS = {Outcome.FAILED, Outcome.ERRORED}
Judged = list[tuple[str, int, Verdict]]


def judged(case: tuple[str, int], *, rejudge: bool) -> tuple[str, int, list[Verdict], float]:
    """All verdicts on one model under one seed, and how many seconds they took."""
    warnings.simplefilter("ignore")
    (name, seed), began = case, perf_counter()
    factory = menagerie()[name]
    terms = Terms(steps=steps_of(factory), seed=seed)
    verdicts = Animal(name, None if rejudge else factory, terms).verdicts()
    return name, seed, verdicts, perf_counter() - began


def fork_loaders() -> None:
    """Have a data loader's workers start as in anybody's process: a spawned one spawns, at a cost."""
    if "fork" in get_all_start_methods():
        set_start_method("fork", force=True)


def told(verdicts: Judged, outcomes: set[Outcome], title: str) -> None:
    """The verdicts of some outcomes, grouped by check."""
    groups = defaultdict(list)
    for name, seed, verdict in verdicts:
        if verdict.outcome in outcomes:
            groups[verdict.check].append((name, seed, verdict))
    print(f"\n== {title}")
    for check in registry():
        for name, seed, verdict in groups[check]:
            print(f"{check}  {name} [{split(name)}, seed {seed}]  {verdict.because}")
            for suspect in verdict.suspects[:2] if outcomes == ALARMS else ():
                print(f"      {suspect.site} | {suspect.finding[-300:]}")
            if outcomes == ALARMS and verdict.cause:
                print(f"      cause: {verdict.cause}")


def advised(verdicts: Judged) -> None:
    """What was advised, grouped by check."""
    print("\n== advice")
    for name, seed, verdict in sorted(verdicts, key=lambda v: v[2].check):
        for advice in verdict.advice:
            print(f"{verdict.check}  {name} [{split(name)}, seed {seed}]  {advice}")


def table(verdicts: Judged) -> None:
    """Per check: alarms, what was inconclusive or advised, and what the alarms' number shows.

    The rate is an upper bound (95 %) for runs; seeds of one model are kin, so that for models it is
    about as many times higher as there are seeds.
    """
    print(f"\n{'check':28}{'half':6}{'runs':>6}{'alarms':>8}{'incl.':>7}{'n/a':>6}{'advice':>8}  rate")
    for check in registry():
        for half in ("dev", "test"):
            mine = [v for name, _, v in verdicts if v.check == check and split(name) == half]
            count = Counter(v.outcome for v in mine)
            alarms = sum(count[outcome] for outcome in ALARMS)
            decided = alarms + count[Outcome.PASSED]
            bound = f"< {1 - 0.05 ** (1 / decided):.1%}" if decided and not alarms else ""
            print(
                f"{check:28}{half:6}{len(mine):6}{alarms:8}{count[Outcome.INCONCLUSIVE]:7}"
                f"{count[Outcome.NOT_APPLICABLE]:6}{sum(bool(v.advice) for v in mine):8}  {bound}"
            )


def misses() -> None:
    """What the same checks miss: the clinic's recorded dev cases that are not named."""
    print("\n== missed in the clinic (dev cases that were recorded)")
    for case, instead in missed():
        print(f"{' or '.join(case.checks)}  {case.name}: {instead}")


def main() -> None:
    """Record what is missing, judge, tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", help="names of models (default: all)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rejudge", action="store_true", help="judge recorded traces, run nothing")
    parser.add_argument("--fresh", action="store_true", help="forget what was recorded of these models")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--clinic", action="store_true", help="record the clinic's dev cases too")
    parser.add_argument("--all", action="store_true", help="list advice and inconclusive verdicts too")
    options = parser.parse_args()
    registry()
    names = options.models or list(menagerie())
    if options.fresh:
        for name in names:
            shutil.rmtree(FOLDER / name, ignore_errors=True)
    judge_case = partial(judged, rejudge=options.rejudge)
    cases = [(name, seed) for seed in range(options.seeds) for name in names]
    verdicts: Judged = []
    seconds: Counter[str] = Counter()
    with ProcessPoolExecutor(
        options.processes, mp_context=get_context("spawn"), initializer=fork_loaders
    ) as pool:
        for future in as_completed([pool.submit(judge_case, case) for case in cases]):
            name, seed, found, took = future.result()
            verdicts += [(name, seed, verdict) for verdict in found]
            seconds[name] += took
            alarms = [v.check for v in found if v.outcome in ALARMS]
            if not options.rejudge:
                print(
                    f"{len(verdicts) // len(found):4}/{len(cases)}  {took:5.1f} s  {name} {seed}",
                    *alarms,
                    flush=True,
                )
    told(verdicts, ALARMS, "alarms")
    if options.all:
        told(verdicts, {Outcome.INCONCLUSIVE}, "inconclusive")
        advised(verdicts)
    table(verdicts)
    if options.clinic:
        record()
    if options.clinic or options.rejudge:
        misses()
    print(f"\n{len(names)} models, {len(cases)} runs, {sum(seconds.values()):.0f} s of work; slowest:")
    print("  ".join(f"{name} {took:.0f} s" for name, took in seconds.most_common(8)))


if __name__ == "__main__":
    main()
