"""What a loop calls a loader, and what it measures, by the names of its variables. No judgement."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from types import FrameType
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from pytest_dlcheck.run.code.frames import named, words_of

FRAMES = 6
"""Functions around the read of a batch whose variables are looked at."""
_FAMILIES = (
    (frozenset({"val", "valid", "validation"}), frozenset({"val", "valid", "validation", "va"})),
    (frozenset({"test", "testing"}), frozenset({"test", "testing", "te"})),
    (frozenset({"heldout", "holdout", "held"}), frozenset({"heldout", "holdout", "held"})),
    (frozenset({"dev"}), frozenset({"dev"})),
)
"""Whole words of loaders of data that are held out, and of what is measured on them."""
_TRAINING = frozenset({"train", "training", "trainval", "tr", "unlabeled", "unlabelled", "target"})
"""Words beside which they say something else."""
_TRAINED = frozenset({"train", "training", "tr"})
"""Words of what is trained on, and of nothing else."""
_MEASURES = frozenset(
    {
        *("loss", "losses", "acc", "accs", "accuracy", "accuracies", "score", "scores", "error"),
        *("errors", "err", "mse", "rmse", "mae", "r2", "f1", "auc", "dice", "iou", "ppl", "perplexity"),
        *("metric", "metrics", "stats", "statistics", "result", "results"),
    }
)


def held_out_name(frame: FrameType | None, sampler: object) -> str:
    """What the loop calls the loader that reads by this sampler; empty unless that is held out.

    Args:
        frame: of the function that reads.
        sampler: of batches, or of samples where there are no batches.
    """
    name = called(frame, lambda value: reads_by(value, sampler))
    return name if is_held_out(name) else ""


def called(frame: FrameType | None, is_it: Callable[[object], bool]) -> str:
    """The first name that says which part of the data this is; empty where none does, or two disagree.

    Args:
        frame: of the function that reads or uses it.
        is_it: whether the value of a variable is it.
    """
    names = [name for name, value in named(frame, FRAMES) if is_it(value)]
    trained = [name for name in names if words_of(name) & _TRAINING]
    held = [name for name in names if _family(name)]
    return "" if trained and held else next(iter([*trained, *held]), "")


def is_held_out(name: str) -> bool:
    """Whether data of this name are held out from training."""
    return bool(_family(name)) and not words_of(name) & _TRAINING


def is_trained_on(name: str) -> bool:
    """Whether data of this name are there for training."""
    return bool(words_of(name) & _TRAINED) and not _family(name)


def may_be_sound(name: str) -> bool:
    """Whether a name of held-out data may also say that nothing is wrong with them."""
    return "valid" in words_of(name)


def measured(frame: FrameType | None, loader: str) -> dict[str, tuple[int, float]]:
    """Numbers, by their names, that may be measured on what a loader of this name gives.

    Of several, as in a history, how many there are, and the last. A name that says no more than the part
    is one of such where another says that it is the training's: ``tr, va``, but not ``key, val``.
    """
    family = _family(loader)
    found: dict[str, tuple[int, float]] = {}
    bare: dict[str, tuple[int, float]] = {}
    has_trained = False
    for name, value in named(frame, FRAMES):
        words = words_of(name)
        has_trained = has_trained or (words <= _TRAINED and _is_measured(value))
        if not words & family or words & _TRAINING or name in found:
            continue
        kept = found if words & _MEASURES else bare if words <= family and _is_measured(value) else None
        number = None if kept is None else _last(value)
        if kept is not None and number is not None:
            kept.setdefault(name, number)
    return {**(bare if has_trained else {}), **found}


def reads_by(value: object, sampler: object) -> bool:
    """Whether it is a loader that reads by this sampler."""
    if not isinstance(value, DataLoader):
        return False
    return value.batch_sampler is sampler or value.sampler is sampler


def _is_measured(value: object) -> bool:
    """Whether it is one number that is no count."""
    is_one = isinstance(value, Tensor) and value.numel() == 1 and value.is_floating_point()
    return is_one or isinstance(value, float)


def _last(value: Any) -> tuple[int, float] | None:
    if isinstance(value, (list, tuple)):
        last = _last(value[-1]) if len(value) else None
        return None if last is None else (len(value), last[1])
    if isinstance(value, Tensor):
        return (1, float(value)) if value.numel() == 1 and not value.is_complex() else None
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    return (1, float(value)) if is_number else None


def _family(name: str) -> frozenset[str]:
    words = words_of(name)
    return next((measures for loaders, measures in _FAMILIES if words & loaders), frozenset())
