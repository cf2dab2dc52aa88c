"""The classes' weights in a recipe's loss beside how often they occur: in a batch, then in the data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import Tensor

from pytest_dlcheck.run.contents.places import places
from pytest_dlcheck.run.data.samples import look
from pytest_dlcheck.run.errors import CannotTellError
from pytest_dlcheck.run.losses.calls import LossCall
from pytest_dlcheck.run.losses.class_weights import of_call
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.trace import Row


def weights_that_are_shares(rig: Rig, calls: Iterable[LossCall]) -> Iterator[Row]:
    """A row for each loss whose weights are the shares of its classes.

    The batch is asked first: a sampler may have made classes even that are not so in the data, and
    weights may restore that on purpose. Where it says so, the samples that were looked at decide.
    """
    for call in calls:
        weighed = of_call(call)
        row = None if weighed is None else weighed.row()
        if row is None:
            continue
        known = _targets(rig)
        of_all = None if known is None else of_call(call, known)
        if of_all is None:
            yield row
        elif (told := of_all.row()) is not None:
            yield told


def _targets(rig: Rig) -> Tensor | None:
    """Those of all samples that were looked at, where each has one."""
    try:
        found = [place.values for place in places(rig, look(rig)) if place.is_target]
    except CannotTellError:
        return None
    return found[0] if len(found) == 1 else None
