"""Makes a trace of what a watcher has heard of one optimizer's parameters."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

from pytest_dlcheck.run.record import Record
from pytest_dlcheck.run.watch.discarded import discarded
from pytest_dlcheck.run.watch.models.cuts_within import merged
from pytest_dlcheck.run.watch.rebuilt import rebuilt
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
    others = [s for s in watcher.strands if s is not strand and _overlap(s, strand)]
    if strand.clips.count:
        record.channels["clipping"] = strand.clips.series()
    else:
        record.inapplicable["clipping"] = "no clipping was heard"
    record.channels["live_graphs"] = Series(
        tuple(watcher.graphs.alive), tuple(map(float, watcher.graphs.alive.values()))
    )
    record.facts["loop"] = (_loop_row(watcher, strand),)
    record.facts["phases"] = _phases(watcher, strand)
    record.facts |= watcher.last_found.get(id(strand), {})
    record.facts["flow"] = tuple(
        merged(record.facts.get("flow", ()), record.facts.pop("cut_within", ()))
    )
    record.facts["exposure"] = (strand.exposure.row(strand.exposure_of_copies),)
    record.facts["comparisons"] = (Row(strand.comparisons.row(), **_taught(watcher, strand)),)
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
        record.facts["answers"] = watcher.evaluations.answers.rows()
        record.facts["confusion"] = watcher.evaluations.answers.confusion()
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


def _overlap(one: Strand, other: Strand) -> bool:
    return one.first_event < other.last_event and other.first_event < one.last_event


def _takes_turns(one: Strand, other: Strand) -> bool:
    """Whether they step in turn; where one has stepped once only, a turn may have been cut short."""
    return min(one.step, other.step) == 1 or _overlap(one, other)


def _loop_row(watcher: Watcher, strand: Strand) -> Row:
    usual = strand.micro_batches.most_common(1)
    return Row(
        strand.drops.row(),
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
        optimizers=strand.owners.count,
        overlooked=watcher.overlooked,
        fresh_batches=strand.fresh_batches,
        loads=watcher.restored.loads,
        strands=len(watcher.strands),
        shared_losses=strand.shared_losses,
        reached=strand.reached,
        **strand.clips.row(),
        most_steps=max(other.step for other in watcher.strands),
        loader_batches=watcher.loading.batches,
        loader_passes=watcher.loading.begun,
        loader_length=watcher.loading.longest,
        never_stepped="" if watcher.overlooked else ", ".join(watcher.neglected.idle_optimizers()),
        unstepped="" if watcher.overlooked else ", ".join(watcher.neglected.unstepped()),
        **_unheard(watcher, strand),
        **_dropped(watcher, strand),
        was_ended=watcher.was_ended,
        was_cut_short=watcher.was_cut_short,
        unreached=strand.unreached,
        given=strand.given,
        untouched=strand.untouched,
        was_called=strand.was_called,
        left_out=watcher.neglected.left_out.told(),
        one_term=watcher.neglected.one_term.told(),
        one_term_is_sure=watcher.neglected.one_term.is_sure,
        one_term_looked=2 * watcher.neglected.one_term.pairs,
        graphs=watcher.neglected.outsiders.looked,
        graphs_without_parameters=watcher.neglected.outsiders.rootless,
        misdirected_schedule_steps=strand.owners.misdirected,
        turns=strand.owners.turns,
        alike=_alike(watcher, strand),
        **_rebuilt(watcher, strand),
        was_fresh=strand.was_fresh,
        steps_others=strand.steps_others(),
        unflattened=strand.unflattened or _read_row_by_row(watcher, strand),
        discarded=sum(count for size, count in strand.discarded.items() if size < _usual(strand)),
        discarded_backwards=sum(n * k for n, k in strand.discarded.items() if n < _usual(strand)),
        discarded_each=_each_discarded(strand),
        looked_backwards=sum(size * count for size, count in strand.micro_batches.items()),
        left_over=strand.left_over,
        part_looked=strand.parts.looked,
        part_kept=strand.parts.partial,
        part_names=", ".join(_names(strand, strand.parts.kept)),
        tangled=strand.reach.tangled,
        opposed=strand.opposed,
        directions=strand.directions,
        wasted=strand.reach.wasted,
        all_waste=len(watcher.strands) > 1
        and all(2 * s.reach.wasted >= s.step > 0 for s in watcher.strands)
        and not _are_of_one_model(watcher.strands),
    )


def _read_row_by_row(watcher: Watcher, strand: Strand) -> str:
    """Images whose rows a model reads alone, in words; empty where it reads none so."""
    rows = watcher.last_found.get(id(strand), {}).get("row_by_row", ())
    return f"the model reads each row of images {rows[0].text('given')} alone" if rows else ""


def _are_of_one_model(strands: Sequence[Strand]) -> bool:
    """Whether one model, called as a whole, holds what all step: nothing in it can be detached."""
    return all(s.was_called and s.model_keys == strands[0].model_keys for s in strands)


def _unheard(watcher: Watcher, strand: Strand) -> dict[str, str | int]:
    """Calls on another network's results that this one learns nothing from."""
    told = next((each for each in watcher.unheard if each.keys & strand.keys), None)
    if told is None:
        return {"unheard": 0, "unheard_by": "", "unheard_of": "", "unheard_weighed": False}
    names = {"unheard_by": told.module, "unheard_of": told.maker}
    return {"unheard": told.calls, **names, "unheard_weighed": told.weighed}


