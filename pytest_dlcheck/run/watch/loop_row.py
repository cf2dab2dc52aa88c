"""What a watcher has heard of how one optimizer's parameters are trained, as one row of a trace."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from pytest_dlcheck.run.watch.discarded import discarded
from pytest_dlcheck.run.watch.rebuilt import are_kin, rebuilt
from pytest_dlcheck.trace import Row

if TYPE_CHECKING:
    from pytest_dlcheck.run.watch.strand import Strand
    from pytest_dlcheck.run.watch.watcher import Watcher


def loop_row(watcher: Watcher, strand: Strand) -> Row:
    """How the loop went about one optimizer's parameters, in numbers."""
    usual = strand.micro_batches.most_common(1)
    return Row(
        **strand.drops.row(),
        steps=strand.step,
        looked=strand.looked,
        backwards=watcher.backwards,
        kept_gradients=strand.kept_gradients.count,
        kept_gradients_first=strand.kept_gradients.first,
        repeated=strand.repeated.count,
        repeated_first=strand.repeated.first,
        without_gradients=strand.without_gradients.count,
        without_gradients_first=strand.without_gradients.first,
        before_backward=strand.before_backward,
        in_eval=strand.in_eval.count,
        in_eval_first=strand.in_eval.first,
        mode_matters=strand.mode_matters,
        normalizes=strand.normalizes,
        micro_batches=usual[0][0] if usual else 0,
        micro_batches_usual=usual[0][1] if usual else 0,
        optimizers=strand.owners.count,
        overlooked=watcher.overlooked,
        overlooked_most=watcher.overlooked_most,
        kin=sum(are_kin(a.fate.began, b.fate.began) for a, b in pairwise(watcher.strands)),
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
        loader_ended=watcher.loading.ended,
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
        drawn_anew=strand.exposure.drawn_anew(),
        trained_passes=strand.exposure.passes,
        was_fresh=strand.was_fresh,
        steps_others=strand.steps_others(),
        unflattened=strand.unflattened or _read_row_by_row(watcher, strand),
        discarded_backwards=sum(n * k for n, k in strand.discarded.items() if n < _usual(strand)),
        rests=sum(count for size, count in strand.rests.items() if size < _usual(strand)),
        rest_backwards=sum(n * k for n, k in strand.rests.items() if n < _usual(strand)),
        looked_backwards=sum(size * count for size, count in strand.micro_batches.items()),
        left_over=strand.left_over,
        part_looked=strand.parts.looked,
        part_kept=strand.parts.partial,
        part_names=", ".join(names_of(strand, strand.parts.kept)),
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
    own = strand.exposure.trained_once(strand.step)
    found = [
        other
        for other in watcher.strands
        if other is strand
        or (
            own is not None
            and other.shapes == strand.shapes
            and other.step == strand.step
            and not overlap(other, strand)
            and (its := other.exposure.trained_once(strand.step)) is not None
            and own.is_as(its)
        )
    ]
    ends = {other.ended_as for other in found if other.ended_as}
    return 0 if any(other.began_as in ends for other in found) else len(found)


def _usual(strand: Strand) -> int:
    usual = strand.micro_batches.most_common(1)
    return usual[0][0] if usual else 0


def overlap(one: Strand, other: Strand) -> bool:
    """Whether they train some of the same parameters."""
    return one.first_event < other.last_event and other.first_event < one.last_event


def names_of(strand: Strand, kept: Iterable[int]) -> Iterator[str]:
    """What the model calls these parameters, in its order."""
    names, wanted = {key: name for name, key in strand.key_of.items()}, set(kept)
    return (name for key, name in names.items() if key in wanted)
