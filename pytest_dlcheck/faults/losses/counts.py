"""Poisson likelihoods of what they are not made for, told as faults and advice."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_dlcheck.faults.losses.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure

_KIND = "poisson_nll_loss"


def of_counts(row: Row) -> Iterator[Fault]:
    """Rates taken for their logarithms, and negative numbers for rates.

    Args:
        row: what was read of the likelihood.
    """
    last = row.text("last").lower()
    if row.text("kind") == _KIND and row.flag("log_input"):
        yield Fault(
            "loss",
            f"a Poisson loss takes outputs of {last} for the logarithms of rates",
            f"log_input=True exponentiates what {last} has made rates already: activations are "
            "applied twice",
            f"pass log_input=False, or remove the {last} and exponentiate outputs when they are used",
            Measure("activations in a row", 2, "count", 1),
        )
    elif row.text("kind") == _KIND and row.number("least") < 0:
        least = row.number("least")
        yield Fault(
            "loss",
            f"a Poisson loss takes outputs for rates that go down to {least:.3g}",
            "log_input=False with outputs that may be negative, such as logarithms of rates",
            "pass log_input=True, or end the model in softplus or exp",
            Measure("least rate", least, "ratio", 0.0, ">="),
        )


def advice_on_counts(row: Row) -> Iterator[str]:
    """What may become negative, and has not yet."""
    if row.text("kind") == _KIND and not row.flag("log_input") and row.number("least") >= 0:
        yield (
            "a Poisson loss takes what a layer gives for rates (log_input=False): nothing keeps it "
            "above 0; pass log_input=True, or end the model in softplus or exp"
        )
