"""Where the end of a session is written: sections of pytest's own terminal."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pytest_dlcheck.finding import Finding
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
    writer = reporter._tw  # noqa: SLF001  no public way to its width and colours
    width, colour = writer.fullwidth, writer.hasmarkup
    if not findings:
        if not items and exit_code in _NOTHING_WRONG and not _is_silent(reporter):
            reporter.section("dlcheck")
            reporter.write_line(HINT)
        return
    if reporter.config.get_verbosity() < 0 and not terminal.causes(findings, width=width, colour=False):
        return
    reporter.section("dlcheck")
    reporter.write_line(terminal.table(findings, width=width, colour=colour))
    for title, text in (
        ("causes", terminal.causes(findings, width=width, colour=colour)),
        ("not settled, and advice", terminal.unsettled(findings, width=width, colour=colour)),
    ):
        if text:
            reporter.write_line("")
            reporter.write_line(f"{title}:", bold=True)
            reporter.write_line(text)


def _is_silent(reporter: pytest.TerminalReporter) -> bool:
    """Whether nothing was to be collected here, or what was collected was deselected."""
    option = reporter.config.option
    workers = getattr(option, "numprocesses", None) or getattr(option, "tx", None)
    return bool(option.collectonly or workers or reporter.stats.get("deselected"))
