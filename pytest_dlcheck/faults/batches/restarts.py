"""A loader that is begun anew for every batch, told as a fault. Thresholds are the check's."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_dlcheck.faults.batches.redrawn import is_read_once
from pytest_dlcheck.faults.batches.repeats import in_a_row
from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row, Series, Trace
from pytest_dlcheck.verdict import Measure, Suspect


def begun_anew(loop: Row, distinct: int, seen: int, *, enough: int, anew: float) -> Fault | None:
    """It is the only one, and few batches differ; None where not.

    Args:
        loop: the row of a watched loop.
        distinct: batches that differ.
        seen: recorded steps.
        enough: batches that are no accident.
        anew: batches (ratio) that must begin it anew.
    """
    length, passes = loop.integer("loader_length"), loop.integer("loader_passes")
    few = _few(loop, seen, anew)
    if distinct > few or not _restarts(loop, enough, anew):
        return None
    return Fault(
        because=f"{distinct} distinct batches in {seen} recorded steps ({few + 1} or more should be)",
        measures=(Measure("distinct batches", distinct, "count", few + 1, ">="),),
        suspects=[Suspect("data", f"{passes} passes over a loader of {_many(length)}, 1 batch each")],
        cause="the data loader is begun anew at every step: next(iter(loader)) inside the loop",
        remedy="iterate over the loader: for batch in loader",
    )


def _few(loop: Row, seen: int, anew: float) -> int:
    """Up to how many batches are fewer than half of those that would differ if drawn by lot."""
    length = max(1, loop.integer("loader_length"))
    by_lot = length * (1 - (1 - 1 / length) ** seen)
    at_each_step = loop.integer("loader_batches") >= anew * loop.integer("steps")
    return max(1, int(by_lot / 2)) if at_each_step else 1


def _restarts(loop: Row, enough: int, anew: float) -> bool:
    """Whether most batches are the first of a pass, though more would follow."""
    read, passes = loop.integer("loader_batches"), loop.integer("loader_passes")
    goes_on = loop.integer("loader_length") > 1 or _is_left_open(loop)
    return goes_on and read >= enough and passes >= anew * read


def _is_left_open(loop: Row) -> bool:
    """Whether loaders of unknown length were begun, and none was read to its end."""
    told = loop.integer("loader_passes") > 0 and "loader_ended" in loop
    return told and not loop.integer("loader_length") and not loop.integer("loader_ended")


def one_of_several(rows: Iterable[Row], enough: int, anew: float) -> Fault | None:
    """Of several data sets, one of which every step reads the first batch; None where there is none.

    Args:
        rows: data sets that are begun anew each time, with the same batch.
        enough: batches that are no accident.
        anew: steps (ratio) that must begin it anew.
    """
    for row in rows:
        begun, trained = row.integer("begun"), row.integer("trained")
        is_sure = min(row.integer("compared"), trained) >= enough
        if is_sure and row.integer("others") and begun >= anew * row.integer("steps"):
            return _of_several(row)
    return None


def _of_several(row: Row) -> Fault:
    begun, length = row.integer("begun"), row.integer("length")
    return Fault(
        because=(
            f"1 distinct batch of one of {row.integer('others') + 1} data sets that are read, in "
            f"{row.integer('compared') + 1} of its {begun} passes (2 or more should be)"
        ),
        measures=(Measure("distinct batches", 1, "count", 2, ">="),),
        suspects=[
            Suspect(
                "data", f"{begun} passes over a loader of {_many(length)}, the first batch each time"
            )
        ],
        cause=(
            "one of the data loaders is begun anew at every step, next(iter(loader)) inside the loop: "
            "it gives the same batch, its first, for ever"
        ),
        remedy="keep its iterator, and begin it anew where it ends; or shuffle it",
    )


def _many(length: int) -> str:
    return f"{length} batches" if length else "as many batches as its data set yields"


def advice_on_a_loader(trace: Trace, prints: Series, *, enough: int, anew: float) -> list[str]:
    """What is said of one that is begun anew where batches differ, or of one batch that is kept.

    A whole graph is one input whose nodes a loader may give: it has more rows than a batch.

    Args:
        trace: of a watched loop.
        prints: fingerprints of batches, by step.
        enough: batches that are no accident.
        anew: batches (ratio) that must begin it anew.
    """
    loop, seen = trace.row("loop"), trace.row("exposure")
    length = loop.integer("loader_length")
    if length <= 1:
        return []
    is_of_a_batch = 0 < seen.integer("trained", 0) * (length - 1) <= seen.integer("trained_whole", 0)
    is_read = is_of_a_batch and loop.integer("fresh_batches") > 0
    if len(set(prints.values)) == 1 and (is_read or is_read_once(loop)):
        return [f"every step sees the same batch, of {length} that the loader has"]
    if not _restarts(loop, enough, anew):
        return []
    if (turns := in_a_row(prints)) > 1:
        again = f"a batch is used for {turns} steps in a row, and the loader, of {length} batches, "
        return [again + "is begun anew for the next: only first batches are used"]
    return ["the loader is begun anew at every step: only first batches are used"]
