"""What the values of a policy may be, key by key. Values only; what they mean is said in the policy."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

GATES = ("accuracy", "metrics", "throughput", "latency", "peak_memory")
"""Keys that ask for a gate of the same name; ``True`` asks for it without a threshold of its own."""
_TIMED = ("margin", "batch_size", "precision")
_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "accuracy": ("at_least", "margin"),
    "throughput": ("at_least", *_TIMED),
    "latency": ("at_most", *_TIMED),
    "peak_memory": ("at_most", *_TIMED),
}
_BYTES = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


class PolicyError(ValueError):
    """A policy has an unknown key or an impossible value; the message lists what is valid."""


def _positive(key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise PolicyError(f"{key}={value!r} is no whole number of at least 1")
    return value


def _seconds(_: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise PolicyError(f"timeout={value!r} is no number of seconds above 0")
    return float(value)


def _names(key: str, value: Any) -> tuple[str, ...]:
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


def _device(_: str, value: Any) -> str:
    if not isinstance(value, str):
        raise PolicyError(f'device={value!r} is no name of a device, such as "cpu" or "cuda:1"')
    return value


def _skip_or_fail(key: str, value: Any) -> str:
    if value not in {"skip", "fail"}:
        raise PolicyError(f'{key}={value!r} is neither "skip" nor "fail"')
    return str(value)


def _gate(key: str, value: Any) -> Mapping[str, Any]:
    """A gate's options: ``throughput=5000`` stands for ``throughput={"at_least": 5000}``."""
    valid = _OPTIONS[key]
    if value is True:
        return {}
    given = dict(value) if isinstance(value, Mapping) else {valid[0]: value}
    for name in given:
        if name not in valid:
            raise PolicyError(f"{key}={{{name!r}: ...}} is unknown (valid: {', '.join(valid)})")
    if valid[0] in given:
        given[valid[0]] = _bound(key, given[valid[0]])
    if "margin" in given:
        given["margin"] = _number(f"{key} margin", given["margin"], lambda x: 0 <= x < 1, "from 0 to 1")
    if "batch_size" in given:
        given["batch_size"] = [_positive(f"{key} batch_size", n) for n in _listed(given["batch_size"])]
    if "precision" in given:
        given["precision"] = [str(name) for name in _listed(given["precision"])]
    return given


def _bound(key: str, value: Any) -> float:
    if key == "accuracy":
        return _number(key, value, lambda x: 0 < x <= 1, "above 0 and at most 1 (0.95 for 95 %)")
    if key == "peak_memory" and isinstance(value, str):
        found = re.fullmatch(r"\s*([0-9.]+)\s*([kKMG]?i?B)\s*", value)
        if found is None or found[2] not in _BYTES:
            raise PolicyError(f'peak_memory={value!r} is no size, such as "2 GiB" or "800 MB"')
        return float(found[1]) * _BYTES[found[2]]
    return _number(key, value, lambda x: 0 < x < math.inf, "above 0")


def _metrics(_: str, value: Any) -> Mapping[str, Any]:
    """Metric name -> ``[sense, number to reach]``, or True for no threshold."""
    if not isinstance(value, Mapping):
        raise PolicyError(f'metrics={value!r} says no number to reach: write metrics={{"f1": 0.8}}')
    if not value:
        raise PolicyError('metrics={} names no metric: write metrics={"f1": 0.8}')
    return {str(name): _target(str(name), bound) for name, bound in value.items()}


def _target(name: str, bound: Any) -> Any:
    if bound is True:
        return True
    sense, number = ">=", bound
    if isinstance(bound, str):
        found = re.fullmatch(r"\s*(<=|>=)\s*([-+0-9.eE]+)\s*", bound)
        if found is None:
            raise PolicyError(f'metrics={{{name!r}: {bound!r}}}: write 0.8, ">= 0.8" or "<= 3.2"')
        sense, number = found[1], float(found[2])
    return [sense, _number(f"metric {name}", number, math.isfinite, "that is finite")]


def _number(key: str, value: Any, holds: Callable[[float], bool], words: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not holds(value):
        raise PolicyError(f"{key}={value!r} is no number {words}")
    return float(value)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _or_none(read: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    return lambda key, value: None if value is None else read(key, value)


READERS: Mapping[str, Callable[[str, Any], Any]] = MappingProxyType(
    {
        **dict.fromkeys(("steps", "seeds", "folds", "max_seeds"), _positive),
        "epochs": _or_none(_positive),
        "select": _or_none(_names),
        "ignore": _reasons,
        "expected": _reasons,
        "device": _device,
        "timeout": _or_none(_seconds),
        "on_inconclusive": _or_none(_skip_or_fail),
        **dict.fromkeys(("accuracy", "throughput", "latency", "peak_memory"), _or_none(_gate)),
        "metrics": _or_none(_metrics),
    }
)
"""Key -> what reads ``(key, value)``, or raises :class:`PolicyError`."""
