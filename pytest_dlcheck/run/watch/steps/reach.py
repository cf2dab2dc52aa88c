"""Whom the gradients of a watched training reached, held against its optimizer and its calls."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from pytest_dlcheck.run.modules.freshness import is_untrained
from pytest_dlcheck.run.tensors.memory import twins_of
from pytest_dlcheck.run.watch.models.flows import Flow, Flows
from pytest_dlcheck.run.watch.models.visits import Visits
from pytest_dlcheck.run.watch.scene import Scene
from pytest_dlcheck.trace import Matrix, Row


def coverage(scene: Scene, stepped: set[int], norms: object) -> tuple[Row, ...]:
    """A row per parameter of the root and the optimizer, as the experiment of that name has them."""
    reached = _reached(norms) - {
        name for name, p in scene.parameters.items() if id(p) not in stepped and _is_left(name, p, norms)
    }
    own = {id(p) for p in scene.model.parameters()}
    beside = {id(p) for module in scene.beside.values() for p in module.parameters()}
    twins = twins_of(scene.parameters)
    return tuple(
        Row(
            name=name,
            module=name.rpartition(".")[0],
            shape=str(tuple(p.shape)),
            numel=p.numel(),
            origin="model" if id(p) in own else "another model" if id(p) in beside else "optimizer",
            requires_grad=p.requires_grad,
            gets_gradient=name in reached,
            declared_frozen=False,
            optimizers=int(id(p) in stepped),
            optimizer=0 if id(p) in stepped else None,
            asked=True,
            one_loss=True,
            order=index if id(p) in own else None,
            layer=False,
            untrained=is_untrained(p),
            memory_of=twins.get(name),
        )
        for index, (name, p) in enumerate(scene.parameters.items(), 1)
    )


def places(scene: Scene, norms: object, visits: Visits, flows: Flows) -> tuple[Row, ...]:
    """Where no gradient arrives: modules whose parameters had none in any step, or exactly zero in all.

    With their calls. A module is cut that is called in the forward that trains and only ever with
    gradients off, and one whose result is given on into such a forward without its graph.
    """
    fates = _fates(norms)
    rows = [Row(site="loss", state="connected", parameters=len(scene.parameters))]
    if set(fates.values()) == {"zero"}:
        return (*rows, Row(site="", state="zero", type=type(scene.model).__name__, called=1))
    starved = ", ".join(name for name, _ in _modules(scene) if _is_starved(name, fates))
    done: list[str] = []
    for name, module in _modules(scene):
        held = [f"{name}.{n}" if name else n for n, _ in module.named_parameters()]
        inside = any(not outer or name.startswith(f"{outer}.") for outer in done)
        found = {fates.get(n, "absent") for n in held}
        if inside or len(found) != 1 or "flows" in found:
            continue
        done.append(name)
        is_zero = "zero" in found
        if is_zero:
            rows.append(_still(name, module, visits, starved))
        else:
            rows.append(_place(name, module, visits, flows))
    return tuple(rows)


def _modules(scene: Scene) -> Iterator[tuple[str, nn.Module]]:
    """All modules that hold what is stepped, by name."""
    yield from scene.model.named_modules()
    for name, module in scene.beside.items():
        yield from module.named_modules(prefix=name)


def _place(name: str, module: nn.Module, visits: Visits, flows: Flows) -> Row:
    calls, without = _calls(module, visits)
    flow = flows.of(module)
    is_off = flow is not None and bool(flow.without) and not flow.detached
    grad_off = calls == without and (bool(calls) or is_off)
    detached = not grad_off and flow is not None and bool(flow.detached)
    return Row(
        site=name,
        state="absent",
        type=type(module).__name__,
        called=calls + (flow.without if is_off and flow and not calls else 0),
        returned=True,
        influences=True if grad_off or detached else None,
        grad_off=grad_off,
        detached=detached,
        aside=not calls and visits.are_aside(module),
        given_to=_consumers(flow) if detached and flow else "",
        line=flow.line if flow else visits.line_of(module),
    )


def _is_starved(name: str, fates: dict[str, str]) -> bool:
    """Whether a layer learns its bias, and its weights have no gradient: it is given zeros alone."""
    weight, bias = (f"{name}.{part}" if name else part for part in ("weight", "bias"))
    return fates.get(weight) == "zero" and fates.get(bias) == "flows"


def _still(name: str, module: nn.Module, visits: Visits, starved: str) -> Row:
    """A module whose own gradients are zero: whether on purpose is not known, unless others starve."""
    calls, _ = _calls(module, visits)
    own = Row(site=name, state="zero", type=type(module).__name__, called=calls, at_its_own=True)
    biased = any(p.dim() <= 1 for p in module.parameters())  # else it may be given zeros itself
    return Row(own, starved=starved) if starved and calls and biased else own


def _consumers(flow: Flow) -> str:
    return ", ".join(type(module).__name__ for module in flow.into())


def _calls(module: nn.Module, visits: Visits) -> tuple[int, int]:
    """Calls of a module, or of what it holds where it is a mere container."""
    found = [visits.of(part) for part in module.modules()]
    return sum(calls for calls, _ in found), sum(without for _, without in found)


def _is_left(name: str, parameter: nn.Parameter, norms: object) -> bool:
    """Whether a gradient of an earlier training lies there still, and no backward has come since."""
    if not parameter.requires_grad:
        return True
    if not isinstance(norms, Matrix):
        return False
    found = [value for site, values in norms.columns() if site == name for value in values]
    return len(found) > 1 and len(set(found)) == 1


def _fates(norms: object) -> dict[str, str]:
    """Of each parameter that had a gradient in any recorded step: ``flows``, or ``zero`` in all."""
    if not isinstance(norms, Matrix):
        return {}
    known = ((site, [v for v in values if v is not None]) for site, values in norms.columns())
    return {site: "flows" if any(values) else "zero" for site, values in known if values}


def _reached(norms: object) -> set[str]:
    """The parameters that had a gradient in any recorded step."""
    return set(_fates(norms))
