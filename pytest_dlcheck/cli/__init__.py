"""The command ``dlcheck``: one module here per command or group of commands; each asks a room below."""

from __future__ import annotations

import click

from pytest_dlcheck.cli.checks import checks, explain
from pytest_dlcheck.cli.compare import compare
from pytest_dlcheck.cli.history import history
from pytest_dlcheck.cli.init import init
from pytest_dlcheck.cli.keeping import accept, merge, prune
from pytest_dlcheck.cli.look import wants_colour
from pytest_dlcheck.cli.report import report
from pytest_dlcheck.cli.watch import watch


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pytest-dlcheck")
@click.pass_context
def main(context: click.Context) -> None:
    """Find what breaks a PyTorch training silently. Recipes are run with: pytest --dlcheck."""
    context.color = wants_colour()


for command in (accept, checks, compare, explain, history, init, merge, prune, report, watch):
    main.add_command(command)
