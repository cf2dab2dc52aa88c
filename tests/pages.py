"""Writes docs/checks/: a page per check, from its own words, examples and clinical cases.

`python -m tests.pages` writes them; tests/test_pages.py holds them to the code.
"""

# ruff: noqa: T201  it says what it wrote

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pytest_dlcheck.check import OPT_IN, Check, Evidence, Example, registry
from pytest_dlcheck.explanation import sections, thresholds
from pytest_dlcheck.reports.text import verdict_text

from .clinic.cases import all_cases

FOLDER = Path(__file__).parents[1] / "docs" / "checks"


def page(check: Check) -> str:
    """The page of one check, Markdown."""
    return "\n\n".join(_blocks(check)) + "\n"


def index() -> str:
    """The table of all pages, Markdown."""
    rows = [
        f"| [`{name}`]({name}.md) | {check.family} | {check.summary} |"
        for name, check in registry().items()
    ]
    return "\n".join(
        [
            "# The checks",
            "",
            "Causes first, as they are judged. Made from the code by `python -m tests.pages`.",
            "",
            "| check | family | the training ... |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def pages() -> dict[str, str]:
    """File names and contents."""
    return {"README.md": index()} | {f"{name}.md": page(check) for name, check in registry().items()}


def _blocks(check: Check) -> Iterator[str]:
    yield f"# `{check.name}`"
    yield f"**{check.summary}**"
    asked = ", runs only where it is asked for by name" if check.family in OPT_IN else ""
    yield f"Family `{check.family}`{asked}."
    for section in sections(check):
        yield f"## {section.title}\n\n{section.text}" if section.title else section.text
    if numbers := thresholds(check):
        yield "## Thresholds"
        yield "\n".join(
            ["| name | value | unit and origin |", "|---|---|---|"]
            + [f"| `{t.name}` | {t.value} | {' '.join(t.text.split())} |" for t in numbers]
        )
    if cases := [case for case in all_cases().values() if check.name in case.checks]:
        yield "## Cases in the clinic"
        yield "\n".join(f"- {case.name} (`{case.healthy.__name__}`)" for case in cases)
    yield "## How a failure reads"
    for example in check.sick():
        yield f"{example.name[0].upper()}{example.name[1:]}:"
        yield f"```\n{_told(check, example)}\n```"


def _told(check: Check, example: Example) -> str:
    verdict = check.judge(Evidence(example.traces))
    return f"{check.name} {verdict.outcome.upper()}\n{verdict_text(verdict)}"


def main() -> None:
    """Write them all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    print(f"wrote {len(pages())} pages to {FOLDER.relative_to(Path.cwd())}")


if __name__ == "__main__":
    main()
