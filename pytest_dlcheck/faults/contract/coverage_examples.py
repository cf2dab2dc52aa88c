"""What is found of a parameter that an optimizer covers, to be spoilt by examples."""

from __future__ import annotations

from pytest_dlcheck.trace import Row


def row_of(name: str, order: int | None, *, optimizers: int = 1, gets_gradient: bool = True) -> Row:
    """The row of one parameter of the model."""
    return Row(
        name=name,
        module=name.rpartition(".")[0],
        shape="(10, 8)",
        origin="model",
        requires_grad=True,
        gets_gradient=gets_gradient,
        optimizers=optimizers,
        optimizer=0 if optimizers else None,
        one_loss=True,
        order=order,
    )
