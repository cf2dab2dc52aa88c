"""Telling what was measured: the table, the totals with their intervals, and what is published."""

# ruff: noqa: T201  it prints what was measured

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

FOLDER = Path(__file__).parent / ".measured"
PUBLISHED = Path(__file__).parent / "results.json"
ROOT = Path(__file__).parents[2]
PACKAGES = {"dlcheck": "pytest-dlcheck", "torchtest2": "torchtest2", "pytest_torch": "pytest-torch"}


def environment(tools: Iterable[str]) -> dict[str, Any]:
    """When, and with which versions."""
    names = ["torch", *(PACKAGES[tool] for tool in tools)]
    return {
        "date": datetime.now(tz=UTC).date().isoformat(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in names},
    }


def share(count: int, of: int) -> str:
    """A share with its 95 % Wilson interval, in percent."""
    if of == 0:
        return "–"
    low, high = binomtest(count, of).proportion_ci(method="wilson")
    return f"{count} of {of} ({100 * count / of:.0f} %, {100 * low:.0f}–{100 * high:.0f} %)"


def visible(cases: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The cases that are faults a short look can find."""
    return [case for case in cases if case["finding"] != "invisible"]


def alarmed(cases: Iterable[dict[str, Any]], tool: str) -> tuple[int, int]:
    """How many twins raised an alarm, and of how many."""
    twins = {case["twin"]: bool(case[tool]["alarms"]) for case in cases}
    for case in cases:
        twins[case["twin"]] |= bool(case[tool]["alarms"])
    return sum(twins.values()), len(twins)


PARTS = ("dev", "test", "test, unseen", "all")


def part(cases: Sequence[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """The cases of a half; ``unseen``: without those that were looked at on the first day."""
    if name == "all":
        return list(cases)
    half = [case for case in cases if case["split"] == name.partition(",")[0]]
    return [case for case in half if not case["first_day"]] if "unseen" in name else half


def totals(cases: Sequence[dict[str, Any]], tools: Iterable[str]) -> Iterator[list[str]]:
    """Rows of the table of totals: tool, half, found, named, twins with an alarm, seconds a case."""
    for tool in tools:
        for name in PARTS:
            mine = part(cases, name)
            faults = visible(mine)
            if not mine:
                continue
            alarms, twins = alarmed(mine, tool)
            seconds = sum(case[tool]["seconds"] for case in mine) / len(mine)
            ours = tool == "dlcheck"  # the others were timed at another load, or not at all
            yield [
                PACKAGES[tool],
                name,
                share(sum(case[tool]["found"] for case in faults), len(faults)),
                share(sum(case[tool]["named"] for case in faults), len(faults)),
                f"{alarms} of {twins}",
                f"{seconds:.1f}" if ours else "",
            ]


HEADINGS = ["", "half", "found (95 %)", "named (95 %)", "twins with an alarm", "s a case"]


def tell(results: dict[str, Any], tools: Sequence[str]) -> None:
    """Print the table and the totals.

    Of the measuring half only totals and what was named are of use to whoever works on the checks.
    """
    cases = results["cases"]
    for case in sorted(cases, key=lambda case: (case["split"], case["checks"])):
        mark = ["missed", "FOUND", "NAMED"][case["dlcheck"]["found"] + case["dlcheck"]["named"]]
        if case["finding"] == "invisible":
            mark = "alarm" if case["dlcheck"]["found"] else "quiet"
        note = "" if case["built"] else " [not built]"
        print(
            f"{case['split']:5}{mark:7}{case['dlcheck']['seconds']:6.1f} s  {case['name'][:58]:58}"
            f"  {case['finding']:9} {case['dlcheck']['by'] or '-'}{note}"
            f"  (expected: {', '.join(case['checks']) or 'nothing'})"
        )
        if case["split"] == "dev" and mark in {"FOUND", "alarm"}:
            print(f"              said: {case['dlcheck']['said'][0][:240]}")
    for twin in {c["twin"]: c["dlcheck"]["alarms"] for c in cases if c["dlcheck"]["alarms"]}.items():
        print("alarm on a twin:", *twin)
    print()
    for row in [HEADINGS, *totals(cases, tools)]:
        print(
            "  ".join(
                cell.ljust(width) for cell, width in zip(row, (15, 13, 28, 28, 20, 8), strict=True)
            )
        )


def summary(results: dict[str, Any]) -> str:
    """What the README tells: when, with which versions, and the totals."""
    cases = results["cases"]
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    return "\n".join(
        [
            f"Measured on {results['date']}: {versions}; Python {results['python']}, CPU, one thread.",
            "",
            *_table(HEADINGS, totals(cases, _tools(cases))),
        ]
    )


def every_case(results: dict[str, Any]) -> str:
    """A row for each case, with what each tool made of it."""
    cases = results["cases"]
    tools = _tools(cases)
    others = [PACKAGES[tool] for tool in tools[1:]]
    headings = ["fault", "in", "half", "first cause", "named", *others, "s"]
    return "\n".join(_table(headings, (_row(case, tools) for case in cases)))


def _tools(cases: Sequence[dict[str, Any]]) -> list[str]:
    return [tool for tool in PACKAGES if tool in cases[0]]


def _row(case: dict[str, Any], tools: Sequence[str]) -> list[str]:
    ours = case["dlcheck"]
    nothing = "–" if case["finding"] == "invisible" else "**missed**"
    return [
        case["name"] + (" (no fault in a short run)" if case["finding"] == "invisible" else ""),
        f"{case['architecture']}, {case['task']}",
        case["split"] + ("¹" if case["first_day"] else ""),
        f"`{ours['by']}`" if ours["by"] else nothing,
        _mark(ours),
        *(_mark(case[tool]) for tool in tools[1:]),
        f"{ours['seconds']:.1f}",
    ]


def _mark(result: dict[str, Any]) -> str:
    return ["–", "found", "named"][result["found"] + result["named"]]


def _table(headings: Sequence[str], body: Iterable[Sequence[str]]) -> list[str]:
    lines = [headings, ["---"] * len(headings), *body]
    return ["| " + " | ".join(line) + " |" for line in lines]


@dataclass(frozen=True)
class Part:
    """A part of a page that is written from the results.

    Attributes:
        page: where it stands.
        name: in its markers.
        told: of the results, in Markdown.
    """

    page: Path
    name: str
    told: Callable[[dict[str, Any]], str]

    def around(self, text: str) -> tuple[str, str, str]:
        """The page's text before, between and after the markers, which stay outside of the middle.

        Raises:
            LookupError: it has no such markers.
        """
        begin, end = f"<!-- {self.name} -->\n", f"\n<!-- /{self.name} -->"
        before, found, rest = text.partition(begin)
        between, ended, after = rest.partition(end)
        if not (found and ended):
            raise LookupError(f"{self.page.name} has no {begin.strip()} … {end.strip()}")
        return before + begin, between, end + after

    def write(self, results: dict[str, Any]) -> None:
        """Write it between its markers."""
        before, _, after = self.around(self.page.read_text(encoding="utf-8"))
        self.page.write_text(before + self.told(results) + after, encoding="utf-8")


PAGES = (
    Part(ROOT / "README.md", "clinic", summary),
    Part(ROOT / "docs" / "measured.md", "every case", every_case),
)
"""What is published of the clinic."""
