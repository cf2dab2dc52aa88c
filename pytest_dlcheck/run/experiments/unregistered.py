"""Which leaves of the graph that train belong to no module?"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from pytest_dlcheck.run.attributes import Place, places
from pytest_dlcheck.run.experiment import Experiment
from pytest_dlcheck.run.graph import strangers
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.trace import Row


class Unregistered(Experiment):
    """Walks the graph to its leaves, and looks for those that no module knows in the model's attributes.

    Fills ``unregistered``: a first row with the number of leaves, then one row per leaf that no module
    and no optimizer knows, and per parameter that only an optimizer knows.
    """

    fact = "unregistered"

    def run(self, rig: Rig) -> Iterable[Row]:
        """The rows."""
        with rig.undisturbed():
            found = strangers(rig, rig.batch)
            again = strangers(rig, rig.batch)
        lasting = {key: leaf for key, leaf in found.items() if again.get(key) is leaf}
        held = _held(rig)
        rows = [_row(leaf, held.get(id(leaf)), optimized=False) for leaf in lasting.values()]
        outside = {n: p for n, p in rig.parameters.items() if n.startswith("optimizer")}
        rows += [_row(p, held[id(p)], optimized=True) for p in outside.values() if id(p) in held]
        rows.sort(key=lambda row: row.text("place"))
        return [Row(known=len(rig.parameters), fresh=len(found) - len(lasting)), *rows]


def _held(rig: Rig) -> dict[int, Place]:
    roots: list[tuple[str, nn.Module]] = [("", rig.model)]
    if rig.loss_module is not None:
        roots.append(("loss.", rig.loss_module))
    held: dict[int, Place] = {}
    for prefix, root in roots:
        for tensor, place in places(root):
            held.setdefault(id(tensor), Place(prefix + place.path, place.holder))
    return held


def _row(leaf: Tensor, place: Place | None, *, optimized: bool) -> Row:
    return Row(
        shape=str(tuple(leaf.shape)),
        numel=leaf.numel(),
        is_parameter=isinstance(leaf, nn.Parameter),
        place=None if place is None else place.path,
        holder=None if place is None else place.holder,
        optimized=optimized,
    )
