"""Makes a trace of what a watcher has heard of one optimizer's parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_dlcheck.run.record import Record
from pytest_dlcheck.trace import Ending, Row, Series, Trace
from pytest_dlcheck.trial import Trial

if TYPE_CHECKING:
    from pytest_dlcheck.run.watch.strand import Strand
    from pytest_dlcheck.run.watch.unpropagated import Window
    from pytest_dlcheck.run.watch.watcher import Watcher


def trace_of(watcher: Watcher, strand: Strand) -> Trace:
    """The trace of a strand that is closed."""
    record = Record()
    record.fill(strand.filled)
    others = [s for s in watcher.strands if s is not strand and _overlap(s, strand)]
    if strand.clips:
        record.channels["clipping"] = strand.clipping.series()
    else:
        record.inapplicable["clipping"] = "no clipping was heard"
    record.channels["live_graphs"] = Series(
        tuple(watcher.live_graphs), tuple(map(float, watcher.live_graphs.values()))
    )
    record.facts["loop"] = (_loop_row(watcher, strand),)
    record.facts["phases"] = _phases(watcher, strand)
    record.facts["exposure"] = (strand.exposure.row(),)
    record.facts["comparisons"] = (strand.comparisons.row(),)
    record.facts["schedule"] = (strand.schedules.row(),)
    if strand.ranks is not None:
        record.facts["ranks"] = (strand.ranks,)
    own = strand.exposure.validations()
    record.facts["evaluated_twins"] = watcher.twins.rows(strand.shapes, own)
    record.facts["coverage"] = tuple(_shared(row, strand, others) for row in record.facts["coverage"])
    record.facts["recipe"] = (_recipe_row(strand, others),)
    record.facts["steps"] = (Row(asked=strand.step, skipped_by_scaler=0),)
    trial = Trial("watch", steps=strand.step)
    return record.trace(trial, _ending(record), watcher.seconds)


def _phases(watcher: Watcher, strand: Strand) -> tuple[Row, ...]:
    without = [
        Row(
            event=p.event,
            calls=p.calls,
            in_train_mode=p.in_train_mode,
            from_loader=p.from_loader,
            steps=p.steps,
            inside=strand.first_event < p.event,
            with_gradients=False,
        )
        for p in watcher.phases
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
        never_stepped=", ".join(watcher.idle_optimizers()),
    )
    record = Record(facts={"loop": (row,)})
    for name in UNSEEN:
        record.unobserved[name] = "no optimizer stepped"
    return record.trace(Trial("watch"), Ending(), watcher.seconds)


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


def _shared(row: Row, strand: Strand, others: Sequence[Strand]) -> Row:
    """A parameter that another optimizer steps is covered by that one."""
    key = strand.key_of[row.text("name")]
    elsewhere = any(key in other.keys for other in others)
    return Row(row, optimizers=1) if elsewhere and not row.integer("optimizers") else row


def _overlap(one: Strand, other: Strand) -> bool:
    return one.first_event < other.last_event and other.first_event < one.last_event


def _loop_row(watcher: Watcher, strand: Strand) -> Row:
    usual = strand.micro_batches.most_common(1)
    return Row(
        steps=strand.step,
        looked=strand.looked,
        backwards=watcher.backwards,
        kept_gradients=strand.kept_gradients.count,
        kept_gradients_first=strand.kept_gradients.first,
        repeated=strand.repeated.count,
        repeated_first=strand.repeated.first,
        without_gradients=strand.without_gradients.count,
        without_gradients_first=strand.without_gradients.first,
        in_eval=strand.in_eval.count,
        in_eval_first=strand.in_eval.first,
        mode_matters=strand.mode_matters,
        normalizes=strand.normalizes,
        micro_batches=usual[0][0] if usual else 0,
        micro_batches_usual=usual[0][1] if usual else 0,
        optimizers=strand.optimizers_seen,
        overlooked=watcher.overlooked,
        strands=len(watcher.strands),
        shared_losses=strand.shared_losses,
        reached=strand.reached,
        clips=strand.clips,
        clips_before_backward=strand.clips_before_backward,
        clips_scaled=strand.clips_scaled,
        most_steps=max(other.step for other in watcher.strands),
        loader_batches=watcher.loading.batches,
        loader_passes=watcher.loading.passes,
        loader_length=watcher.loading.longest,
        never_stepped=", ".join(watcher.idle_optimizers()),
        discarded=sum(count for size, count in strand.discarded.items() if size < _usual(strand)),
        discarded_backwards=sum(n * k for n, k in strand.discarded.items() if n < _usual(strand)),
        looked_backwards=sum(size * count for size, count in strand.micro_batches.items()),
        left_over=strand.left_over,
        tangled=strand.reach.tangled,
        opposed=strand.opposed,
        directions=strand.directions,
        wasted=strand.reach.wasted,
        all_waste=len(watcher.strands) > 1
        and all(2 * s.reach.wasted >= s.step > 0 for s in watcher.strands),
    )


def _usual(strand: Strand) -> int:
    usual = strand.micro_batches.most_common(1)
    return usual[0][0] if usual else 0


def _recipe_row(strand: Strand, others: Sequence[Strand]) -> Row:
    return Row(
        model=strand.name.partition(",")[0],
        loss=None,
        training_step=True,
        several_objectives=any(not other.shared_losses for other in others),
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
    if isinstance(losses, Series):
        for step, loss in zip(losses.steps, losses.values, strict=True):
            if not math.isfinite(loss):
                return Ending("diverged", step, f"the loss became {loss}", f"step {step}")
    return Ending()
