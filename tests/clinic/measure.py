"""Measures how sensitive the checks are: `python -m tests.clinic.measure`.

Every fault and every healthy twin is put through the whole battery; the table says which check found
the fault, whether its place or cause was named, and how long that took. `--others` asks torchtest2 and
pytest-torch the same (`pip install -e '.[clinic]'`), `--publish` keeps the results in `results.json`,
`--readme` writes the tables of the README and of `docs/measured.md` from them. What the other tools said
is kept and not asked again, unless with `--fresh`. Names, or parts of names, pick cases.
"""

# ruff: noqa: T201  it prints what it measured

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_all_start_methods, get_context, set_start_method
from typing import Any

import torch

from pytest_dlcheck.session import all_checks

from .case import Case
from .cases import all_cases, kind
from .examine import Told, judge, opted_in, told
from .others import TOOLS, ask
from .others import judge as judge_other
from .report import FOLDER, PAGES, PUBLISHED, environment, tell

KEPT = FOLDER / "others.json"

Task = tuple[str, str, int, tuple[str, ...], str]
"""A tool, the name of a case, steps, checks beyond the default ones, and "sick" or "twin"."""


def tasks_of(cases: Iterable[Case], tools: Iterable[str]) -> list[Task]:
    """What is to be run: each case, and each twin once, with each tool."""
    tasks: dict[tuple[Any, ...], Task] = {}
    for tool in tools:
        for case in cases:
            steps, checks = terms(tool, case)
            twin = (tool, case.healthy.__name__, steps, checks)
            tasks.setdefault(twin, (tool, case.name, steps, checks, "twin"))
            tasks[tool, case.name] = (tool, case.name, steps, checks, "sick")
    return list(tasks.values())


def terms(tool: str, case: Case) -> tuple[int, tuple[str, ...]]:
    """The steps and the opted-in checks that a case is examined with, where the tool has such."""
    return (case.steps, opted_in(case)) if tool == "dlcheck" else (0, ())


def kept() -> dict[Task, dict[str, Any]]:
    """What other tools, in the versions that are installed, were heard to say before."""
    if not KEPT.exists():
        return {}
    stored = json.loads(KEPT.read_text())
    if stored["versions"] != environment(TOOLS)["versions"]:
        return {}
    return {
        (tool, name, steps, tuple(checks), which): said
        for (tool, name, steps, checks, which), said in stored["said"]
    }


def keep(done: Mapping[Task, dict[str, Any]]) -> None:
    """Remember what other tools said."""
    said = [(task, words) for task, words in done.items() if task[0] in TOOLS]
    KEPT.write_text(json.dumps({"versions": environment(TOOLS)["versions"], "said": said}))


def run(task: Task) -> tuple[Task, dict[str, Any]]:
    """What a tool says of a recipe."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    tool, name, steps, checks, which = task
    case = all_cases()[name]
    factory = case.sick if which == "sick" else case.healthy
    said = told(factory, steps, checks) if tool == "dlcheck" else ask(tool, factory)
    return task, said.to_json()


def heard(task: Task, said: dict[str, Any]) -> None:
    """Tell at once what is said of a case that may be looked at, or against a twin."""
    tool, name, _, _, which = task
    if tool == "dlcheck" and (which == "twin" or all_cases()[name].split == "dev"):
        causes = [f"{check}: {text[:160]}" for check, text in said["causes"]] or ["nothing fails"]
        print(f"{said['seconds']:6.1f} s  {which}  {name}:  {'; '.join(causes)}", flush=True)


def fork_loaders() -> None:
    """Have a data loader's workers start as in anybody's process: a spawned one spawns, at a cost."""
    if "fork" in get_all_start_methods():
        set_start_method("fork", force=True)


def rows(cases: Iterable[Case], done: dict[Task, dict[str, Any]], tools: list[str]) -> Iterator[dict]:
    """The results, a case each."""
    twins = {
        (tool, all_cases()[name].healthy.__name__, steps, checks): said
        for (tool, name, steps, checks, which), said in done.items()
        if which == "twin"
    }
    for case in cases:
        row = {
            "name": case.name,
            "split": case.split,
            "first_day": case.first_day,
            "finding": case.finding,
            "architecture": kind(case).architecture,
            "task": kind(case).task,
            "twin": case.healthy.__name__,
            "checks": case.checks,
            "built": bool({*case.checks} & {*all_checks()}) or not case.checks,
        }
        for tool in tools:
            steps, checks = terms(tool, case)
            sick = read(done[tool, case.name, steps, checks, "sick"])
            twin = read(twins[tool, case.healthy.__name__, steps, checks])
            ours = tool == "dlcheck"
            verdict = judge(case, sick, twin) if ours else judge_other(tool, case, sick, twin)
            row[tool] = {
                "found": verdict.found,
                "named": verdict.named,
                "by": verdict.by,
                "seconds": round(sick.seconds, 2),
                "said": [f"{check}: {text}"[:600] for check, text in sick.causes + sick.advice],
                "alarms": [
                    f"{check}: {text}"[:300]
                    for check, text in twin.causes + (() if ours else twin.advice)
                ],
            }
        yield row


def read(said: dict[str, Any]) -> Told:
    """What was told, from JSON."""
    pairs = {key: tuple(map(tuple, said[key])) for key in ("causes", "advice")}
    return Told(**pairs, seconds=said["seconds"])


def main() -> None:
    """Run, tell, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of the names of cases (default: all)")
    parser.add_argument("--split", choices=["dev", "test"])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--others", action="store_true", help="ask the other tools too")
    parser.add_argument("--only-others", action="store_true", help="ask the other tools and none else")
    parser.add_argument("--fresh", action="store_true", help="ask the other tools again")
    parser.add_argument("--publish", action="store_true", help=f"keep the results as {PUBLISHED.name}")
    parser.add_argument("--readme", action="store_true", help="write the published tables; run nothing")
    options = parser.parse_args()
    if options.readme:
        for part in PAGES:
            part.write(json.loads(PUBLISHED.read_text()))
        return
    wanted = [name.replace("_", " ") for name in options.names]
    cases = [
        case
        for case in all_cases().values()
        if options.split in {None, case.split}
        and (not wanted or any(part in case.name for part in wanted))
    ]
    options.others |= options.only_others
    tools = [*([] if options.only_others else ["dlcheck"]), *(TOOLS if options.others else [])]
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / ".gitignore").write_text("*\n")
    done = kept() if options.others and not options.fresh else {}
    tasks = [task for task in tasks_of(cases, tools) if task not in done]
    waiting = set(tasks)
    with ProcessPoolExecutor(
        options.processes, mp_context=get_context("spawn"), initializer=fork_loaders
    ) as pool:
        for future in as_completed([pool.submit(run, task) for task in tasks]):
            task, said = future.result()
            done[task] = said
            waiting.discard(task)
            heard(task, said)
            if len(waiting) % 20 == 0:
                print(f"{len(waiting)} of {len(tasks)} to do", flush=True)
                if options.others:
                    keep(done)
    if options.only_others:
        return
    results = {**environment(tools), "cases": list(rows(cases, done, tools))}
    (FOLDER / "last.json").write_text(json.dumps(results, indent=1))
    if options.publish:
        PUBLISHED.write_text(json.dumps(results, indent=1) + "\n")
    tell(results, tools)


if __name__ == "__main__":
    main()
