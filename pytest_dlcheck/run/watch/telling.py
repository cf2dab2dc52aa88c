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
    from pytest_dlcheck.run.watch.watcher import Watcher


def trace_of(watcher: Watcher, strand: Strand) -> Trace:
    """The trace of a strand that is closed."""
    record = Record()
    record.fill(strand.filled)
    others = [s for s in watcher.strands if s is not strand and _overlap(s, strand)]
    record.channels["clipping"] = strand.clipping.series()
    record.channels["live_graphs"] = Series(
        tuple(watcher.live_graphs), tuple(map(float, watcher.live_graphs.values()))
    )
    record.facts["loop"] = (_loop_row(watcher, strand),)
    record.facts["phases"] = tuple(
        Row(
            event=p.event,
            calls=p.calls,
            in_train_mode=p.in_train_mode,
            from_loader=p.from_loader,
            steps=p.steps,
            inside=strand.first_event < p.event,
        )
        for p in watcher.phases
    )
    record.facts["coverage"] = tuple(_shared(row, strand, others) for row in record.facts["coverage"])
    record.facts["recipe"] = (_recipe_row(strand, others),)
    record.facts["steps"] = (Row(asked=strand.step, skipped_by_scaler=0),)
    trial = Trial("watch", steps=strand.step)
    return record.trace(trial, _ending(record), watcher.seconds)


def trace_of_nothing(watcher: Watcher) -> Trace:
    """The trace of a loop in which no optimizer stepped."""
    row = Row(
        steps=0,
        backwards=watcher.backwards,
        updated_by_hand=watcher.leaves.have_changed,
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
        kept_gradients=len(strand.kept_gradients),
        kept_gradients_first=_first(strand.kept_gradients),
        repeated=len(strand.repeated),
        repeated_first=_first(strand.repeated),
        without_gradients=len(strand.without_gradients),
        without_gradients_first=_first(strand.without_gradients),
        in_eval=len(strand.in_eval),
        in_eval_first=_first(strand.in_eval),
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
    )


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


def _first(steps: Sequence[int]) -> int | None:
    return steps[0] if steps else None