def _dropped(watcher: Watcher, strand: Strand) -> dict[str, int | bool]:
    """Models that were trained and dropped in a row; told once, with the first."""
    count, then = discarded(watcher.strands) if strand is watcher.strands[0] else (0, False)
    return {"dropped": count, "then_used": then}


def _rebuilt(watcher: Watcher, strand: Strand) -> dict[str, int | str | bool]:
    """Models, of which it is one, that are built anew in what the loop counts as epochs."""
    row = rebuilt(watcher.strands, watcher.evaluations.phases)
    if strand not in row:
        return {"rebuilt": 0, "rebuilt_first": False, "epoch": ""}
    is_first = strand is row[0]
    return {"rebuilt": len(row), "rebuilt_first": is_first, "epoch": strand.fate.counted.name()}


def _alike(watcher: Watcher, strand: Strand) -> int:
    """Models of equal shapes that were trained one after the other, each once over the same samples.

    None where one of them goes on from where another ended: from a checkpoint.
    """
    found = [
        other
        for other in watcher.strands
        if other is strand
        or (
            other.shapes == strand.shapes
            and other.step == strand.step
            and not _overlap(other, strand)
            and strand.exposure.is_one_pass_as(other.exposure)
        )
    ]
    ends = {other.ended_as for other in found if other.ended_as}
    return 0 if any(other.began_as in ends for other in found) else len(found)


def _names(strand: Strand, kept: Iterable[int]) -> Iterator[str]:
    """What the model calls these parameters, in its order."""
    names, wanted = {key: name for name, key in strand.key_of.items()}, set(kept)
    return (name for key, name in names.items() if key in wanted)


def _taught(watcher: Watcher, strand: Strand) -> dict[str, str | int]:
    """A teacher that is trained along: how many parameters, and what they have in common."""
    names = list(_names(strand, watcher.taught.parameters() & strand.keys))
    paths = [name.split(".")[:-1] for name in names]
    steps = takewhile(lambda steps: len(set(steps)) == 1, zip(*paths, strict=False))
    model = ".".join(step[0] for step in steps) or strand.name.partition(",")[0]
    return {"taught": len(names), "teacher": model if names else ""}


def _each_discarded(strand: Strand) -> int:
    """How many micro-batches are thrown away each time; 0 where their number differs."""
    sizes = {size for size in strand.discarded if size < _usual(strand)}
    return sizes.pop() if len(sizes) == 1 else 0


def _usual(strand: Strand) -> int:
    usual = strand.micro_batches.most_common(1)
    return usual[0][0] if usual else 0


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
