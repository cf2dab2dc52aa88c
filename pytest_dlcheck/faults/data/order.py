"""An order of samples that is no shuffle, told in words. Whether it is a fault: the check's."""

from __future__ import annotations

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

_SHUFFLE = "DataLoader(..., shuffle=True), and permute batches that are cut beforehand"


def agreement(row: Row, bound: float) -> Measure:
    """How much more often than by chance two samples of a batch have one label."""
    return Measure("agreement within a batch beyond chance", row.number("excess"), "ratio", bound)


def told(row: Row, bound: float) -> str:
    """The agreement, beside what chance would have it, and its bound."""
    return (
        f"two samples of a batch have the same label {row.number('agree'):.0%} of the time, "
        f"{row.number('chance'):.0%} by chance: {row.number('excess'):.2f} of the way to batches of "
        f"one label (bound {bound:g})"
    )


def ascent(row: Row, bound: float) -> Measure:
    """How much of the way targets go in one direction."""
    return Measure(
        "neighbours in ascending or in descending order", row.number("one_way"), "ratio", bound
    )


def by_class(row: Row, bound: float) -> Fault:
    """Samples that come sorted by class, or in long runs of one."""
    return Fault(
        told(row, bound),
        (agreement(row, bound),),
        [
            Suspect(
                "data",
                f"{_source(row)} gives samples sorted by label ({_sampler(row)}); neighbours have the "
                f"same one {row.number('neighbours_agree'):.0%} of the time",
                _SHUFFLE,
            )
        ],
        cause=f"batches hold few labels each: {_origin(row)}",
        remedy=_SHUFFLE,
    )


def by_value(row: Row, bound: float) -> Fault:
    """Samples that come sorted by their target."""
    return Fault(
        f"{row.number('one_way'):.1%} of {row.integer('pairs'):,} neighbouring samples have their "
        f"targets in one order, up or down (bound {bound:.0%})",
        (ascent(row, bound),),
        [Suspect("data", f"train_data gives samples sorted by target ({_sampler(row)})", _SHUFFLE)],
        cause=f"each batch holds targets of one size: the data is sorted, and {_sampler(row)} keeps "
        "its order",
        remedy=_SHUFFLE,
    )


def one_batch(row: Row, bound: float) -> Fault:
    """A sampler that gives the same batch all over again."""
    count = row.integer("epoch_batches")
    return Fault(
        f"1 distinct batch among {count} of an epoch (at least {bound:g} expected)",
        (Measure("distinct batches", 1, "count", bound, ">="),),
        [Suspect("data", f"{_sampler(row)} gives the same samples for every batch")],
        cause=f"{_sampler(row)} never goes on: the training sees one batch",
        remedy="let the sampler walk through the data set, each sample once an epoch",
    )


def drawn_alike(row: Row) -> Fault:
    """A random sampler that draws the same order in every epoch, since something seeds it."""
    cause = "reading a sample seeds torch's global generator, from which the next epoch's order is drawn"
    remedy = (
        "no torch.manual_seed() in __getitem__, transforms or collate_fn: use a torch.Generator there"
    )
    return Fault(
        f"2 epochs of 2 come in the same order (bound 0), although {_sampler(row)} draws it anew",
        (Measure("epochs in the order of the one before", 1, "count", 0),),
        [Suspect("data", f"every epoch of {_sampler(row)} has the same order", remedy)],
        cause=cause,
        remedy=remedy,
    )


def same_order(row: Row) -> str:
    """Every epoch has the order of the first."""
    return (
        f"every epoch comes in the same order ({_sampler(row)}): shuffle anew each epoch, so that "
        "batches differ"
    )


def clustered(row: Row) -> str:
    """Samples that are more alike than by chance, though not sorted."""
    if row.text("label_kind") == "quantities":
        near = row.number("neighbour_correlation")
        return (
            f"neighbouring samples have similar targets (rank correlation {near:.2f}): shuffle them, "
            "unless their order in time is needed"
        )
    return (
        f"samples of a batch share a label more often than by chance ({row.number('agree'):.0%} "
        f"against {row.number('chance'):.0%}): shuffle them, unless batches are made so on purpose"
    )


def _origin(row: Row) -> str:
    if row.flag("own_batches"):
        return f"the batch sampler ({_sampler(row)}) puts samples of one label together"
    return f"the data is sorted by label, and {_sampler(row)} keeps its order"


def _source(row: Row) -> str:
    return row.text("source") or "train_data"


def _sampler(row: Row) -> str:
    return row.text("sampler") or "the loader"
