"""Random numbers that repeat where they should not, told in words. Whether they do: the check's."""

from __future__ import annotations

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

_OWN = (
    "draw from torch's, numpy's or python's global generator, which the loader seeds per worker, or "
    "seed your own in worker_init_fn from torch.initial_seed()"
)
_INIT = (
    "seed by the worker: np.random.seed(torch.initial_seed() % 2**32), not by a constant or its id alone"
)
_SHARED = "give each worker its own part of the stream: torch.utils.data.get_worker_info().id"
_GLOBAL = "draw from a generator of your own there: torch.Generator().manual_seed(index)"


def agreement(row: Row, chance: float) -> Measure:
    """How many draws two workers have in common."""
    value = row.integer("workers_agree") / max(1, row.integer("draws"))
    return Measure("draws that two workers have in common", value, "ratio", chance)


def workers_alike(row: Row, bound: float) -> Fault:
    """Two workers that draw the same numbers."""
    remedy = _remedy(row)
    return Fault(
        f"{row.integer('workers_agree')} of {row.integer('draws')} random draws of one sample are the "
        f"same in two workers (bound {bound:.0%}; {row.number('chance'):.0%} would be by chance)",
        (agreement(row, bound),),
        [Suspect("data", f"both workers draw the same augmentations{_source(row)}", remedy)],
        cause=_cause(row),
        remedy=remedy,
    )


def epochs_alike(row: Row, bound: float) -> Fault:
    """Two epochs that draw the same numbers, in workers or not."""
    remedy = _remedy(row)
    value = row.integer("epochs_agree") / max(1, row.integer("draws"))
    return Fault(
        f"{row.integer('epochs_agree')} of {row.integer('draws')} random draws of one sample are the "
        f"same in two epochs (bound {bound:.0%}; {row.number('chance'):.0%} would be by chance)",
        (Measure("draws that two epochs have in common", value, "ratio", bound),),
        [Suspect("data", f"every epoch draws the same augmentations{_source(row)}", remedy)],
        cause=_cause(row),
        remedy=remedy,
    )


def seeded_alike(row: Row) -> Fault:
    """Reading a sample that seeds a global generator with a constant."""
    which = row.text("seeded_alike")
    return Fault(
        f"1 state of the global generator of {which} after reading 2 samples (bound 2): reading seeds "
        "it",
        (Measure("states after reading two samples", 1, "count", 2, ">="),),
        [Suspect("data", f"reading a sample seeds {which} with a constant", _GLOBAL)],
        cause=f"reading a sample seeds {which}: augmentation, dropout and shuffling draw the same "
        "ever after",
        remedy="seed once, at the start of the program, not in __getitem__, transforms or collate_fn",
    )


def of_reading(row: Row) -> Fault | None:
    """Reading that changes what is read later; None where it does not."""
    if row.text("edited"):
        return edits_itself(row)
    return seeded_alike(row) if row.text("seeded_alike") and row.flag("several") else None


def edits_itself(row: Row) -> Fault:
    """Reading a sample that changes the stored one."""
    where, remedy = row.text("edited"), "copy before editing: x = (x - mean) / std, not x -= mean"
    return Fault(
        "2 readings of one sample under one seed give 2 samples (bound 1): reading edits what is stored",
        (Measure("samples in two readings of one", 2, "count", 1),),
        [Suspect("data", f"reading a sample edits {where} in place", remedy)],
        cause=f"reading a sample edits {where} in place: each epoch sees other data than the last",
        remedy=remedy,
    )


def seeded_by_reading(row: Row) -> str:
    """Reading a sample that seeds a global generator with its index."""
    return (
        f"reading a sample seeds the global generator of {row.text('seeded_by_reading')}, which "
        f"dropout and shuffling may draw from: {_GLOBAL}"
    )


def not_reproducible(_: Row) -> str:
    """Samples that differ under one seed."""
    return (
        "reading a sample twice under one seed gives different data: it draws from a generator that "
        "nothing seeds (time, os.urandom, default_rng()), so that runs cannot be repeated"
    )


def _source(row: Row) -> str:
    own = row.text("own_generators")
    return f": {own}" if row.flag("own_draws") and own else ""


def _cause(row: Row) -> str:
    if row.flag("own_draws"):
        own = row.text("own_generators") or "a generator of its own"
        return (
            f"the data set keeps {own}, made before the workers start: each gets a copy in the same "
            "state"
        )
    if row.flag("goes_on"):
        return "each worker reads a copy of the data set on from the same place: samples come twice"
    if row.flag("init_fn"):
        return "worker_init_fn seeds every worker, or every epoch, alike"
    return "the workers start with one state of a generator that the loader does not seed"


def _remedy(row: Row) -> str:
    if row.flag("goes_on"):
        return _SHARED
    return _INIT if row.flag("init_fn") and not row.flag("own_draws") else _OWN
