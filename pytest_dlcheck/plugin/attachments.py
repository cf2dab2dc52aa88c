"""Plots for readers of JUnit: files beside the report, named in it as GitLab and Jenkins expect it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_dlcheck.plugin import options
from pytest_dlcheck.reports import files
from pytest_dlcheck.reports.errors import ReportError
from pytest_dlcheck.reports.plot import loss_plot
from pytest_dlcheck.reports.secrets import masked

if TYPE_CHECKING:
    from pytest_dlcheck.plugin.items import CheckItem

_HEARD = {"system-out", "out-err", "all"}


def check_attachments(config: pytest.Config) -> None:
    """See that attachments that are asked for will reach the report.

    Raises:
        pytest.UsageError: they would not, or their folder cannot be made.
    """
    folder = options.attachments(config)
    if not (folder and config.getoption("xmlpath", default=None)):
        return
    if config.getini("junit_logging") not in _HEARD:
        raise pytest.UsageError(
            "dlcheck_junit_attachments names the plots in the output of test cases, which pytest leaves "
            "out of JUnit's file: set junit_logging = system-out beside it"
        )
    try:
        files.prepare(config.invocation_params.dir / folder, folder=True)
    except ReportError as error:
        raise pytest.UsageError(f"dlcheck_junit_attachments: {error}") from None


def attach(item: CheckItem) -> None:
    """Write the recipe's plot and name it, where an item has trained or is a cause of failure."""
    folder = options.attachments(item.config)
    finding = item.finding
    if not (folder and finding and item.config.getoption("xmlpath", default=None)):
        return
    if not (any(trial.losses for trial in finding.trials) or (finding.fails and not finding.because_of)):
        return
    recipe = masked(finding.recipe)
    plot = loss_plot(recipe, item.examination.traces.values())
    if not plot:
        return
    path = item.config.invocation_params.dir / folder / f"{files.safe_name(recipe)}.svg"
    try:
        files.write_text(path, plot)
    except ReportError as error:
        item.add_report_section("call", "dlcheck", f"no plot: {error}")
        return
    item.add_report_section("call", "stdout", f"[[ATTACHMENT|{_from_project(path)}]]\n")


def _from_project(path: Path) -> str:
    """As GitLab wants it, from the project's folder; elsewhere from the working directory."""
    project = Path(os.environ.get("CI_PROJECT_DIR", "") or Path.cwd())
    return path.relative_to(project).as_posix() if path.is_relative_to(project) else str(path)
