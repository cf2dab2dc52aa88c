"""The marker's policy: which keys there are, what they mean, and how the nearest one wins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from typing import Any

LATER = {
    "accuracy": "accuracy gates",
    "metrics": "metric gates",
    "throughput": "throughput gates",
    "latency": "latency gates",
    "peak_memory": "memory gates",
    "epochs": "steps counted in epochs",
    "folds": "cross-validation",
}
"""Keys that are spoken for by gates that this version does not have."""


class PolicyError(ValueError):
    """A policy has an unknown key or an impossible value; the message lists what is valid."""


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
        on_inconclusive: ``"skip"`` or ``"fail"``: what an inconclusive verdict becomes.
    """

    steps: int = 100
    seeds: int = 1
    select: tuple[str, ...] | None = None
    ignore: Mapping[str, str] = field(default_factory=dict)
    expected: Mapping[str, str] = field(default_factory=dict)
    device: str = "auto"
    timeout: float | None = None
    on_inconclusive: str = "skip"


def merge(markers: Iterable[Mapping[str, Any]], command_line: Mapping[str, Any]) -> Policy:
    """One policy from many: the nearest marker wins key by key, the command line over all.

    Args:
        markers: the markers' keyword arguments, nearest first (function, class, module).
        command_line: the options that were given.

    Raises:
        PolicyError: a key is unknown or a value impossible.
    """
    merged: dict[str, Any] = {}
    for marker in (*reversed(list(markers)), command_line):
        for key, value in marker.items():
            merged[key] = _read(key, value)
    return replace(Policy(), **merged)


def own_marks(factory: object) -> tuple[Any, ...]:
    """The markers ``dlcheck`` on a factory itself, nearest first: pytest's own objects."""
    marks = getattr(factory, "pytestmark", ())
    return tuple(mark for mark in reversed(marks) if getattr(mark, "name", "") == "dlcheck")


def _read(key: str, value: Any) -> Any:
    valid = [f.name for f in fields(Policy)]
    if key in LATER:
        raise PolicyError(f"{key}=: {LATER[key]} are not available yet (valid: {', '.join(valid)})")
    if key not in valid:
        near = get_close_matches(key, valid, n=1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        raise PolicyError(f"unknown policy {key!r}{hint} (valid: {', '.join(valid)})")
    if key in {"steps", "seeds"}:
        return _positive(key, value)
    if key == "timeout" and value is not None:
        return _seconds(value)
    if key == "select" and value is not None:
        return tuple(_names(key, value))
    if key in {"ignore", "expected"}:
        return _reasons(key, value)
    if key == "on_inconclusive" and value not in {"skip", "fail"}:
        raise PolicyError(f'on_inconclusive={value!r} is neither "skip" nor "fail"')
    if key == "device" and not isinstance(value, str):
        raise PolicyError(f'device={value!r} is no name of a device, such as "cpu" or "cuda:1"')
    return value


def _positive(key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise PolicyError(f"{key}={value!r} is no whole number of at least 1")
    return value


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise PolicyError(f"timeout={value!r} is no number of seconds above 0")
    return float(value)


def _names(key: str, value: Any) -> Iterable[str]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Iterable):
        names = tuple(value)
        if all(isinstance(name, str) for name in names):
            return names
    raise PolicyError(f"{key}={value!r} is no list of names of checks or families")


def _reasons(key: str, value: Any) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        raise PolicyError(f'{key}={value!r} lacks its reasons: write {key}={{"the_check": "why"}}')
    for name, reason in value.items():
        if not isinstance(reason, str) or not reason.strip():
            raise PolicyError(f"{key}={{{name!r}: {reason!r}}} wants its reason, as text")
    return dict(value)
