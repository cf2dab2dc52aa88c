"""The marker's policy: which keys there are, what they mean, and how the nearest one wins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from typing import Any

from pytest_dlcheck.policy_values import GATES, READERS, PolicyError

__all__ = ["Policy", "PolicyError", "merge", "own_marks"]


@dataclass(frozen=True, slots=True)
class Policy:
    """How a recipe is to be judged: ``@pytest.mark.dlcheck(steps=100, ...)``, merged key by key.

    Attributes:
        steps: optimizer steps of a ``train`` trial.
        seeds: how many seeds the trials that train are run with.
        select: names of checks or families; only these run.
        ignore: names of checks or families that do not run, each with its reason.
        expected: names of checks that must fail, each with its reason.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``, ``mps`` or ``xpu``.
        timeout: seconds per trial.
        on_inconclusive: ``"skip"`` or ``"fail"``: what an inconclusive verdict becomes; None lets
            gates fail and everything else be skipped.
        accuracy: the share of validation samples that must be classified right, or how it is gated.
        metrics: metric name -> what its mean must reach.
        throughput: training samples/s that must be reached, or how it is gated.
        latency: seconds that one forward pass may take, or how it is gated.
        peak_memory: bytes that a training step may take at its peak, or how it is gated.
        epochs: how often the trainings behind ``accuracy`` and ``metrics`` read their data, in place
            of ``steps``.
        folds: parts that one data set is cut into, each validated on once (fixture ``dlcheck_split``).
        max_seeds: seeds that a gate may take until it is decided.
        full_steps: the steps that a command line has lowered; None where it has not.
    """

    steps: int = 100
    seeds: int = 1
    select: tuple[str, ...] | None = None
    ignore: Mapping[str, str] = field(default_factory=dict)
    expected: Mapping[str, str] = field(default_factory=dict)
    device: str = "auto"
    timeout: float | None = None
    on_inconclusive: str | None = None
    accuracy: Any = None
    metrics: Any = None
    throughput: Any = None
    latency: Any = None
    peak_memory: Any = None
    epochs: int | None = None
    folds: int = 1
    max_seeds: int = 5
    full_steps: int | None = None

    @property
    def gates(self) -> tuple[str, ...]:
        """The gates that are asked for."""
        return tuple(name for name in GATES if getattr(self, name) is not None)

    def to_json(self) -> dict[str, Any]:
        """What gates are judged by, as JSON; :meth:`from_json` reads it back."""
        chosen = None if self.select is None else list(self.select)
        return {**{name: getattr(self, name) for name in _JUDGED_BY}, "select": chosen}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Policy:
        """The policy that :meth:`to_json` wrote, as far as gates go."""
        chosen = data.get("select")
        known = {name: data[name] for name in _JUDGED_BY if name in data}
        return cls(**known, select=None if chosen is None else tuple(chosen))


_JUDGED_BY = (*GATES, "steps", "epochs", "folds", "seeds", "max_seeds", "full_steps")


def merge(markers: Iterable[Mapping[str, Any]], command_line: Mapping[str, Any]) -> Policy:
    """One policy from many: the nearest marker wins key by key, the command line over all.

    Args:
        markers: the markers' keyword arguments, nearest first (function, class, module).
        command_line: the options that were given.

    Raises:
        PolicyError: a key is unknown or a value impossible.
    """
    merged: dict[str, Any] = {}
    for marker in reversed(list(markers)):
        merged |= {key: _read(key, value) for key, value in marker.items()}
    own = replace(Policy(), **merged)
    policy = replace(own, **{key: _read(key, value) for key, value in command_line.items()})
    if policy.steps < own.steps or ("steps" in command_line and own.epochs is not None):
        return replace(policy, full_steps=own.steps, epochs=None)
    return policy


def own_marks(factory: object) -> tuple[Any, ...]:
    """The markers ``dlcheck`` on a factory itself, nearest first: pytest's own objects."""
    marks = getattr(factory, "pytestmark", ())
    return tuple(mark for mark in reversed(marks) if getattr(mark, "name", "") == "dlcheck")


def _read(key: str, value: Any) -> Any:
    valid = [f.name for f in fields(Policy) if f.name != "full_steps"]
    if key not in valid:
        near = get_close_matches(key, valid, n=1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        raise PolicyError(f"unknown policy {key!r}{hint} (valid: {', '.join(valid)})")
    return READERS[key](key, value)
