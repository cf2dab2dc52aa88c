"""``python -m pytest_dlcheck``: the command ``dlcheck``, for torchrun and the like."""

from pytest_dlcheck.cli import main

main(prog_name="dlcheck")
