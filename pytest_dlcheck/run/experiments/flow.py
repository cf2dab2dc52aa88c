"""Where gradients do not arrive, and whether the values there reach the loss all the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from pytest_dlcheck.run.errors import CannotTellError
from pytest_dlcheck.run.experiment import Experiment
from pytest_dlcheck.run.losses.left_out import left_out
from pytest_dlcheck.run.passes.passage import Passage, Visit, differ, follow, objectives
from pytest_dlcheck.run.passes.perturbing import EXACT, NOISY, Zeros, are_close, perturbed
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.norms import norms
from pytest_dlcheck.trace import Row

TRIED = 16
"""Places that are perturbed at most, each for one forward pass."""
_CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.Sequential)
_FP16_SCALE = 2.0**10


@dataclass(frozen=True)
class Place:
    """Parameters, side by side, that fare alike: a whole module, or one parameter."""

    site: str
    state: str
    parameters: tuple[nn.Parameter, ...]
    module: nn.Module | None = None

    def holds(self, site: str) -> bool:
        """Whether a module is inside."""
        return self.module is not None and (not self.site or f"{site}.".startswith(f"{self.site}."))

    def is_inside(self, site: str) -> bool:
        """Whether a module is around it."""
        return not site or f"{self.site}.".startswith(f"{site}.")


class Flow(Experiment):
    """Fills ``flow``: a row for the loss, and one per place without gradient on the first batch.

    There the parameters are perturbed: where the loss changes although no gradient comes back, the
    graph is cut or the derivative is zero; where nothing changes, the place is not used. The cut lies
    before the first module that feels the perturbation and either trains or is fed without a graph.
    """

    fact = "flow"

    def run(self, rig: Rig) -> Iterable[Row]:
        """A row for the loss (site ``"loss"``) and a row per place."""
        if any(hasattr(m, "_orig_mod") for m in rig.model.modules()):
            raise CannotTellError("the model is compiled: the flow inside it is not observed")
        states, connected = _states(rig)
        yield Row(site="loss", state="connected" if connected else "cut", parameters=len(states))
        places = list(_places(rig, states))
        if not places:
            return
        base = follow(rig)
        zeros = Zeros(rig, [p for place in places if place.state == "zero" for p in place.parameters])
        for index, place in enumerate(places):
            row = _row(rig, place, base, states, tried=index < TRIED)
            product = zeros.product(place.parameters, base) if index < TRIED else ""
            yield Row(row, influences=True, product=product) if product else row


def _states(rig: Rig) -> tuple[dict[str, str], bool]:
    """``flows``, ``zero`` or ``absent`` for each trainable parameter, on the first batch."""
    trainable = {name: p for name, p in rig.parameters.items() if p.requires_grad}
    if rig.first is not None and rig.first.slopes is not None and rig.recipe.precision != "fp16-mixed":
        sizes = rig.first.slopes.norms
        return {name: _state(sizes.get(name)) for name in trainable}, True
    states = dict.fromkeys(trainable, "absent")
    scale = _FP16_SCALE if rig.recipe.precision == "fp16-mixed" else 1.0
    connected = False
    with rig.undisturbed():
        for optimizer, loss in objectives(rig):
            own = _own(optimizer)
            judged = {n: p for n, p in trainable.items() if own is None or id(p) in own}
            for parameter in rig.parameters.values():
                parameter.grad = None
            if loss.requires_grad:
                connected = True
                torch.autograd.backward(loss * scale)
            present = [(n, p.grad) for n, p in judged.items() if p.grad is not None]
            for (name, _), norm in zip(present, norms([g for _, g in present]), strict=True):
                if states[name] != "flows":
                    states[name] = _state(float(norm))
    return states, connected


def _state(size: float | None) -> str:
    """By the gradient's norm; None where there is no gradient."""
    if size is None:
        return "absent"
    return "zero" if size == 0 else "flows"


def _own(optimizer: object) -> set[int] | None:
    groups = getattr(optimizer, "param_groups", None)
    return None if groups is None else {id(p) for group in groups for p in group["params"]}


def _places(rig: Rig, states: dict[str, str]) -> Iterator[Place]:
    """The largest modules whose trainable parameters all fare alike, and single parameters."""
    names = {id(p): name for name, p in rig.parameters.items()}
    told: set[int] = set()

    def within(site: str, module: nn.Module) -> Iterator[Place]:
        mine = [p for p in module.parameters() if p.requires_grad]
        found = {states[names[id(p)]] for p in mine}
        if not mine or found == {"flows"}:
            return
        if len(found) == 1:
            told.update(map(id, mine))
            yield Place(site, found.pop(), tuple(mine), module)
            return
        for name, parameter in module.named_parameters(site, recurse=False):
            state = states[names[id(parameter)]] if parameter.requires_grad else "flows"
            if state != "flows" and id(parameter) not in told:
                told.add(id(parameter))
                yield Place(name, state, (parameter,))
        for name, child in module.named_children():
            yield from within(f"{site}.{name}" if site else name, child)

    yield from within("", rig.model)
    inside = {id(p) for p in rig.model.parameters()}
    for name, state in states.items():
        if state != "flows" and id(rig.parameters[name]) not in inside:
            yield Place(name, state, (rig.parameters[name],))


