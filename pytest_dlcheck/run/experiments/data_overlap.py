"""Which samples of the validation data the training data holds too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from pytest_dlcheck.run.contents.fingerprints import ROWS, form_of, prints_of, rows_of, weights_of
from pytest_dlcheck.run.contents.nearness import nearness
from pytest_dlcheck.run.contents.places import each_once, places
from pytest_dlcheck.run.data.identity import shared
from pytest_dlcheck.run.data.own_draws import kept
from pytest_dlcheck.run.data.samples import Look, is_map_style, look, look_at_val, looked, parts_of
from pytest_dlcheck.run.errors import CannotTellError, NotApplicableError
from pytest_dlcheck.run.experiment import Experiment
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.stream import as_loader
from pytest_dlcheck.run.tensors.tree import tensors
from pytest_dlcheck.run.world.seeding import same_draws
from pytest_dlcheck.trace import Row

_SECONDS = 0.1
_CONFIRMED = 16
"""Pairs that are read to see whether one index is one sample."""
_FEWEST = 8
_COLUMNS = 64
"""Numbers of an input of which each is looked at by itself, evenly spread."""
_TOLD_APART = 20
"""Samples that differ, from which on one number can tell most of them apart other than by chance."""


class DataOverlap(Experiment):
    """Fills ``data_overlap``: a row per way in which samples were compared, by origin or by content."""

    fact = "data_overlap"
    needs_loss = False

    def run(self, rig: Rig) -> Iterable[Row]:
        """Compare by origin where it is known, and by content."""
        if rig.recipe.val_data is None:
            raise NotApplicableError("no val_data")
        if rig.recipe.batch_dim is None:
            raise NotApplicableError("samples do not stand alone (batch_dim=None)")
        train, val = rig.stream.loader, as_loader(rig.recipe.val_data, "val_data")
        rows = [_by_origin(rig, train, val), _by_content(rig, train, val), _by_nearness(rig)]
        found = [row for row in rows if row is not None]
        if not found:
            raise CannotTellError("the samples of train_data and val_data cannot be compared")
        return found


# -- by origin ----------------------------------------------------------------------------------


def _by_origin(rig: Rig, train: Any, val: Any) -> Row | None:
    if not is_map_style(train) or not is_map_style(val):
        return None
    found = shared(train.dataset, val.dataset)
    if found is None:
        return None
    kind, asked, pairs = found
    count = len({at for _, at in pairs})
    return Row(
        by=kind,
        samples=asked,
        total=len(val.dataset),
        train_samples=len(train.dataset),
        train_total=len(train.dataset),
        matches=count,
        first_val=pairs[0][1] if pairs else None,
        first_train=pairs[0][0] if pairs else None,
        confirmed=kind == "files" or _confirmed(rig, train, val, pairs),
        same_object=train.dataset is val.dataset,
    )


def _confirmed(rig: Rig, train: DataLoader[Any], val: DataLoader[Any], pairs: Any) -> bool:
    """Whether one index is one sample: samples that are made up when they are read are not."""
    if len(pairs) < _FEWEST:
        return False
    step = max(1, len(pairs) // _CONFIRMED)
    few = pairs[::step][:_CONFIRMED]
    with same_draws(rig.seed), kept(*parts_of(train), *parts_of(val)):
        ours = [_numbers(train.dataset[i]) for i, _ in few]
        theirs = [_numbers(val.dataset[i]) for _, i in few]
    if any(a is None or b is None or a.shape != b.shape for a, b in zip(ours, theirs, strict=True)):
        return False
    near = [_distance(a, b) for a, b in zip(ours, theirs, strict=True)]
    far = [_distance(a, b) for a, b in zip(ours, theirs[1:] + theirs[:1], strict=True)]
    closer = sum(a < b for a, b in zip(near, far, strict=True))
    return closer >= len(few) - len(few) // 8


def _numbers(item: Any) -> Tensor | None:
    first = item[0] if isinstance(item, (tuple, list)) and item else item
    found = tensors(first)
    if found:
        return found[0].detach().double().flatten()
    try:
        return torch.as_tensor(first).double().flatten()
    except Exception:  # noqa: BLE001  an image object, a string
        return None


def _distance(a: Tensor | None, b: Tensor | None) -> float:
    return (
        float((a - b).norm()) if a is not None and b is not None and a.shape == b.shape else float("inf")
    )


# -- by content ---------------------------------------------------------------------------------


def _by_content(rig: Rig, train: Any, val: Any) -> Row | None:
    row = _by_tables(rig, train, val) or _by_prints(rig, train, val)
    if row is None:
        return None
    return Row(row, continuous=row.integer("matches") > 0 and _is_continuous(rig, look_at_val(rig)))


def _by_prints(rig: Rig, train: Any, val: Any) -> Row | None:
    ours, theirs = look(rig), look_at_val(rig)
    if is_map_style(train) and is_map_style(val):
        ours = _aligned(rig, train, ours, theirs)
    known, asked = _prints(rig, ours), _prints(rig, theirs)
    if not known or not asked:
        return None
    return _row(
        torch.tensor(list(known.values())),
        torch.tensor(list(asked.values())),
        list(known),
        list(asked),
        ours.total,
        theirs.total,
    )


def _by_nearness(rig: Rig) -> Row | None:
    ours, theirs = look(rig), look_at_val(rig)
    return nearness(places(rig, ours), places(rig, theirs), ours.total)


def _by_tables(rig: Rig, train: Any, val: Any) -> Row | None:
    if not isinstance(train, DataLoader) or not isinstance(val, DataLoader):
        return None
    pairs = rig.recipe.training_step is None
    ours, theirs = rows_of(train.dataset, pairs=pairs), rows_of(val.dataset, pairs=pairs)
    if not ours or not theirs or form_of(ours) != form_of(theirs) or len(form_of(ours)) > 1:
        return None
    if max(sum(len(index) for _, index in rows) for rows in (ours, theirs)) > ROWS:
        return None
    known, asked = weights_of(ours), weights_of(theirs)
    if not len(known) or not len(asked):
        raise CannotTellError("val_data is empty")
    return _row(known, asked, range(len(known)), range(len(asked)), len(known), len(asked))


def _aligned(rig: Rig, train: DataLoader[Any], ours: Look, theirs: Look) -> Look:
    """The training samples that were looked at, and those with the validation samples' own indices.

    A validation set that is the training set, or its beginning, would otherwise be met by chance only.
    """
    if ours.whole:
        return ours
    size = len(train.dataset)  # type: ignore[arg-type]
    asked = [i for chunk in theirs.chunks for i in chunk.indices if i < size]
    if not asked:
        return ours
    chosen = DataLoader(
        train.dataset, batch_size=train.batch_size, collate_fn=train.collate_fn, sampler=asked
    )
    more = looked(rig, chosen, _SECONDS)
    return Look((*ours.chunks, *more.chunks), ours.total, ours.limited)


def _prints(rig: Rig, found: Look) -> dict[int, int]:
    """By the inputs alone where the batch says which they are; two alike are one whatever the target."""
    everything = rig.recipe.training_step is not None
    return prints_of([place for place in places(rig, found) if everything or not place.is_target])


def _row(
    known: Tensor,
    asked: Tensor,
    ours: Sequence[int],
    theirs: Sequence[int],
    train_total: int | None,
    total: int | None,
) -> Row:
    match = torch.isin(asked, known)
    first = int(match.nonzero()[0]) if match.any() else None
    return Row(
        by="content",
        samples=len(asked),
        total=total,
        train_samples=len(known),
        train_total=train_total,
        matches=int(match.sum()),
        repeated=_repeated(known),
        val_repeated=_repeated(asked),
        first_val=None if first is None else theirs[first],
        first_train=None if first is None else ours[int((known == asked[first]).nonzero()[0])],
        distinct=len(torch.unique(asked[match])),
    )


def _is_continuous(rig: Rig, found: Look) -> bool:
    """Whether one of the numbers of an input tells most of the samples that differ apart."""
    for place in places(rig, found):
        if place.is_target or not place.values.is_floating_point() or not place.values.numel():
            continue
        rows = torch.unique(each_once(place).values.flatten(1), dim=0)
        columns = rows[:, torch.linspace(0, rows.shape[1] - 1, min(_COLUMNS, rows.shape[1])).long()]
        most = max(len(torch.unique(column)) for column in columns.T)
        if len(rows) >= _TOLD_APART and 2 * most > len(rows):
            return True
    return False


def _repeated(prints: Tensor) -> float:
    """Share of samples that have a double among the others."""
    counts = torch.unique(prints, return_counts=True)[1]
    return float(counts[counts > 1].sum()) / len(prints)
