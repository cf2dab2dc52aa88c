"""In what order an epoch gives the samples: by label, at random, the same every time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler

from pytest_dlcheck.run.contents.agreement import agreement, next_to
from pytest_dlcheck.run.contents.places import Place, places
from pytest_dlcheck.run.contents.scalar_targets import Labels, labels_of
from pytest_dlcheck.run.data.epoch import DRAWN, ORDERED
from pytest_dlcheck.run.data.own_draws import kept
from pytest_dlcheck.run.data.samples import is_map_style, look, parts_of
from pytest_dlcheck.run.data.weighted import weighted_draws
from pytest_dlcheck.run.errors import NotApplicableError
from pytest_dlcheck.run.experiment import Experiment
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.world.seeding import same_draws
from pytest_dlcheck.trace import Row, Scalar

_COMPARED = 4_096
"""Samples of two epochs that are compared."""
_FEWEST = 16


class DataOrder(Experiment):
    """Fills ``data_order``: one row, on the labels of neighbours and on the order of two epochs."""

    fact = "data_order"
    needs_loss = False

    def run(self, rig: Rig) -> Iterable[Row]:
        """Compare neighbours by label, and epochs by index."""
        loader = rig.stream.loader
        if rig.recipe.batch_dim is None:
            raise NotApplicableError("samples do not stand alone (batch_dim=None)")
        if not is_map_style(loader) and not isinstance(loader, Sequence):
            raise NotApplicableError("the data is a stream: its order is its own, no sampler's")
        if rig.stream.batches_per_epoch == 1:
            raise NotApplicableError("an epoch is one batch: there is no order")
        found = look(rig)
        targets = [p for p in places(rig, found) if p.is_target]
        labels = [(p, one) for p in targets[:1] if (one := labels_of(p.values)) is not None]
        facts: dict[str, Scalar] = {
            "samples": found.samples,
            "total": found.total,
            "batches": rig.stream.batches_per_epoch,
            **_sampler(loader),
            **_epochs(rig, loader),
        }
        for place, one in labels:
            facts |= _by_label(place, one)
        if "label_kind" not in facts and facts.get("same_epochs") is None:
            raise NotApplicableError("the targets are not one number a sample, or too few to compare")
        return [Row(facts)]


# -- neighbours ---------------------------------------------------------------------------------


def _by_label(place: Place, labels: Labels) -> dict[str, Scalar]:
    order = torch.tensor(place.positions).argsort()
    windows = torch.tensor(place.windows)[order]
    positions, values = torch.tensor(place.positions)[order], labels.values[order]
    if len(values) < _FEWEST or len(torch.unique(windows)) < 2:  # noqa: PLR2004  one is its own chance
        return {}
    facts: dict[str, Scalar] = {"label_kind": labels.kind}
    if labels.kind == "classes":
        near = positions[1:] - positions[:-1] == 1
        return facts | agreement(values, windows) | next_to(values, near)
    return facts | _ascent(values, windows[1:] == windows[:-1])


def _ascent(values: Tensor, follow: Tensor) -> dict[str, Scalar]:
    """How far the values only rise, or only fall: between neighbours, and over the epoch."""
    step = (values[1:] - values[:-1])[follow]
    moved = step[step != 0]
    if len(moved) < _FEWEST:
        return {}
    ranks = values.argsort().argsort().double()
    places = torch.arange(len(values)).double()
    rank = torch.corrcoef(torch.stack([ranks, places]))[0, 1]
    near = torch.corrcoef(torch.stack([ranks[:-1][follow], ranks[1:][follow]]))[0, 1]
    return {
        "one_way": float(max((moved > 0).double().mean(), (moved < 0).double().mean())),
        "rank_correlation": float(rank.abs().nan_to_num()),
        "neighbour_correlation": float(near.nan_to_num()),
    }


# -- samplers -----------------------------------------------------------------------------------


def _sampler(loader: Any) -> dict[str, Scalar]:
    if not isinstance(loader, DataLoader):
        return {"sampler": "a list of batches", "in_order": True, "own_batches": False}
    plain = type(loader.batch_sampler) is BatchSampler
    sampler = loader.sampler if plain else loader.batch_sampler
    return {
        "sampler": type(sampler).__name__,
        "in_order": plain and type(loader.sampler) is SequentialSampler,
        "drawn": plain and isinstance(loader.sampler, DRAWN),
        "own_batches": not plain,
        "told_epochs": hasattr(sampler, "set_epoch"),
        "claims": getattr(sampler, "shuffle", None) is True,
        **weighted_draws(loader.batch_sampler or loader.sampler, loader.dataset),
    }


def _epochs(rig: Rig, loader: Any) -> dict[str, Scalar]:
    """Whether the second epoch comes in the order of the first, samples being read in between."""
    if not is_map_style(loader) or len(loader.dataset) > ORDERED:
        return {}
    with same_draws(rig.seed), kept(*parts_of(loader)):
        epochs = []
        for _ in range(3):
            epochs.append(_epoch(loader))
            if not epochs[-1]:
                return {}
            if not loader.num_workers:
                loader.dataset[epochs[-1][-1][-1]]  # what reading seeds, the next epoch is drawn from
    _, second, third = epochs
    batches = {tuple(batch) for batch in second}
    several = len(second) > 1 and len({i for batch in second for i in batch}) > 1
    return {
        "same_epochs": second == third if several else None,
        "epoch_batches": len(second),
        "distinct_batches": len(batches),
    }


def _epoch(loader: DataLoader[Any]) -> list[list[int]]:
    epoch, samples = [], 0
    for batch in islice(iter(loader.batch_sampler or ()), _COMPARED):
        epoch.append(list(batch))
        samples += len(epoch[-1])
        if samples >= _COMPARED:
            break
    return epoch
