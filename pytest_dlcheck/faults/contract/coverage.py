"""How optimizers and a model miss each other, told as faults. Whether by mistake is the check's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

_REBUILD = "build the optimizer after the last change of the model's modules, over this very model"
_ADD = "add it to the optimizer, or freeze it on purpose: requires_grad_(False), frozen=[...]"
_RENEW = "build the optimizer anew when a part is replaced, or give it the new one: add_param_group"
_ONE = "give each parameter to one optimizer"
_THAW = "requires_grad_(True) there, or leave it out of the optimizer and declare frozen="


def is_left_out(row: Row) -> bool:
    """Whether it gets a gradient and no optimizer holds it."""
    wanted = row.flag("gets_gradient") and not row.flag("declared_frozen")
    return wanted and not row.integer("optimizers") and row.text("origin") != "optimizer"


def is_stale(row: Row) -> bool:
    """Whether only an optimizer knows it: no module holds it and the loss does not reach it."""
    waits = row.flag("asked") and row.flag("requires_grad") and not row.flag("gets_gradient")
    return waits and row.text("origin") == "optimizer"


def is_stepped_twice(row: Row) -> bool:
    """Whether several optimizers step on it for one loss."""
    return row.integer("optimizers") > 1 and row.flag("one_loss") and row.flag("gets_gradient")


def are_beside_layers(rows: Sequence[Row], left_out: Sequence[Row]) -> bool:
    """Whether all layers are held, and left out is only what stands beside them, such as a temperature.

    Features may be extracted by whole layers that do not train, not by such.
    """
    layers = [row for row in rows if row.flag("layer") and row.flag("gets_gradient")]
    return bool(layers) and not any(row.flag("layer") for row in left_out) and all(
        row.integer("optimizers") for row in layers
    )  # fmt: skip


def swallowed(rows: Sequence[Row]) -> list[Row]:
    """What an optimizer steps on its loss, and another, which holds all of that and more, on another.

    Two optimizers may share a trunk; one that also holds the whole of the other's was given too much.
    """
    held: dict[str, set[str]] = {}
    for row in rows:
        for index in row.text("held_by").split():
            held.setdefault(index, set()).add(row.text("name"))
    pairs = {(a, b) for a in held for b in held if held[a] < held[b]}
    return [row for row in rows if any({a, b} <= set(row.text("stepped_by").split()) for a, b in pairs)]


def stepped_against(rows: Sequence[Row], shared: list[Row]) -> Fault:
    """An optimizer that was given another one's parameters too."""
    counts = {i: sum(i in row.text("held_by").split() for row in rows) for i in _holders(shared)}
    greedy = max(counts, key=lambda index: counts[index])
    finding = f"optimizer {greedy} steps on it as well, on a loss of its own"
    remedy = f"give optimizer {greedy} the parameters of its own network alone"
    return Fault(
        f"{len(shared)} parameters are stepped by 2 optimizers on different losses (bound 0), one of "
        "which holds all that the other holds",
        measures=(Measure("parameters stepped on several losses", len(shared), "count", 0),),
        suspects=[Suspect(site, finding, remedy) for site in _sites(rows, shared)],
        cause=f"optimizer {greedy} holds the parameters of the other network too",
        remedy=remedy,
    )


def _holders(rows: Sequence[Row]) -> set[str]:
    return {index for row in rows for index in row.text("stepped_by").split()}


def is_frozen(row: Row) -> bool:
    """Whether it is in an optimizer that cannot move it, as a part of a layer that was not declared."""
    held = bool(row.integer("optimizers")) and not row.flag("requires_grad")
    return held and row.flag("layer") and not row.flag("declared_frozen")


def idle_optimizer(rows: Sequence[Row]) -> list[Row]:
    """The parameters of the first optimizer that holds frozen ones only."""
    held = [row for row in rows if row.integer("optimizers")]
    for index in {row.integer("optimizer") for row in held}:
        own = [row for row in held if row.integer("optimizer") == index]
        if not any(row.flag("requires_grad") or row.flag("gets_gradient") for row in own):
            return own
    return []


