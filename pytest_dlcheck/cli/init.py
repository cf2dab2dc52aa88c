"""The command ``init``: a first recipe file."""

from __future__ import annotations

from pathlib import Path

import click

from pytest_dlcheck import scaffold


@click.command()
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
