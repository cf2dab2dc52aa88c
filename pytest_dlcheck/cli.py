"""The command ``dlcheck``: what the checks are and why they decide as they do."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import fields, replace
from inspect import cleandoc
from pathlib import Path
from shutil import get_terminal_size
from textwrap import indent

import click

from pytest_dlcheck import scaffold
from pytest_dlcheck.check import Check, UnknownCheckError, registry, select, unknown
from pytest_dlcheck.explanation import thresholds
from pytest_dlcheck.finding import Finding
from pytest_dlcheck.reports import journal, terminal
from pytest_dlcheck.session import all_checks, judge_again


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pytest-dlcheck")
def main() -> None:
    """Find what breaks a PyTorch training silently. Recipes are run with: pytest --dlcheck."""


@main.command()
def checks() -> None:
    """List all checks, causes first."""
    width = max(map(len, all_checks()))
    for name in all_checks():
        check = registry()[name]
        click.echo(f"{name:<{width}}  {check.family:<9} {check.summary}")


@main.command()
@click.argument("check")
def explain(check: str) -> None:
    """Say what CHECK asserts, why it matters, how it decides and what it cannot see."""
    try:
        names = select([check], option="explain")
    except UnknownCheckError as error:
        raise click.UsageError(str(error)) from None
    for name in names:
        found = registry()[name]
        click.echo(click.style(name, bold=True) + f"  ({found.family})\n")
        click.echo(cleandoc(type(found).__doc__ or ""))
        if numbers := thresholds(found):
            title = click.style("Thresholds", bold=True)
            click.echo(f"\n{title} (dlcheck report --set {name}.NAME=VALUE)")
        for threshold in numbers:
            click.echo(f"  {threshold.name} = {threshold.value}")
            click.echo(indent(threshold.text, "    "))


@main.command()
@click.option("--from", "source", required=True, type=click.Path(path_type=Path), metavar="JOURNAL")
@click.option(
    "--set", "thresholds", multiple=True, metavar="CHECK.NAME=VALUE", help="judge with another threshold"
)
def report(source: Path, thresholds: tuple[str, ...]) -> None:
    """Judge the traces of a JOURNAL again and print table and causes; nothing is trained.

    The exit code is 1 where something failed.
    """
    try:
        contents = journal.read(source)
    except journal.JournalError as error:
        raise click.ClickException(str(error)) from None
    if contents.notice:
        click.echo(contents.notice, err=True)
    checks = _with_thresholds(thresholds)
    findings = [
        finding
        for recipe, asked in contents.recipes.items()
        for finding in judge_again(recipe, asked, contents.traces.get(recipe, ()), checks)
    ]
    _print(findings)
    raise SystemExit(any(finding.verdict.failed for finding in findings))


@main.command()
@click.argument("target")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="where to write; by default tests/test_NAME_training.py",
)
def init(target: str, output: Path | None) -> None:
    """Write a first recipe file for TARGET; nothing is ever overwritten.

    TARGET is package.module:Model, torchvision:resnet18, timm:NAME, or a Hugging Face model type such
    as transformers:bert.
    """
    try:
        made = scaffold.draft(target)
        path = scaffold.write(made, output)
    except scaffold.ScaffoldError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"wrote {path}")
    for title, lines in (("still to fill in", made.missing), ("note", made.notes)):
        for line in lines:
            click.echo(f"  {title}: {line}")
    click.echo(f"then: pytest --dlcheck {path}")


def _print(findings: list[Finding]) -> None:
    width = get_terminal_size().columns
    colour = sys.stdout.isatty()
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
        name, _, threshold = place.partition(".")
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
