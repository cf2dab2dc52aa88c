"""Validation data that do not stay what they are: told as faults. Thresholds are the check's."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.faults.validation import windows
from pytest_dlcheck.faults.validation.cut_short import advice_on_leaving, leaves_out_others
from pytest_dlcheck.faults.validation.held_rows import trains_on_held_out_rows
from pytest_dlcheck.faults.validation.turns import trained_in_turns, trained_on_what_is_measured
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.verdict import Measure, Suspect

MOSTLY_NEW = 0.5
"""Share of validation labels (ratio) of classes never trained; a random split leaves out rare ones."""


def validation_trains(trace: Trace, samples: int, used: float, rows: int) -> bool:
    """Whether steps in eval mode follow steps in train mode, again and again and on other data.

    Args:
        trace: of a watched loop.
        samples: below which nothing is concluded.
        used: share of those trained on in both modes that duplicates explain.
        rows: of steps in eval mode that are no accident.
    """
    row, by_hand = trace.row("exposure"), not trace.row("loop").integer("loader_batches")
    runs, steps = row.integer("eval_runs_on_a_new_pass"), row.integer("eval_steps")
    seen, both = row.integer("eval_trained"), row.integer("eval_trained_in_both")
    if by_hand and row.integer("eval_trained_again") >= samples:
        runs = row.integer("eval_runs")
    is_other_data = seen >= samples and both <= used * seen
    once = steps == row.integer("eval_runs") > rows
    return is_other_data and (once or (runs >= rows and steps >= 2 * runs))


def trained_in_eval_mode(row: Row, bound: int) -> Fault:
    """The loop steps during validation."""
    steps, runs = row.integer("eval_steps"), row.integer("eval_runs")
    return Fault(
        because=(
            f"{steps} steps were taken in eval mode, in {runs} rows between steps in train mode and on "
            f"other data (fewer than {bound} rows are tolerated)"
        ),
        measures=(Measure("rows of steps in eval mode", runs, "count", bound, "<"),),
        suspects=(Suspect("data", "validation batches are trained on: backward and step in eval mode"),),
        cause="the validation loop trains: it calls backward() and step(), as the training loop does",
        remedy="take backward, zero_grad and step out of the validation, and run it under no_grad",
    )


def stepped_inside(row: Row, bound: int) -> Fault:
    """The optimizer steps from one validation batch to the next."""
    stepped, compared = row.integer("stepped_inside"), row.integer("compared")
    return Fault(
        because=(
            f"the optimizer stepped between {stepped} of {compared} neighbouring batches of one "
            f"validation (fewer than {bound} may)"
        ),
        measures=(Measure("steps within a validation", stepped, "count", bound, "<"),),
        suspects=(Suspect("optimizer", "steps while the model is evaluated: parameters change"),),
        cause="the validation loop calls step(), on gradients that the training has left",
        remedy="take step() out of the validation",
    )


def trained_before(row: Row, bound: float) -> Fault:
    """What it is evaluated on was trained on before."""
    hits, count = row.integer("evaluated_after_training"), row.integer("evaluated")
    share = row.number("cleanest")
    own = _share_evaluated(row)
    return Fault(
        because=(
            f"{hits} of {count} evaluated samples had been trained on before, {share:.0%} at least in "
            f"every evaluation (at most {bound:.0%})"
        ),
        measures=(Measure("evaluated samples trained on before", share, "ratio", bound),),
        suspects=(
            Suspect("data", f"validation samples are {own:.0%} of what is trained on, as far as seen"),
        ),
        cause=(
            "data leakage: the model is trained on its validation data, as the split is cut from data "
            "that is used whole, or the loop runs over the validation loader too"
        ),
        remedy="split first, train on one part only, and evaluate on the other",
    )


def trained_unnoticed(trace: Trace, several: int, bound: float, whole: float) -> Fault | None:
    """In another scale, cut elsewhere, or as a part called held out, while all of it is scored."""
    again = trained_in_another_scale(trace.row("exposure"), several, bound, whole)
    named = again or held_out_by_name(trace, several, bound, whole)
    return named or windows.told(trace.row("exposure"))


def is_touched(row: Row, several: int, bound: float) -> bool:
    """Whether every late evaluation holds what was trained on, and it is some share of the latter.

    Not where no more of it is known than samples of the training equal each other: such data come so.

    Args:
        row: the exposure.
        several: samples that are no accident.
        bound: share that duplicates explain.
    """
    repeated = row.number("repeated") if "repeated" in row else 0.0
    enough = max(bound + repeated, row.number("dirtiest") / 2)
    hits = row.integer("evaluated_after_training")
    is_some = row.number("cleanest") >= enough and _share_evaluated(row) >= bound
    return hits >= several and is_some


def is_meant_as_held_out(trace: Trace) -> bool:
    """Whether what is evaluated is called held out, or the loop knows of such data at least.

    Else it may watch how a part of the training data is learned. Nor is it where some samples have no
    label.

    Args:
        trace: of a watched loop.
    """
    row = trace.row("exposure")
    is_called = "meant_as_held_out" not in row or row.flag("meant_as_held_out")
    return is_called and not is_of_some_labels(trace)


def is_all_scored(row: Row, whole: float) -> bool:
    """Whether the training set is scored: by its samples, or by the sizes of loaders.

    A sample that is cropped, or mirrored, at random is not known again each time: as many samples
    as are trained on, of which some are known, are the training set.

    Args:
        row: the exposure.
        whole: share from which on it is all.
    """
    trained, evaluated = row.integer("trained_whole"), row.integer("evaluated_whole")
    return _share_evaluated(row) >= whole or (trained > 0 and evaluated >= whole * trained)


def _share_evaluated(row: Row) -> float:
    """How much of what is trained on is known to be evaluated, as a ratio."""
    return row.integer("trained_and_evaluated") / max(1, row.integer("trained"))


def is_of_some_rows(trace: Trace) -> bool:
    """Whether most losses are of some rows of what the model is given, as of the nodes of a graph."""
    losses = trace.row("comparisons")
    return 2 * losses.integer("partly") > losses.integer("looked")


def is_of_some_labels(trace: Trace) -> bool:
    """Whether most batches hold samples without a label: it may be trained on held-out ones so."""
    losses = trace.row("comparisons")
    return 2 * losses.integer("unlabelled") > losses.integer("looked")


def held_out_by_name(trace: Trace, several: int, bound: float, whole: float) -> Fault | None:
    """What the loop calls held out was trained on, with its targets; None where that is not known.

    Not where several models are trained: one may give another its labels.

    Args:
        trace: of a watched loop.
        several: samples that are no accident.
        bound: share of what is trained on that duplicates explain.
        whole: share of what is evaluated from which on it is all trained on, and of what is trained on
            from which on it is the training set that is scored.
    """
    row, losses, name = trace.row("exposure"), trace.row("comparisons"), ""
    is_taught = 2 * losses.integer("labelled") > losses.integer("looked")
    is_of_all = not (is_of_some_rows(trace) or is_of_some_labels(trace))
    if is_taught and is_of_all and trace.row("loop").integer("strands") == 1:
        name = row.text("held_out")
    count, share = row.integer("held_samples"), row.number("held_cleanest")
    are_told_apart = count >= several and row.integer("held_distinct") >= whole * count
    own = row.integer("held_trained") / max(1, row.integer("trained"))
    if not (name and are_told_apart and share >= whole and bound <= own < whole):
        return None
    return Fault(
        because=(
            f"{share:.0%} of the {count} samples of {name!r} had been trained on before, in every "
            f"evaluation (less than {whole:.0%} may); they are {own:.0%} of what is trained on"
        ),
        measures=(Measure("held-out samples trained on before", share, "ratio", whole, "<"),),
        suspects=(Suspect("data", f"{name!r} was trained on: its scores are none on new data"),),
        cause=(
            "data leakage: the split is cut from data that were trained on whole, and what the loop "
            "calls held out is a part of its training data"
        ),
        remedy="split first, train on one part only, and evaluate on the other",
    )


def trained_in_another_scale(row: Row, several: int, bound: float, whole: float) -> Fault | None:
    """What it is evaluated on was trained on before, in another scale; None where it was not.

    Args:
        row: of the exposure.
        several: samples that are no accident.
        bound: share of the evaluated samples that duplicates do not explain.
        whole: share of what is trained on from which on it is the training set that is scored.
    """
    count = row.integer("rescaled")
    if count < several:
        return None
    asked, known = row.integer("rescaled_of"), row.integer("rescaled_known")
    share = min(1.0, count / asked * max(1.0, row.integer("trained") / known))
    is_all = row.integer("rescaled_size") >= whole * row.integer("trained")
    if share < bound or is_all or row.integer("rescaled_trained") >= whole * known:
        return None
    return Fault(
        because=(
            f"{count} of {asked} evaluated samples had been trained on before in another scale: each "
            f"column times one number, plus one, makes them equal ({share:.0%} of the samples of every "
            f"evaluation, as far as seen; at most {bound:.0%} may)"
        ),
        measures=(Measure("evaluated samples trained on before", share, "ratio", bound),),
        suspects=(Suspect("data", "validation samples are training samples that are scaled otherwise"),),
        cause=(
            "data leakage: the split is drawn twice, with another seed or none, and the numbers are "
            "scaled by another part each time; the model is evaluated on what it was trained on"
        ),
        remedy="split once, fit the scaler to the training part, and use both for every part",
    )


def changed_places(row: Row, several: int) -> Fault | None:
    """Validation sets that the same model had been trained on when they were training sets."""
    count, samples = row.integer("rotations"), row.integer("rotated_samples")
    if count < several or not row.integer("returned"):
        return None
    return Fault(
        because=(
            f"{count} different validation sets hold samples that the model had been trained on before, "
            f"in an earlier fold, {samples} of them as far as seen (fewer than {several} may)"
        ),
        measures=(Measure("validation sets that were trained on before", count, "count", several, "<"),),
        suspects=(
            Suspect(
                "data", f"training and validation samples change places, from step {_first(row)} on"
            ),
        ),
        cause=(
            "the folds share one model, or the split is drawn anew while training goes on: it is "
            "validated on what it was trained on"
        ),
        remedy="build model and optimizer anew for each fold; draw a split once, before the training",
    )


def held_out_is_trained_on(trace: Trace, row: Row, several: int) -> Fault | None:
    """In turns with other data, as rows of the one input, or in another fold."""
    fault = trained_on_what_is_measured(trace.rows("held_out_turns")) or trains_on_held_out_rows(trace)
    return fault or changed_places(row, several)


def _first(row: Row) -> int:
    return row.integer("rotated_first")


def validation_advice(trace: Trace) -> Iterator[str]:
    """What is no fault for sure."""
    row = trace.row("exposure")
    if row.integer("rotations") and row.integer("returned"):
        yield (
            f"training and validation samples change places from step {_first(row)} on, and the model "
            "goes on: if these are folds, they share one model"
        )
    hits, count = row.integer("evaluated_after_training"), row.integer("evaluated")
    if hits and is_of_some_labels(trace):
        yield (
            f"{hits} of {count} evaluated samples had been trained on before, in batches where a flag "
            "or a negative label marks some: unless these are the ones without a label, as in "
            "transductive work, split first"
        )
    graphs = [p for p in trace.rows("phases") if p.flag("with_gradients") and p.flag("inside")]
    if graphs:
        calls = sum(p.integer("calls") for p in graphs)
        yield f"{calls} batches are evaluated with gradients on: torch.no_grad() saves time and memory"
    yield from trained_in_turns(trace.rows("held_out_turns"))
    if row.integer("truncated") and leaves_out_others(trace) is None:
        order = ", and the order is random: another few each time" if row.integer("shuffled") else ""
        count = row.integer("truncated")
        yield f"{count} samples are left out of the evaluation (drop_last=True){order}"
    yield from advice_on_leaving(row)
    yield from windows.advice(row)
    if told := [row for row in trace.rows("new_classes") if row.number("share") >= MOSTLY_NEW]:
        yield _new_classes(told[0])


def advice_on_training_data(trace: Trace, *, is_all: bool) -> list[str]:
    """What is said where what was trained on is evaluated, and nothing else, and that may be meant.

    Args:
        trace: of a watched loop.
        is_all: whether that is all that is trained on.
    """
    row = trace.row("exposure")
    if is_all and not is_of_some_rows(trace):
        return ["all that it is evaluated on is trained on too: no score is one on new data"]
    if is_all or is_of_some_labels(trace):
        return []
    hits, count = row.integer("evaluated_after_training"), row.integer("evaluated")
    story = f"{hits} of {count} evaluated samples had been trained on before"
    return [f"{story}: no score is one on new data; if they are held out, split first"]


def _new_classes(row: Row) -> str:
    sorted_first = row.flag("at_an_end")
    cut = "data sorted by class was cut without shuffling" if sorted_first else "the split is by class"
    return (
        f"{row.integer('new')} of {row.integer('labels')} validation labels are of classes that the "
        f"training never saw ({row.text('new_classes')}; it saw {row.text('trained_classes')}): {cut}, "
        "unless new classes are meant to be scored, as in open-set or few-shot work; shuffle before the "
        "split, or stratify it"
    )
