"""The command ``watch``: a user's script, run as python would, with its training watched."""

from __future__ import annotations

import os
import sys

import click

from pytest_dlcheck.reports.text import failures_text, shown
from pytest_dlcheck.script import ScriptError, run_watched
from pytest_dlcheck.verdict import Outcome
from pytest_dlcheck.watching import Watched

_WORDS = {Outcome.PASSED: "ok", Outcome.INCONCLUSIVE: "open", Outcome.NOT_APPLICABLE: "n/a"}
_ORDER = tuple(_WORDS)


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("-m", "module", is_flag=True, help="SCRIPT is a module, as in python -m")
@click.option("--stop-after", type=click.IntRange(1), metavar="N", help="end after N optimizer steps")
@click.option(
    "--fail", is_flag=True, help="exit with 1 where a fault was found and the script ended well"
)
@click.option("-v", "--verbose", is_flag=True, help="list also what passed, and what could not be told")
@click.argument("script")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def watch(
    script: str,
    arguments: tuple[str, ...],
    *,
    module: bool,
    stop_after: int | None,
    fail: bool,
    verbose: bool,
) -> None:
    """Run SCRIPT with its ARGUMENTS as python would, and say on stderr what is wrong with its training.

    Nothing in it has to change; its output, its exit code and its errors stay its own.
    """
    faulty = False

    def tell(seen: Watched) -> None:
        nonlocal faulty
        faulty = bool(seen.failures)
        if os.environ.get("RANK", "0") == "0":
            _print_seen(seen, verbose=verbose)

    try:
        status = run_watched(script, arguments, tell, module=module, stop_after=stop_after)
    except ScriptError as error:
        raise click.UsageError(str(error)) from None
    sys.exit(1 if fail and faulty and not status else status)


def _print_seen(seen: Watched, *, verbose: bool) -> None:
    title = click.style(f"dlcheck watched {seen.name}", bold=True)
    click.echo(f"\n{title}: {seen.summary}", err=True)
    if text := failures_text(seen.failures):
        click.echo(text, err=True)
    others = [finding for finding in seen.findings if seen.is_trained and not finding.fails]
    for finding in sorted(others, key=lambda f: _ORDER.index(f.verdict.outcome)) if verbose else ():
        verdict = finding.verdict
        because = shown(verdict.because).partition("\n")[0]
        click.echo(f"{_WORDS[verdict.outcome]:<9}{finding.recipe}::{verdict.check}  {because}", err=True)
    for finding in others:
        for line in finding.verdict.advice:
            click.echo(f"advice   {finding.recipe}::{finding.verdict.check}  {line}", err=True)
