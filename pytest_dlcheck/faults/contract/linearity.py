"""What can be wrong where activations are missing, told as a fault. Thresholds are the check's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

_SHOWN = 3


def linear(whole: Row, pairs: Sequence[Row], bound: float) -> Fault:
    """A network that computes what one layer could."""
    first, second = whole.text("first"), whole.text("second")
    places = [(first, second), *((row.text("first"), row.text("second")) for row in pairs)]
    between = list(dict.fromkeys(places))
    return Fault(
        because=f"outputs at mixtures of two inputs are the mixtures of their outputs within "
        f"{whole.number('bend'):.1e} (a nonlinear network differs by {bound:.0e} or more): "
        f"{whole.integer('layers')} layers of weights do the work of one",
        suspects=[Suspect(a, f"nothing nonlinear between {a} and {b}") for a, b in between],
        cause=f"the whole network is linear in its input: no activation between {first} and {second}"
        + (f", nor in {len(between) - 1} more places" if len(between) > 1 else ""),
        remedy="put an activation (nn.ReLU(), nn.GELU()) after each hidden layer, or keep one layer",
        measures=(Measure("distance from linear", whole.number("bend"), "ratio", bound, ">="),),
    )


def advice(whole: Row, pairs: Sequence[Row], bound: float) -> Iterator[str]:
    """What to say of layers that one could replace, where that may be meant."""
    if not whole.number("bend") >= bound:
        why = "a recurrence" if whole.flag("recurrent") else f"the narrow {whole.text('narrow')}"
        count = whole.integer("layers")
        yield f"the network is linear in its input, all {count} layers: meant, by {why}?"
        return
    if whole.flag("only_pools"):
        count = whole.integer("layers")
        yield f"max pooling is the only nonlinearity in {count} layers: were the activations forgotten?"
    for row in pairs[:_SHOWN]:
        yield (
            f"nothing nonlinear between {row.text('first')} and {row.text('second')} "
            f"({row.integer('width')} wide): one layer could do what both do"
        )
