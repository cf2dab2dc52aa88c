"""The courses of a training that trackers draw: plain numbers by tag and step. None is known here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from pytest_dlcheck.trace import Matrix, Series, Trace

Curve = dict[int, float]
"""Step -> number."""
GROUPS = 24
"""Groups of layers above which modules further out are drawn: more curves than that nobody reads."""
_NAMES = {
    "loss": "loss",
    "learning_rate": "learning_rate",
    "seconds": "time/step_seconds",
    "data_seconds": "time/data_seconds",
}
_NORMS = ("gradient_norm", "update_norm")


def curves_of(trace: Trace) -> dict[str, Curve]:
    """Every course of one number over the steps, by tag; norms per group of layers and of the whole."""
    curves: dict[str, Curve] = {}
    for name, channel in trace.channels.items():
        if isinstance(channel, Series):
            tag = _NAMES.get(name, f"signals/{name}")
            curves[tag] = dict(zip(channel.steps, channel.values, strict=True))
        elif name not in {*_NORMS, "parameter_norm"}:
            curves[f"signals/{name}"] = _over(channel, range(len(channel.sites)), _mean)
    for name in _NORMS:
        norms = trace.matrix(name)
        for group, columns in _groups(norms.sites).items():
            curves[f"{name}/{group}"] = _over(norms, columns, _norm)
        if norms.sites:
            curves[f"{name}/all"] = _over(norms, range(len(norms.sites)), _norm)
    for group, curve in _ratios(trace).items():
        curves[f"update_to_weight/{group}"] = curve
    return {tag: curve for tag, curve in curves.items() if curve}


def distributions_of(trace: Trace) -> dict[str, dict[int, tuple[float, ...]]]:
    """The gradient norms of all parameters, a row per step, as powers of ten; zeros have none."""
    norms = trace.matrix("gradient_norm")
    rows = {
        step: tuple(math.log10(v) for v in row if v is not None and 0 < v < math.inf)
        for step, row in zip(norms.steps, norms.values, strict=True)
    }
    found = {step: row for step, row in rows.items() if row}
    return {"gradient_norm_as_power_of_ten": found} if found else {}


def _ratios(trace: Trace) -> dict[str, Curve]:
    updates, weights = trace.matrix("update_norm"), trace.matrix("parameter_norm")
    found = {}
    if updates.sites != weights.sites:
        return {}
    for group, columns in _groups(updates.sites).items():
        moved, there = _over(updates, columns, _norm), _over(weights, columns, _norm)
        found[group] = {s: moved[s] / there[s] for s in moved if there.get(s, 0.0) != 0}
    return found


def _over(matrix: Matrix, columns: Iterable[int], summed: Callable[[Sequence[float]], float]) -> Curve:
    chosen = tuple(columns)
    found = {}
    for step, row in zip(matrix.steps, matrix.values, strict=True):
        values = [value for index in chosen if (value := row[index]) is not None]
        if values:
            found[step] = summed(values)
    return found


def _groups(sites: Sequence[str]) -> Mapping[str, list[int]]:
    """The columns by the module that a parameter lies in; further out where these are too many."""
    depth = max((site.count(".") for site in sites), default=0)
    while True:
        groups: dict[str, list[int]] = {}
        for index, site in enumerate(sites):
            around = site.split(".")[:-1][: max(depth, 1)]
            groups.setdefault(".".join(around) or site, []).append(index)
        if len(groups) <= GROUPS or depth <= 1:
            return groups
        depth -= 1


def _norm(values: Sequence[float]) -> float:
    return math.hypot(*values)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if all(map(math.isfinite, values)) else math.nan
