"""How the trained model does on validation data, and on some of the training data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from pytest_dlcheck.run.data.validation import sample
from pytest_dlcheck.run.errors import NotApplicableError, let_go, message_of
from pytest_dlcheck.run.modules.running import Statistics
from pytest_dlcheck.run.passes.evaluation import (
    Score,
    crossing_of,
    distinct,
    evaluating,
    recalibrated,
    score,
    spread,
)
from pytest_dlcheck.run.passes.reached import Reached
from pytest_dlcheck.run.probe import Probe
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import batch_size, copied
from pytest_dlcheck.trace import Row
from pytest_dlcheck.trial import Trial

SHARE = 0.05
"""Validation samples per sample trained on; half as many of the training data are evaluated too."""
LEAST, MOST = 128, 1_000
"""Samples at least and at most, of each."""
SECONDS = 1.0
"""Reading validation data ends then."""
CLOSELY = 4
"""How many times more validation samples are looked at where these look bad."""
RECALIBRATING = 4
"""Training batches that normalisation statistics are taken from, where the fixed ones do not tell."""
SURE = 5.0
"""Standard errors of the gain below which other modes are tried too."""
SUSPICIOUS = 0.8
"""Share of the training data's accuracy below which they are."""
HIGHER = 1.5
"""Loss, against that on training data, above which they are where no accuracy is known (ratio)."""
CLEARLY = (0.9, 1.25)
"""The same two for a first look at half as many. Where a tenth of the training data is wrong, validation
with 0.7 of its accuracy lies three standard errors of ``LEAST`` samples below."""
CLASSES = 100
"""Classes beyond which no confusion is told."""


class ValidationProbe(Probe[Rig]):
    """Fills ``validation`` and ``confusion`` at the end of a training, in eval mode.

    A row per data (``val``, ``train``) and mode: ``eval`` with normalisation statistics recalibrated on
    the training batches; where that looks bad, also ``own`` (eval mode as it is) and ``train``.
    """

    channels = frozenset({"validation", "confusion"})

    def begin(self, rig: Rig, trial: Trial) -> None:
        """Note what is to be done."""
        self._rig, self._trial, self._why_not = rig, trial, ""
        self._rows: list[Row] = []
        self._confusion: list[Row] = []
        self._steps = 0
        self.idle = trial.kind != "train" or rig.recipe.val_data is None
        self._reached = None if self.idle else Reached.of(rig)

    def step_ends(self, step: int) -> None:
        """Count."""
        self._steps = step + 1

    def end(self) -> None:
        """Evaluate."""
        if self.idle:
            return
        try:
            self._evaluate()
        except NotApplicableError as error:
            self._rows = [Row(inapplicable=str(error))]
        except Exception as error:  # noqa: BLE001  the user's data and model may fail in any way
            self._why_not = f"validation failed: {message_of(error)}"
            let_go(error)

    def filled(self) -> Mapping[str, Sequence[Row] | str]:
        """What was found."""
        if self.idle and self._trial.kind == "train":
            return {"validation": (Row(inapplicable="the recipe gives no val_data="),)}
        if self._why_not:
            return {"validation": self._why_not}
        return {"validation": tuple(self._rows), "confusion": tuple(self._confusion)}

    def _evaluate(self) -> None:
        rig = self._rig
        crossing = crossing_of(rig)
        size = rig.batch_size or 1
        wanted = int(min(MOST, max(LEAST, SHARE * self._steps * size)))
        with rig.undisturbed():
            train = [copied(b) for b in rig.look_ahead(-(-wanted // (2 * size)))]
        seen = rig.epochs_ended > 0
        training = frozenset(n for n, m in rig.model.named_modules() if m.training)
        base = _frequencies(rig, train)

        def tell(mode: str, found: Mapping[str, Score]) -> None:
            for split, result in found.items():
                common = {"data": split, "mode": mode, "seen": seen and split == "train"}
                chance = _chance(result, base)
                self._rows.append(result.row(**common, chance=chance, **spread(rig, data[split])))

        known = self._statistics()
        with rig.undisturbed(), recalibrated(rig, train[:RECALIBRATING], training, known):
            few = max(LEAST, wanted // 2)
            data = self._data(train[: -(-few // (2 * size))], few)
            found = {split: score(rig, data[split], crossing, gains=split == "val") for split in data}
            if few < wanted and _looks_bad(found, *CLEARLY):
                data = self._data(train, wanted)
                found = {
                    split: score(rig, data[split], crossing, gains=split == "val") for split in data
                }
            if bad := _looks_bad(found, SUSPICIOUS, HIGHER):
                more = self._data(train, min(MOST, CLOSELY * wanted))
                data = more if more["val"] else data
                found = {split: score(rig, data[split], crossing) for split in data}
        tell("eval", found)
        if not bad:
            return
        if rig.recipe.batch_dim == 0:
            self._rows[-1] = Row(self._rows[-1], distinct=distinct(rig, train))
        self._confusion = _confused(found["val"])
        with rig.undisturbed(), evaluating(rig.model):
            tell("own", {split: score(rig, data[split], crossing) for split in data})
        with rig.undisturbed():
            tell("train", {split: score(rig, data[split], crossing) for split in data})

    def _data(self, train: list[Any], samples: int) -> dict[str, list[Any]]:
        return {"val": sample(self._rig, self._rig.recipe.val_data, samples, SECONDS), "train": train}

    def _statistics(self) -> dict[str, Statistics]:
        """Those of the fixed batches, which have passed in any case; none where these do not pass."""
        try:
            found = {} if self._reached is None else self._reached.at_the_end()
        except Exception as error:  # noqa: BLE001  those who pass them for a fact of their own tell it
            let_go(error)
            return {}
        return {
            name: Statistics.average(one.statistics) for name, one in found.items() if one.statistics
        }


def _looks_bad(found: Mapping[str, Score], suspicious: float, higher: float) -> bool:
    val, train = found["val"], found["train"]
    row = val.row()
    if not row.number("gain") > SURE * row.number("gain_error"):
        return True
    if val.true and train.true:
        return _accuracy(val) < suspicious * _accuracy(train)
    return fmean(val.losses) > higher * fmean(train.losses)


def _accuracy(found: Score) -> float:
    return sum(a == b for a, b in zip(found.predicted, found.true, strict=True)) / len(found.true)


def _frequencies(rig: Rig, batches: Sequence[Any]) -> Counter[int]:
    """How often each class occurs in training batches; empty where the task has none."""
    counts: Counter[int] = Counter()
    for batch in batches:
        targets = rig.objective.targets(batch)
        whole = getattr(targets, "dtype", None) is not None and targets.dim() == 1
        if whole and batch_size(targets, 0):
            counts.update(targets.long().tolist())
    return counts


def _chance(found: Score, base: Counter[int]) -> float | None:
    """The accuracy of always naming the class that is the most frequent in the training data."""
    if not found.true or not base:
        return None
    often = base.most_common(1)[0][0]
    return sum(label == often for label in found.true) / len(found.true)


def _confused(found: Score) -> list[Row]:
    pairs = Counter(zip(found.true, found.predicted, strict=True))
    if len({label for label, _ in pairs}) > CLASSES:
        return []
    return [Row(true=t, predicted=p, count=n) for (t, p), n in sorted(pairs.items())]
