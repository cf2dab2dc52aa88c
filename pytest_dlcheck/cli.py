"""The command ``dlcheck``: what the checks are and why they decide as they do."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import fields, replace
from inspect import cleandoc
from pathlib import Path
from shutil import get_terminal_size
from textwrap import indent

import click

from pytest_dlcheck import scaffold
from pytest_dlcheck.check import (
    DEFAULT,
    OPT_IN,
    Check,
    UnknownCheckError,
    registry,
    select,
    unknown,
)
from pytest_dlcheck.explanation import thresholds
from pytest_dlcheck.finding import Finding
from pytest_dlcheck.reports import journal, terminal
from pytest_dlcheck.reports.text import failures_text
from pytest_dlcheck.script import ScriptError, run_watched
from pytest_dlcheck.session import all_checks, judge_again
from pytest_dlcheck.watching import Watched


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pytest-dlcheck")
def main() -> None:
    """Find what breaks a PyTorch training silently. Recipes are run with: pytest --dlcheck."""


@main.command()
def checks() -> None:
    """List all checks, causes first."""
    names = all_checks()
    width = max(map(len, names))
    families = max(len(_family(registry()[name])) for name in names)
    for name in names:
        check = registry()[name]
        click.echo(f"{name:<{width}}  {_family(check):<{families}} {check.summary}")
    if any(registry()[name].family in OPT_IN for name in names):
        click.echo(f"\n* only where asked for by name: --dlcheck-select={DEFAULT},{max(OPT_IN)}")


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
    raise SystemExit(any(finding.fails for finding in findings))


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


@main.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("-m", "module", is_flag=True, help="SCRIPT is a module, as in python -m")
@click.option("--stop-after", type=click.IntRange(1), metavar="N", help="end after N optimizer steps")
@click.option(
    "--fail", is_flag=True, help="exit with 1 where a fault was found and the script ended well"
)
@click.argument("script")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def watch(
    script: str, arguments: tuple[str, ...], *, module: bool, stop_after: int | None, fail: bool
) -> None:
    """Run SCRIPT with its ARGUMENTS as python would, and say on stderr what is wrong with its training.

    Nothing in it has to change; its output, its exit code and its errors stay its own.
    """
    faulty = False

    def tell(seen: Watched) -> None:
        nonlocal faulty
        faulty = bool(seen.failures)
        if os.environ.get("RANK", "0") == "0":
            _print_seen(seen)

    try:
        status = run_watched(script, arguments, tell, module=module, stop_after=stop_after)
    except ScriptError as error:
        raise click.UsageError(str(error)) from None
    sys.exit(1 if fail and faulty and not status else status)


def _print_seen(seen: Watched) -> None:
    title = click.style(f"dlcheck watched {seen.name}", bold=True)
    click.echo(f"\n{title}: {seen.summary}", err=True)
    if text := failures_text(seen.failures):
        click.echo(text, err=True)
    for finding in seen.findings:
        for line in finding.verdict.advice if not finding.fails else ():
            click.echo(f"advice   {finding.recipe}::{finding.verdict.check}  {line}", err=True)


def _family(check: Check) -> str:
    return f"{check.family}*" if check.family in OPT_IN else check.family


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
