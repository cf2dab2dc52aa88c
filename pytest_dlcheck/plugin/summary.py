"""Where the end of a session is written: sections of pytest's own terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import pytest

from pytest_dlcheck.finding import Finding
from pytest_dlcheck.plugin.notes import notes_of
from pytest_dlcheck.plugin.reporting import Reporting
from pytest_dlcheck.reports import terminal

_NOTHING_WRONG = {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED}
HINT = """\
no recipe was collected; to begin, put this into a file such as tests/test_training.py:

    from pytest_dlcheck import Recipe, recipe

    @recipe
    def my_model():
        model = MyModel()
        return Recipe(model=model, train_data=my_loader, loss=torch.nn.CrossEntropyLoss(),
                      optimizer=torch.optim.AdamW(model.parameters(), lr=1e-3))
"""


def write_summary(
    reporter: pytest.TerminalReporter,
    findings: Sequence[Finding],
    *,
    items: int,
    exit_code: int | pytest.ExitCode,
) -> None:
    """Write the table, the causes and what stays open; or, without any recipe, how to begin."""
    notes = notes_of(reporter.config)
    passed_over = [_passed_over(name, file) for name, file in notes.passed_over]
    if not findings:
        begin = not (items or notes.collected) and exit_code in _NOTHING_WRONG and _is_asked(reporter)
        if begin or passed_over:
            reporter.section("dlcheck")
            reporter.write_line("\n".join(passed_over) or HINT)
        return
    write_findings(reporter, findings)
    for line in passed_over:
        reporter.write_line(f"\n{line}")


def write_findings(reporter: pytest.TerminalReporter, findings: Sequence[Finding]) -> None:
    """Write the table, the causes and what stays open."""
    writer = reporter._tw  # noqa: SLF001  no public way to its width and colours
    look: Look = {"width": writer.fullwidth, "colour": writer.hasmarkup}
    causes, unsettled = terminal.causes(findings, **look), terminal.unsettled(findings, **look)
    quiet = -reporter.config.get_verbosity()
    if quiet > 0 and not (causes or (unsettled and quiet == 1)):
        return
    reporter.section("dlcheck")
    reporter.write_line(terminal.table(findings, **look))
    for title, text in (("causes", causes), ("not settled, and advice", unsettled)):
        if text:
            reporter.write_line("")
            reporter.write_line(f"{title}:", bold=True)
            reporter.write_line(text)


def write_reports(reporter: pytest.TerminalReporter, reporting: Reporting) -> None:
    """Write where reports were put, and which could not be written; that also where all is quiet."""
    if reporter.config.get_verbosity() >= 0:
        for line in reporting.lines:
            reporter.write_line(line)
    for line in reporting.commands:
        reporter.write_line(line)
    for line in reporting.warnings:
        reporter.write_line(f"WARNING: {line}", yellow=True)
    for line in reporting.errors:
        reporter.write_line(f"ERROR: {line}", red=True)


class Look(TypedDict):
    """How a terminal shows text."""

    width: int
    colour: bool


def _passed_over(name: str, file: str) -> str:
    return (
        f"{name} was not collected: a recipe is collected in the file that defines it, and pytest does "
        f"not collect {file} (rename it test_*.py, or list it in python_files)"
    )


def _is_asked(reporter: pytest.TerminalReporter) -> bool:
    """Whether recipes were asked for, in this very call, of files that could hold some."""
    config = reporter.config
    chosen = any("::" in str(argument) for argument in config.args)
    again = config.getoption("lf", default=False)
    asked = "--dlcheck" in map(str, config.invocation_params.args)
    return asked and not (config.option.collectonly or chosen or again)