def _row(rig: Rig, place: Place, base: Passage, states: dict[str, str], *, tried: bool) -> Row:
    own = [visit for visit in base.visits if place.holds(visit.site)]
    facts: dict[str, str | int | bool | None] = {
        "site": place.site,
        "state": place.state,
        "type": type(place.module).__name__ if place.module is not None else "Parameter",
        "parameters": len(place.parameters),
        "called": len(own) if place.module is not None else None,
        "grad_off": bool(own) and not any(visit.grad_on for visit in own),
        "doubled": _doubled(rig.model, place, base),
        "copy_of": _copied(rig, place, states),
    }
    if not tried:
        return Row(facts, influences=None)
    with perturbed(place.parameters):
        moved = follow(rig)
    facts |= _spread(rig, place, _Pair(base, moved), states)
    meant = all(rig.is_frozen(name) for name in _names(rig, place))
    if place.state == "absent" and own and not facts["influences"] and not meant:
        facts["target"] = _target(rig, place)
    return Row(facts)


def _names(rig: Rig, place: Place) -> list[str]:
    mine = {id(p) for p in place.parameters}
    return [name for name, p in rig.parameters.items() if id(p) in mine]


def _target(rig: Rig, place: Place) -> str:
    """A target that the loss does not read either, where it is one for this place."""
    try:
        return "" if place.module is None else left_out(rig, place.module)
    except Exception:  # noqa: BLE001  the user's code may refuse other targets in any way
        return ""


@dataclass(frozen=True)
class _Pair:
    """The first batch's passage as it is, and with a place perturbed."""

    base: Passage
    moved: Passage


def _spread(rig: Rig, place: Place, pair: _Pair, states: dict[str, str]) -> dict[str, str | bool | None]:
    """How far a perturbation of the place is felt."""
    tolerance = EXACT if rig.device.type == "cpu" else NOISY
    before, alive = dict(pair.base.numbered()), _alive(rig, states)
    cut_before: Visit | None = None
    cut_after, returned, enclosed = "", False, False
    for key, visit in pair.moved.numbered():
        old = before.get(key)
        around = place.is_inside(visit.site) and not place.holds(visit.site)
        out = old is None or differ(old.outputs, visit.outputs, tolerance)
        if around:
            enclosed = True
            returned = returned or out or visit.opaque
            continue
        if cut_before is None and not place.holds(visit.site):
            fed = old is not None and differ(old.inputs, visit.inputs, tolerance)
            if fed and old is not None and (visit.site in alive or _is_blind(place, old)):
                cut_before = old
        if out and cut_before is None and not _has_children(rig.model, visit.site):
            cut_after = visit.site
    return {
        "influences": _influences(place, pair, tolerance),
        "returned": returned if enclosed else None,
        "cut_after": cut_after,
        "cut_before": cut_before.site if cut_before is not None else "",
        "blind": cut_before is not None and _is_blind(place, cut_before),
        "indices": cut_before is not None and cut_before.indices,
    }


def _is_blind(place: Place, visit: Visit) -> bool:
    return place.state == "absent" and not visit.needs_grad


def _alive(rig: Rig, states: dict[str, str]) -> set[str]:
    """The modules that hold a parameter with a gradient."""
    sites = [name for name, state in states.items() if state == "flows"]
    return {
        site
        for site, _ in rig.model.named_modules()
        if any(not site or name.startswith(f"{site}.") for name in sites)
    }


def _influences(place: Place, pair: _Pair, tolerance: float) -> bool:
    mine = {id(p) for p in place.parameters}
    for (optimizer, one), (_, other) in zip(pair.base.losses, pair.moved.losses, strict=False):
        own = _own(optimizer)
        if (own is None or own & mine) and not are_close(one, other, tolerance):
            return True
    return False


def _has_children(model: nn.Module, site: str) -> bool:
    return next(model.get_submodule(site).children(), None) is not None


def _doubled(model: nn.Module, place: Place, base: Passage) -> str:
    """A sister of a module that is never called, which is called twice instead."""
    parent_site, _, own_name = place.site.rpartition(".")
    if place.module is None or not own_name or any(place.holds(v.site) for v in base.visits):
        return ""
    parent = model.get_submodule(parent_site)
    rounds = base.calls.get(parent_site, 0)
    if isinstance(parent, _CONTAINERS) or not rounds:
        return ""
    for name, sister in parent.named_children():
        site = f"{parent_site}.{name}" if parent_site else name
        if sister is place.module or _form(sister) != _form(place.module):
            continue
        if base.calls.get(site, 0) >= 2 * rounds:
            return site
    return ""


def _form(module: nn.Module) -> tuple[object, ...]:
    return type(module), tuple((n, tuple(p.shape)) for n, p in module.named_parameters())


def _copied(rig: Rig, place: Place, states: dict[str, str]) -> str:
    """A module that trains and holds nearly the same values: the place is its target network."""
    if place.module is None:
        return ""
    names: dict[int, str] = {id(p): name for name, p in rig.parameters.items()}
    site: str
    for site, module in rig.model.named_modules():
        if module is place.module or _form(module) != _form(place.module):
            continue
        pairs = zip(module.parameters(), place.module.parameters(), strict=True)
        trains = any(states.get(names[id(p)]) == "flows" for p in module.parameters())
        if trains and all(a is not b and torch.allclose(a, b, rtol=1e-2) for a, b in pairs):
            return site
    return ""
