"""Makes a trace of what a watcher has heard of one optimizer's parameters."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

from pytest_dlcheck.run.record import Record
from pytest_dlcheck.run.watch.loop_row import loop_row, names_of, overlap
from pytest_dlcheck.run.watch.tried.cuts_within import merged
from pytest_dlcheck.trace import Ending, Row, Series, Trace
from pytest_dlcheck.trial import Trial

if TYPE_CHECKING:
    from pytest_dlcheck.run.watch.losses.unpropagated import Window
    from pytest_dlcheck.run.watch.strand import Strand
    from pytest_dlcheck.run.watch.watcher import Watcher


SHARED = 0.9
"""Share of backwards that reach another optimizer's parameters too, where there is one loss for all."""


def trace_of(watcher: Watcher, strand: Strand) -> Trace:
    """The trace of a strand that is closed."""
    record = Record()
    record.fill(strand.filled)
    others = [s for s in watcher.strands if s is not strand and overlap(s, strand)]
    if strand.clips.count:
        record.channels["clipping"] = strand.clips.series()
    else:
        record.inapplicable["clipping"] = "no clipping was heard"
    alive = watcher.graphs.steps_alive if watcher.steps else watcher.graphs.alive
    record.channels["live_graphs"] = Series(tuple(alive), tuple(map(float, alive.values())))
    record.facts["loop"] = (loop_row(watcher, strand),)
    record.facts["phases"] = _phases(watcher, strand)
    record.facts |= watcher.last_found.get(id(strand), {})
    record.facts["flow"] = tuple(
        merged(record.facts.get("flow", ()), record.facts.pop("cut_within", ()))
    )
    record.facts["exposure"] = (strand.exposure.row(strand.exposure_of_copies),)
    record.facts["comparisons"] = (
        Row(strand.comparisons.row(), **_taught(watcher, strand), **_avoided(watcher, strand)),
    )
    if rows := strand.comparisons.given.rows():
        record.facts["loss_soundness"] = rows
    else:
        record.inapplicable["loss_soundness"] = "no loss that wants logits or log-probabilities was seen"
    record.facts.update(strand.comparisons.facts())
    if rows := watcher.own_functions.rows if strand is watcher.strands[0] else ():
        record.facts["custom_backward"] = rows
    else:
        record.inapplicable["custom_backward"] = "no autograd Function of one's own was heard"
    record.facts |= {"schedule": (strand.schedules.row(),), "plateaus": strand.plateaus.rows()}
    if strand.ranks is not None:
        record.facts["ranks"] = (strand.ranks,)
    trained = set().union(*(each.keys for each in watcher.strands))
    record.facts["evaluated_twins"] = watcher.evaluations.twins.rows(
        strand,
        trained,
        own_validations=strand.exposure.validations(),
        **watcher.evaluations.asked_of(strand),
    )
    record.facts["likeness"] = tuple(watcher.likeness.rows(strand.keys, trained, id(strand)))
    record.facts |= {
        "old_heads": watcher.evaluations.old_heads.rows(strand),
        "slices": (strand.slices.row(),),
        "one_label": strand.comparisons.one_label.rows(
            [each.comparisons.one_label for each in watcher.strands], strand.keys
        ),
        "redrawn": (strand.redrawn.row(),),
        "restarted": watcher.restarts.rows(strand.keys, strand.step),
        "weighted_draws": strand.weighting.rows(),
        "held_out_turns": watcher.turns.rows(strand, watcher.strands),
        "reseeded": watcher.seeds.rows(id(strand), strand.step),
    }
    record.facts["hand_cut"] = (watcher.evaluations.hand_cut(strand),)
    record.facts["restored"] = watcher.restored.rows(strand.keys)
    record.facts["unloaded"] = watcher.restored.unloaded.rows(strand.keys, trained)
    record.facts["live_dropout"] = watcher.evaluations.live_dropout.rows(strand.keys)
    record.facts["chosen_among_one"] = watcher.evaluations.scores.rows(strand.keys, strand.shapes)
    if strand is watcher.strands[-1] or watcher.strands[-1] in others:
        record.facts["teachers"] = watcher.evaluations.teachers.rows(
            strand.keys.union(*(s.keys for s in others))
        )
    record.facts["coverage"] = _covered(record.facts["coverage"], strand, watcher.strands)
    record.facts["coverage"] += (*strand.newcomers.rows(trained), *strand.successors.rows(trained))
    if strand is watcher.strands[-1]:
        record.facts["coverage"] += watcher.neglected.forgotten()
        if rows := watcher.neglected.made_anew():
            record.facts["unregistered"] = rows
        record.facts |= watcher.evaluations.answers.facts()
        record.facts["edited"] = watcher.edits.rows()
        record.facts["new_classes"] = watcher.classes_never_trained()
    record.facts["recipe"] = (_recipe_row(strand, others),)
    record.facts["steps"] = (Row(asked=strand.step, skipped_by_scaler=0),)
    return record.trace(Trial("watch", steps=strand.step), _ending(record), watcher.seconds)


