"""A row, as those of a model's own parameters, of one that losses reach and no optimizer steps."""

from __future__ import annotations

from torch import nn

from pytest_dlcheck.run.modules.freshness import is_untrained
from pytest_dlcheck.trace import Row, Scalar


def of_nobody(name: str, parameter: nn.Parameter, origin: str, **more: Scalar) -> Row:
    """What is known of it.

    Args:
        name: where it stands, with dots.
        parameter: which.
        origin: whose it is, in words.
        more: what else is told of it.
    """
    return Row(
        name=name,
        module=name.rpartition(".")[0],
        shape=str(tuple(parameter.shape)),
        numel=parameter.numel(),
        origin=origin,
        requires_grad=True,
        gets_gradient=True,
        declared_frozen=False,
        optimizers=0,
        optimizer=None,
        asked=True,
        one_loss=True,
        order=None,
        layer=False,
        untrained=is_untrained(parameter),
        **more,
    )
