"""The command ``report``: a journal judged again, or rendered."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from shutil import get_terminal_size

import click

from pytest_dlcheck.check import Check, registry, unknown
from pytest_dlcheck.cli.look import wants_colour
from pytest_dlcheck.finding import Finding
from pytest_dlcheck.judging import judge_again
from pytest_dlcheck.reports import journal, terminal
from pytest_dlcheck.reports import kinds as rendering
from pytest_dlcheck.reports.annotations import commands_here
from pytest_dlcheck.reports.contents import Contents
from pytest_dlcheck.reports.errors import ReportError
from pytest_dlcheck.reports.kinds import Request


@click.command()
@click.argument("kinds", nargs=-1, metavar="[KIND[:PATH]]...")
@click.option("--from", "source", required=True, type=click.Path(path_type=Path), metavar="JOURNAL")
@click.option(
    "--set", "thresholds", multiple=True, metavar="CHECK.NAME=VALUE", help="judge with another threshold"
)
def report(kinds: tuple[str, ...], source: Path, thresholds: tuple[str, ...]) -> None:
    """Render reports of a JOURNAL, be its session over, killed or still running; nothing is trained.

    KIND is html, markdown, mlflow, openmetrics or tensorboard. With --set the stored traces are judged
    again with other thresholds first. Without any KIND they are judged again in any case, table and
    causes are printed, and the exit code is 1 where something failed.
    """
    requests = _requests(kinds)
    contents = _read(source)
    if thresholds or not requests:
        contents.findings = _judged_again(contents, _with_thresholds(thresholds))
    if not requests:
        _print(contents.findings)
        raise SystemExit(any(finding.fails for finding in contents.findings))
    whole = [_is_written(request, contents) for request in requests]
    if any(request.kind == "markdown" for request in requests):
        for line in commands_here(contents, Path.cwd()):
            click.echo(line)
    raise SystemExit(not all(whole))


def _is_written(request: Request, contents: Contents) -> bool:
    """Render a report, and say where it is, or why it is not."""
    try:
        where = rendering.write(request, contents, Path.cwd())
    except ReportError as error:
        click.echo(f"Error: {request}: {error}", err=True)
        return False
    click.echo(f"{request.kind} report: {where.removeprefix(f'{Path.cwd()}{os.sep}')}")
    return True


def _requests(kinds: tuple[str, ...]) -> list[Request]:
    try:
        found = [rendering.requested(text) for text in kinds]
    except ReportError as error:
        raise click.UsageError(str(error)) from None
    if any(request.kind == rendering.JOURNAL for request in found):
        raise click.UsageError(f"the journal is there already (valid: {', '.join(rendering.KINDS)})")
    return found


def _read(source: Path) -> Contents:
    try:
        contents = journal.read(source)
    except journal.JournalError as error:
        raise click.ClickException(str(error)) from None
    if contents.notice:
        click.echo(contents.notice, err=True)
    return contents


def _judged_again(contents: Contents, checks: Mapping[str, Check]) -> list[Finding]:
    judged = [
        finding
        for recipe, asked in contents.recipes.items()
        for finding in judge_again(recipe, asked, contents.traces.get(recipe, ()), checks)
    ]
    known = {(finding.recipe, finding.verdict.check) for finding in judged}
    return judged + [f for f in contents.unjudged if (f.recipe, f.verdict.check) not in known]


def _print(findings: list[Finding]) -> None:
    width = get_terminal_size().columns
    colour = wants_colour()
    for text in (
        terminal.table(findings, width=width, colour=colour),
        terminal.causes(findings, width=width, colour=colour),
        terminal.unsettled(findings, width=width, colour=colour),
    ):
        if text:
            click.echo(text + "\n")


def _with_thresholds(settings: tuple[str, ...]) -> Mapping[str, Check]:
    checks = dict(registry())
    for setting in settings:
        place, _, value = setting.partition("=")
        name, dot, threshold = place.partition(".")
        if not (dot and value):
            example = "training_is_stable.exploded=20"
            raise click.UsageError(f"--set {setting}: write CHECK.NAME=VALUE, such as {example}")
        if name not in checks:
            raise click.UsageError(unknown("--set", name, checks))
        valid = [f.name for f in fields(checks[name])]
        if threshold not in valid:
            raise click.UsageError(unknown(f"--set {name}", threshold, valid))
        try:
            whole = isinstance(getattr(checks[name], threshold), int)
            number = int(value) if whole else float(value)
        except ValueError:
            raise click.UsageError(f"--set {setting}: {value!r} is no number") from None
        checks[name] = replace(checks[name], **{threshold: number})
    return checks