def missed(rows: Sequence[Row], left_out: list[Row], stale: list[Row]) -> Fault:
    """Parameters in no optimizer, or an optimizer over what is not the model."""
    sites = _sites(rows, left_out)
    names = ", ".join(_called(rows, site) for site in sites[:3])
    if stale and any(row.integer("optimizers") and row.text("origin") == "model" for row in rows):
        cause = f"the optimizer was built before {names or 'a module'} was replaced"
    elif stale:
        cause = "the optimizer was built over another copy of the model"
    else:
        cause = f"left out when the optimizer was built: {names}"
    remedy = _REBUILD if stale else _ADD
    finding = "gets a gradient and is in no optimizer"
    suspects = [Suspect(site, f"{_called(rows, site)} {finding}", remedy) for site in sites]
    for row in stale:
        finding = f"stale: {row.text('shape')}, in no module, never reached"
        suspects.append(Suspect(row.text("name"), finding, remedy))
    reached = sum(row.flag("gets_gradient") for row in rows)
    story = f"{len(left_out)} of {reached} parameters that get a gradient are in no optimizer (bound 0)"
    if stale:
        story += f", and {len(stale)} in the optimizer belong to no module"
    if not reached:
        story = f"{len(stale)} parameters in the optimizer are in no module, and unreached (bound 0)"
    return Fault(
        story,
        measures=(
            Measure("parameters that get a gradient in no optimizer", len(left_out), "count", 0),
            Measure("stale parameters in optimizers", len(stale), "count", 0),
        ),
        suspects=suspects,
        cause=cause,
        remedy=remedy,
    )


def came_late(rows: Sequence[Row], share: float) -> Fault | None:
    """Parts that a model got while an optimizer stepped it, and that nothing steps; None where none.

    Such as are fixed on purpose were trained before; a freshly drawn one, one of which that cannot
    be told in the place of another, or one that has the numbers of what it replaces, was to be trained.

    Args:
        rows: all of the model's.
        share: of the new weights that must look freshly drawn (ratio).
    """
    late = [row for row in rows if row.flag("came_late")]
    told = [row for row in late if row.get("untrained") is not None]
    takes_a_place = not told and any(row.flag("replaces") for row in late)
    if not (are_untrained(late, share) or takes_a_place or _go_on(late)):
        return None
    sites, left = _sites(rows, late), late[0].integer("left")
    names = ", ".join(_called(rows, site) for site in sites[:3])
    reached = sum(row.flag("gets_gradient") for row in rows)
    story = (
        f"{len(late)} of {reached} parameters that get a gradient are in no optimizer (bound 0): "
        f"{names} came into the model while it was trained"
    )
    if left:
        story += f", and the optimizer holds {left} parameters that are the model's no more"
    finding = "new in the model, gets a gradient and is in no optimizer: it stays as it is"
    return Fault(
        story,
        measures=(
            Measure("new parameters that get a gradient in no optimizer", len(late), "count", 0),
            Measure("parameters in the optimizer that are the model's no more", left, "count", 0),
        ),
        suspects=[Suspect(site, finding, _RENEW) for site in sites],
        cause=_put_in_late(names, left),
        remedy=_RENEW,
    )


def _put_in_late(names: str, left: int) -> str:
    """Why they are in no optimizer: something was replaced by them, or nothing was."""
    were = "were" if "," in names else "was"
    if not left:
        return f"{names} {were} put into the model after the optimizer was built: it does not hold them"
    return (
        f"{names} {were} replaced in the model (re-created) after the optimizer was built, which holds, "
        "and steps, the old parameters"
    )


def _go_on(late: Sequence[Row]) -> bool:
    """Whether they have the numbers of what was in their place, as a table has that was made larger."""
    told = [row.flag("goes_on") for row in late if row.get("goes_on") is not None]
    return bool(told) and all(told)


def are_untrained(rows: Sequence[Row], share: float) -> bool:
    """Whether at least this share of those of which it can be told are as they were initialised."""
    told = [row.flag("untrained") for row in rows if row.get("untrained") is not None]
    return bool(told) and sum(told) >= share * len(told)


def is_hidden(row: Row) -> bool:
    """Whether it is a layer of a model that calls it and does not know it."""
    return bool(row.text("within"))


def hidden(rows: Sequence[Row], found: Sequence[Row]) -> Fault:
    """Layers that a model calls, and that none of its modules holds."""
    host = found[0].text("within")
    kinds = list(dict.fromkeys(row.text("name").partition(".")[0] for row in found))
    reached = sum(row.flag("gets_gradient") for row in rows)
    remedy = (
        "hold them in nn.ModuleList or nn.ModuleDict; to leave them as they are, requires_grad_(False)"
    )
    finding = f"called within {host}, in none of its modules: untrained, and it stays so"
    return Fault(
        f"{len(found)} of {reached} parameters that get a gradient are in no optimizer (bound 0), in "
        f"layers that {host} calls and that are none of its submodules",
        measures=(Measure("parameters of layers that no module holds", len(found), "count", 0),),
        suspects=[Suspect(kind, finding, remedy) for kind in kinds],
        cause=f"layers of {host} are kept in a plain list, dict or object, which registers nothing",
        remedy=remedy,
    )


def overlap(rows: Sequence[Row]) -> Fault | None:
    """Parameters that are stepped more than once; None where none is."""
    if twice := [row for row in rows if is_stepped_twice(row)]:
        return stepped_twice(rows, twice)
    if found := torn(rows):
        return stepped_in_one_memory(found)
    shared = swallowed(rows)
    return stepped_against(rows, shared) if shared else None


