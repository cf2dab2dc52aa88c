"""A recipe's metrics, gathered over batches: functions averaged, objects asked at the end."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.recipe import described
from pytest_dlcheck.run.errors import message_of
from pytest_dlcheck.run.fit.validation import is_metric_object
from pytest_dlcheck.run.losses.labels import logits_of
from pytest_dlcheck.run.tensors.tree import batch_size, take
from pytest_dlcheck.trace import Row

PARTS = (32, 4)
"""Parts of a batch: the second where the metric cannot be had of the first, which are smaller."""


class Tally(ABC):
    """One metric over many batches; what is wrong with it stays its own problem."""

    def __init__(self, name: str) -> None:
        self.name, self.samples = name, 0
        self._problem = ""

    def add(self, outputs: Any, targets: Any, size: int) -> None:
        """Show it one batch of ``size`` samples."""
        if self._problem:
            return
        self.samples += size
        try:
            self._problem = self._add(outputs, targets, size)
        except Exception as error:  # noqa: BLE001  a metric is the user's own code
            self._problem = f"it raised {message_of(error)}"

    def row(self) -> Row:
        """What was found: value, standard error between batches where it is known, or a problem."""
        value, problem = None, self._problem
        if not problem:
            try:
                value, problem = self._value()
            except Exception as error:  # noqa: BLE001  a metric is the user's own code
                problem = f"it raised {message_of(error)}"
        if value is not None and not math.isfinite(value):
            value, problem = None, f"it is {value}"
        noise, points = (None, 0) if value is None else self._error(value)
        return Row(
            name=self.name,
            value=value,
            samples=self.samples,
            error=noise,
            points=points,
            problem=problem,
        )

    @abstractmethod
    def _add(self, outputs: Any, targets: Any, size: int) -> str:
        """Take a batch; returns what is wrong with it."""

    @abstractmethod
    def _value(self) -> tuple[float | None, str]:
        """The value over all batches, or what is wrong with it."""

    def _error(self, value: float) -> tuple[float | None, int]:
        """The standard error of the value, and the count of batches that it is known from."""
        del value
        return None, 0


class Averaged(Tally):
    """A function: its mean over batches, weighted by their samples.

    Its noise is that between parts of batches, on which it is asked too, because batches are few.

    Args:
        name: the metric's.
        function: ``function(outputs, targets)``.
        batch_dim: the axis of samples; None where batches cannot be taken apart.
    """

    def __init__(self, name: str, function: Any, batch_dim: int | None) -> None:
        super().__init__(name)
        self._function, self._dim = function, batch_dim
        self._values: list[tuple[float, int]] = []
        self._parts: list[tuple[float, int]] = []

    def _add(self, outputs: Any, targets: Any, size: int) -> str:
        parts = self._taken_apart(outputs, targets, size)
        value, problem = number(self._function(outputs, targets))
        if value is not None:
            self._values.append((value, size))
            self._parts += parts or [(value, size)]
        return problem

    def _taken_apart(self, outputs: Any, targets: Any, size: int) -> list[tuple[float, int]]:
        """The metric of each part of a batch; empty where it cannot be had."""
        both = (outputs, targets)
        if self._dim is None or any(batch_size(one, self._dim) != size for one in both):
            return []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of few samples, which the user did not ask for
            return next(filter(None, (self._of_parts(both, size, count) for count in PARTS)), [])

    def _of_parts(self, both: tuple[Any, Any], size: int, count: int) -> list[tuple[float, int]]:
        parts: list[tuple[float, int]] = []
        assert self._dim is not None
        for some in torch.split(torch.arange(size), -(-size // count)):
            try:
                value, _ = number(self._function(*(take(one, some, self._dim) for one in both)))
            except Exception:  # noqa: BLE001  it may want two samples, or all classes
                return []
            if value is None or not math.isfinite(value):
                return []
            parts.append((value, len(some)))
        return parts

    def _value(self) -> tuple[float | None, str]:
        return sum(value * size for value, size in self._values) / self.samples, ""

    def _error(self, value: float) -> tuple[float | None, int]:
        count = len(self._parts)
        if count < 2:  # noqa: PLR2004  one part tells nothing about noise
            return None, count
        spread = sum((size * (one - value)) ** 2 for one, size in self._parts)
        return math.sqrt(spread * count / (count - 1)) / self.samples, count


class Gathered(Tally):
    """An object with ``update`` and ``compute``: asked once, at the end."""

    def __init__(self, name: str, metric: Any, device: Any) -> None:
        super().__init__(name)
        self._metric = metric.to(device) if callable(getattr(metric, "to", None)) else metric
        if callable(getattr(metric, "reset", None)):
            metric.reset()

    def _add(self, outputs: Any, targets: Any, size: int) -> str:
        del size
        plain = outputs if isinstance(outputs, Tensor) else logits_of(outputs)
        self._metric.update(outputs if plain is None else plain, targets)
        return ""

    def _value(self) -> tuple[float | None, str]:
        return number(self._metric.compute())


def tally(name: str, metric: Any, device: Any, batch_dim: int | None) -> Tally:
    """What gathers a metric, by what it is."""
    if is_metric_object(metric):
        return Gathered(name, metric, device)
    return Averaged(name, metric, batch_dim)


def number(value: Any) -> tuple[float | None, str]:
    """What a metric gave, as a number; or what it is instead."""
    if isinstance(value, Tensor) and value.numel() != 1:
        return None, f"it gives a tensor of shape {tuple(value.shape)}, not one number"
    if isinstance(value, (bool, str, bytes)) or value is None:
        return None, f"it gives {described(value)}, not a number"
    try:
        return float(value), ""
    except (TypeError, ValueError):
        return None, f"it gives {described(value)}, not a number"