def _phases(watcher: Watcher, strand: Strand) -> tuple[Row, ...]:
    without = [
        Row(
            event=p.event,
            calls=p.calls,
            in_train_mode=p.in_train_mode,
            from_loader=p.from_loader,
            repeats=max(p.reads.values(), default=0),
            steps=p.steps,
            inside=strand.first_event < p.event,
            with_gradients=False,
        )
        for p in watcher.evaluations.phases
    ]
    windows = watcher.unpropagated.windows()
    rows = [*without, *(_validation_with_gradients(window, strand) for window in windows)]
    return tuple(sorted(rows, key=lambda row: row.integer("event")))


def _validation_with_gradients(window: Window, strand: Strand) -> Row:
    return Row(
        event=window.event,
        calls=window.calls,
        in_train_mode=window.in_train_mode,
        in_eval_mode=window.in_eval_mode,
        from_loader=window.calls,
        steps=window.steps,
        inside=strand.first_event < window.event,
        with_gradients=True,
    )


def trace_of_nothing(watcher: Watcher) -> Trace:
    """The trace of a loop in which no optimizer stepped."""
    row = Row(
        watcher.by_hand.row(),
        steps=0,
        backwards=watcher.backwards,
        was_cut_short=watcher.was_cut_short,
        never_stepped=", ".join(watcher.neglected.idle_optimizers()),
    )
    record = Record(facts={"loop": (row,)})
    for name in UNSEEN:
        record.unobserved[name] = "no optimizer stepped"
    return record.trace(Trial("watch"), Ending(), watcher.seconds)


def trace_of_fault(watcher: Watcher) -> Trace:
    """The trace of a loop that ran on although the watch of it had failed: nothing is known of it."""
    record = Record(facts={"loop": (Row(steps=watcher.steps, backwards=watcher.backwards),)})
    for name in UNSEEN:
        record.unobserved[name] = "the watch failed"
    return record.trace(Trial("watch", steps=watcher.steps), lost(watcher), watcher.seconds)


def lost(watcher: Watcher) -> Ending:
    """How a watch ends that has failed."""
    return Ending("lost", watcher.steps, LOST.format(step=watcher.steps, fault=watcher.fault))


LOST = (
    "the watch itself failed after step {step} and listened no longer: a fault of pytest-dlcheck, not "
    "of the loop; please report it with these words: {fault}"
)
UNSEEN = (
    "loss",
    "gradient_norm",
    "update_norm",
    "parameter_norm",
    "learning_rate",
    "batch_fingerprint",
    "clipping",
    "live_graphs",
    "parameters",
    "buffers",
    "modules",
    "phases",
    "exposure",
    "comparisons",
    "schedule",
    "recipe",
    "steps",
)
"""What is recorded at an optimizer's steps."""


def _covered(rows: Iterable[Row], strand: Strand, strands: Sequence[Strand]) -> tuple[Row, ...]:
    beside = [each for each in strands if each is not strand and _takes_turns(each, strand)]
    return tuple(_shared(row, strand, beside) for row in rows)


def _shared(row: Row, strand: Strand, others: Sequence[Strand]) -> Row:
    """A parameter that another optimizer steps is covered by that one."""
    key = strand.key_of[row.text("name")]
    elsewhere = any(key in other.keys for other in others)
    return Row(row, optimizers=1) if elsewhere and not row.integer("optimizers") else row


def _takes_turns(one: Strand, other: Strand) -> bool:
    """Whether they step in turn; where one has stepped once only, a turn may have been cut short."""
    return min(one.step, other.step) == 1 or overlap(one, other)


def _taught(watcher: Watcher, strand: Strand) -> dict[str, str | int]:
    """A teacher that is trained along: how many parameters, and what they have in common."""
    names = list(names_of(strand, watcher.taught.parameters() & strand.keys))
    paths = [name.split(".")[:-1] for name in names]
    steps = takewhile(lambda steps: len(set(steps)) == 1, zip(*paths, strict=False))
    model = ".".join(step[0] for step in steps) or strand.name.partition(",")[0]
    return {"taught": len(names), "teacher": model if names else ""}


def _avoided(watcher: Watcher, strand: Strand) -> dict[str, int]:
    """No punishment, where another optimizer's losses seek the same by name: its opponent avoids it."""
    name = strand.comparisons.words_of("punished").partition(" by ")[2]
    others = (each.comparisons for each in watcher.strands if each is not strand)
    sought = {each.words_of("rewarded").partition(" by ")[2] for each in others}
    return {"punished": 0} if name and name in sought else {}


def _has_several_objectives(strands: Sequence[Strand]) -> bool:
    """Whether optimizers have losses of their own; one loss with two optimizers reaches both."""
    return len(strands) > 1 and any(s.shared_losses < SHARED * s.reached_in_company for s in strands)


def _recipe_row(strand: Strand, others: Sequence[Strand]) -> Row:
    return Row(
        model=strand.name.partition(",")[0],
        loss=None,
        training_step=True,
        several_objectives=_has_several_objectives([strand, *others]),
        optimizer=strand.name.rpartition(", ")[2],
        optimizers=1,
        maximize=strand.maximize,
        scheduler=False,
        precision="fp32",
        accumulate=1,
        max_grad_norm=None,
    )


def _ending(record: Record) -> Ending:
    losses = record.channels.get("loss")
    if isinstance(losses, Series) and not all(map(math.isfinite, losses.values)):
        for step, loss in zip(losses.steps, losses.values, strict=True):
            if not math.isfinite(loss):
                return Ending("diverged", step, f"the loss became {loss}", f"step {step}")
    return Ending()
