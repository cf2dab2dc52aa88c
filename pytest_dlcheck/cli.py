"""The command ``dlcheck``: what the checks are and why they decide as they do."""

from __future__ import annotations

from inspect import cleandoc

import click

from pytest_dlcheck.check import UnknownCheckError, registry, select
from pytest_dlcheck.session import all_checks


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
