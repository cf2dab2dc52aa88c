"""Which leaves of the graph that train belong to no module?"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterable

from torch import Tensor, nn

from pytest_dlcheck.run.experiment import Experiment
from pytest_dlcheck.run.modules.attributes import Place, places
from pytest_dlcheck.run.modules.creations import Creation, creations
from pytest_dlcheck.run.modules.freshness import is_untrained
from pytest_dlcheck.run.passes.first_pass import FirstPass, first_pass
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import tensors
from pytest_dlcheck.trace import Row


class Unregistered(Experiment):
    """Walks the graph to its leaves, and looks for those that no module knows in the model's attributes.

    Fills ``unregistered``: a first row with the number of leaves, then one row per leaf that no module
    and no optimizer knows, per parameter that only an optimizer knows, and per parameter that is made
    anew in every forward.
    """

    fact = "unregistered"

    def run(self, rig: Rig) -> Iterable[Row]:
        """The rows."""
        found = _strangers(rig, rig.first)
        made: list[Creation] = []
        again: dict[int, Tensor] = {}
        if found:
            with creations(rig.model) as made:
                again = _strangers(rig, first_pass(rig))
        lasting = {key: leaf for key, leaf in found.items() if again.get(key) is leaf}
        fresh = [leaf for leaf in again.values() if isinstance(leaf, nn.Parameter)]
        fresh = [leaf for leaf in fresh if id(leaf) not in lasting]
        held = _held(rig)
        rows = [_row(leaf, held.get(id(leaf)), optimized=False) for leaf in lasting.values()]
        outside = {n: p for n, p in rig.parameters.items() if n.startswith("optimizer")}
        rows += [_row(p, held[id(p)], optimized=True) for p in outside.values() if id(p) in held]
        rows += [_created(leaf, made) for leaf in fresh]
        rows.sort(key=lambda row: row.text("place"))
        summary = Row(
            known=len(rig.parameters), fresh=len(found) - len(lasting), repeated=_repeated(rig.model)
        )
        return [summary, *rows]


def _repeated(model: nn.Module) -> str:
    """The first list of layers that holds one layer with weights several times: ``"4 times in h"``."""
    for name, module in model.named_modules():
        if isinstance(module, (nn.ModuleList, nn.Sequential)):
            counts = Counter(id(child) for child in module if any(True for _ in child.parameters()))
            times = max(counts.values(), default=1)
            if times > 1:
                return f"{times} times in {name or 'model'}"
    return ""


def _strangers(rig: Rig, seen: FirstPass) -> dict[int, Tensor]:
    """Leaves that get a gradient and are known to no module, no optimizer and no batch."""
    known = {id(p) for p in rig.parameters.values()} | {id(t) for t in tensors(rig.batch)}
    return {id(leaf): leaf for _, found in seen.leaves() for leaf in found if id(leaf) not in known}


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
        untrained=is_untrained(leaf),
    )


def _created(leaf: nn.Parameter, made: list[Creation]) -> Row:
    known = next((one for one in made if one.parameter() is leaf), None)
    return Row(
        shape=str(tuple(leaf.shape)),
        numel=leaf.numel(),
        is_parameter=True,
        place=None if known is None or known.site is None else known.site or "model",
        holder=(known or Creation(weakref.ref(leaf), "nn.Parameter", "", None)).told(),
        optimized=False,
        created=True,
    )
