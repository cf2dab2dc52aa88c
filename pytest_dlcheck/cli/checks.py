"""The commands ``checks`` and ``explain``: what the checks are and why they decide as they do."""

from __future__ import annotations

from inspect import cleandoc
from textwrap import indent

import click

from pytest_dlcheck.check import DEFAULT, OPT_IN, Check, UnknownCheckError, registry, select
from pytest_dlcheck.explanation import thresholds
from pytest_dlcheck.session import all_checks


@click.command()
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


@click.command()
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


def _family(check: Check) -> str:
    return f"{check.family}*" if check.family in OPT_IN else check.family