def torn(rows: Sequence[Row]) -> list[Row]:
    """Trained parameters that lie in the memory of another trained one, and are not that one."""
    trained = {r.text("name") for r in rows if r.flag("gets_gradient") and r.integer("optimizers")}
    return [r for r in rows if {r.text("name"), r.text("memory_of")} <= trained]


def stepped_in_one_memory(found: list[Row]) -> Fault:
    """Weights that were tied by their numbers and not by the parameter."""
    pairs = [(row.text("name"), row.text("memory_of")) for row in found]
    remedy = "tie the parameter itself: head.weight = embedding.weight, without .data or nn.Parameter"
    return Fault(
        f"{len(found)} parameters lie in the memory of another one (bound 0): each step moves these "
        "numbers twice, by two halves of their gradient",
        measures=(Measure("parameters in the memory of another", len(found), "count", 0),),
        suspects=[
            Suspect(a, f"another parameter than {b}, in the same memory", remedy) for a, b in pairs
        ],
        cause=f"{pairs[0][0]} and {pairs[0][1]} share their memory, but are two parameters: not tied",
        remedy=remedy,
    )


def stepped_twice(rows: Sequence[Row], twice: list[Row]) -> Fault:
    """Optimizers that overlap."""
    finding = "two optimizers step on it for one loss"
    return Fault(
        f"{len(twice)} parameters are in more than one optimizer (bound 0)",
        measures=(Measure("parameters in several optimizers", len(twice), "count", 0),),
        suspects=[Suspect(site, finding, _ONE) for site in _sites(rows, twice)],
        cause="optimizers overlap: every step updates these parameters twice",
        remedy=_ONE,
    )


def frozen(rows: list[Row], cause: str) -> Fault:
    """Parameters that an optimizer holds and cannot move."""
    finding = "requires_grad=False in an optimizer"
    return Fault(
        f"{len(rows)} parameters are in an optimizer and frozen (bound 0)",
        measures=(Measure("frozen parameters in optimizers", len(rows), "count", 0),),
        suspects=[Suspect(row.text("name"), finding, _THAW) for row in rows],
        cause=cause,
        remedy=_THAW,
    )


def advice_on(rows: Sequence[Row], left_out: list[Row]) -> Iterator[str]:
    """What is suspicious, but can be meant: features that are extracted, layers that are frozen."""
    held = [row for row in rows if is_frozen(row)]
    for chosen, what in (
        (left_out, "get a gradient but are in no optimizer"),
        (held, "are in an optimizer though frozen"),
    ):
        if chosen:
            names = ", ".join(_called(rows, site) for site in _sites(rows, chosen)[:5])
            yield f"{len(chosen)} parameters {what}: {names}"
    if tables := _random_tables(rows):
        names = ", ".join(row.text("name") for row in tables)
        yield (
            f"{names} is frozen, and holds random numbers: is it meant never to train? "
            "nn.Embedding.from_pretrained freezes unless freeze=False; declare frozen= where it is meant"
        )


def _random_tables(rows: Sequence[Row]) -> list[Row]:
    """Embeddings of random numbers that are frozen, where nothing else is."""
    still = [r for r in rows if not r.flag("requires_grad") and not r.flag("declared_frozen")]
    return still if all(row.flag("random_table") for row in still) else []


def _sites(rows: Sequence[Row], chosen: list[Row]) -> list[str]:
    """The chosen parameters, by the deepest modules that hold them and none that fares otherwise."""
    names = [row.text("name") for row in chosen]
    others = {row.text("name") for row in rows if row.flag("gets_gradient")} - set(names)
    inside: dict[str, list[list[str]]] = {}
    for name in names:
        outermost = _outermost(name, others)
        inside.setdefault(outermost or name, []).append(name.split(".")[: -1 if outermost else None])
    return [".".join(_common(paths)) for paths in inside.values()]


def _called(rows: Sequence[Row], site: str) -> str:
    """A site in words: a bare number says nothing without its module's kind and shape."""
    inside = [row for row in rows if row.text("module") == site and row.text("owner")]
    if not site.rpartition(".")[2].isdecimal() or not inside:
        return site
    return f"`{site}` ({inside[0].text('owner')}, {inside[0].text('shape')})"


def _common(paths: list[list[str]]) -> list[str]:
    """What all paths begin with."""
    steps = zip(*paths, strict=False)  # as far as the shortest goes
    return [names[0] for names in takewhile(lambda names: len(set(names)) == 1, steps)]


def _outermost(name: str, others: set[str]) -> str:
    """The outermost module around a parameter that holds no other; empty where there is none.

    The loss is none: what it holds are not the layers of a model.
    """
    parts = name.split(".")
    for depth in range(1, len(parts)):
        module = ".".join(parts[:depth])
        if module != "loss" and not any(other.startswith(f"{module}.") for other in others):
            return module
    return ""
