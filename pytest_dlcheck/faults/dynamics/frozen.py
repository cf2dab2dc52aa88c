"""What a trace says of frozen parts: which they are, what moved them, and what is wasted on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.verdict import Measure, Suspect


def matches_nothing(row: Row) -> bool:
    """Whether a pattern stands for no parameter and no buffer."""
    return row.integer("parameters") == 0 and row.integer("buffers") == 0


def unmatched(row: Row) -> Suspect:
    """A pattern that protects nothing."""
    near = f"did you mean {row.text('nearest')!r}?" if row.text("nearest") else "correct the name"
    return Suspect(row.text("pattern"), "matches 0 parameters or buffers", near)


def only_said(trace: Trace) -> Fault | None:
    """An attribute of a module says that it does not require grad, and all that is in it trains."""
    rows = [row for row in trace.rows("frozen_flags") if row.integer("changed")]
    if not rows:
        return None
    changed, count = (sum(row.integer(key) for row in rows) for key in ("changed", "parameters"))
    names = [row.text("name") or "model" for row in rows]
    remedy = f"call {names[0]}.requires_grad_(False), the method with an underscore"
    return Fault(
        because=(
            f"{names[0]}.requires_grad is False, and {changed} of {count} parameters in it changed "
            "(0 expected)"
        ),
        measures=(Measure("parameters changed in modules said to be frozen", changed, "count", 0),),
        suspects=[
            Suspect(name, f"{row.text('type')} with an attribute requires_grad = False", remedy)
            for name, row in zip(names, rows, strict=True)
        ],
        cause="requires_grad = False on a module sets an attribute that nothing reads",
        remedy=remedy,
    )


def frozen_parameters(trace: Trace) -> list[Row]:
    """Those declared, and those without grad unless they are written by hand."""
    return [
        row
        for row in trace.rows("parameters")
        if row.flag("declared_frozen") or not (row.flag("requires_grad") or _by_hand(row, trace))
    ]


def _by_hand(row: Row, trace: Trace) -> bool:
    moved_by_optimizer = row.integer("optimizers") and _has_gradient(trace, row.text("name"))
    return row.flag("changed") and not moved_by_optimizer


def _has_gradient(trace: Trace, name: str) -> bool:
    gradients = trace.matrix("gradient_norm")
    return name in gradients.sites and any(g is not None for g in gradients.column(name))


def moved(row: Row, trace: Trace) -> Suspect | None:
    """A frozen parameter that changed, and who moved it; None where it did not."""
    name = row.text("name")
    if not row.flag("changed"):
        return None
    if row.flag("requires_grad") and row.integer("optimizers"):
        why = "it changed: it still requires grad, and an optimizer holds it"
        return Suspect(name, why, "call requires_grad_(False) on it before building the optimizer")
    if row.integer("optimizers") and _has_gradient(trace, name):
        why = "it changed: its optimizer moves it by an old gradient, momentum or weight decay"
        return Suspect(name, why, "leave it out of the optimizer, or set its .grad to None")
    why = "it changed, though no optimizer moves it: it is written by hand"
    return Suspect(name, why, "look for what assigns to it or to its .data")


def frozen_buffers(trace: Trace) -> list[Row]:
    """Those that are declared, and those of frozen modules that began in eval mode."""
    averaged = {
        row.text("name").rpartition(".")[0]
        for row in trace.rows("parameters")
        if not row.flag("requires_grad") and _by_hand(row, trace)
    }
    return [
        row
        for row in trace.rows("buffers")
        if (row.flag("declared_frozen") and not _is_drift(row))
        or (
            row.flag("owner_frozen")
            and row.get("owner_training") is False
            and row.text("name").rpartition(".")[0] not in averaged
        )
    ]


def _is_drift(row: Row) -> bool:
    """Whether it is a statistic of a normalisation that was left in train mode: common, and advice."""
    return row.flag("owner_training") and "Norm" in row.text("module")


def frozen_later(trace: Trace) -> int:
    """Parameters of normalisations that were frozen under way and run in train mode."""
    return sum(row.integer("parameters") for row in trace.rows("frozen_later"))


def drifted(row: Row) -> Suspect:
    """A frozen buffer that changed."""
    owner = row.text("name").rpartition(".")[0] or "the model"
    why = f"it changed: {owner} ({row.text('module')}) ran in train mode"
    remedy = f"call {owner}.eval() after every model.train(), for example in the model's own train()"
    return Suspect(row.text("name"), why, remedy)


def wasted(frozen: Iterable[Row], trace: Trace) -> Iterable[str]:
    """Advice on frozen parameters that still get gradients."""
    names = [
        row.text("name")
        for row in frozen
        if row.flag("requires_grad")
        and not row.flag("changed")
        and _has_gradient(trace, row.text("name"))
    ]
    if names:
        yield (
            f"{len(names)} frozen parameters, such as {names[0]}, still get gradients that nobody "
            "uses: call requires_grad_(False) to save the time"
        )


def drifting(trace: Trace) -> Iterable[str]:
    """Advice on statistics of frozen modules that run in train mode."""
    owners: Mapping[str, None] = dict.fromkeys(
        row.text("name").rpartition(".")[0]
        for row in trace.rows("buffers")
        if (row.flag("owner_frozen") or row.flag("declared_frozen"))
        and row.flag("changed")
        and row.flag("owner_training")
    )
    owners = dict.fromkeys([*owners, *(row.text("name") for row in trace.rows("frozen_later"))])
    if owners:
        yield (
            f"{len(owners)} frozen modules, such as {next(iter(owners))}, run in train mode and "
            "change their running statistics: call .eval() on them if they are to stay as they are"
        )
