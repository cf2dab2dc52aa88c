"""How strongly gradients arrive along the depth, and what thins them out. Thresholds: the check's."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.faults.steps import progress
from pytest_dlcheck.trace import Matrix, Trace
from pytest_dlcheck.verdict import Measure, Suspect

_STALLED = 0.02
"""Share of the loss on fixed batches that is covered, below which nothing is learned (ratio)."""
_ADVISED = 0.85
"""Share of values that a dropout sets to 0 from which on it is told (ratio); in use are 0.05 to 0.8."""


def vanishing(trace: Trace, names: list[str], bound: float, faint: float) -> Fault | None:
    """The first layers receive next to nothing of what the best layer does, relative to their weights.

    Args:
        trace: what was recorded.
        names: the parameters that receive gradients.
        bound: the least share (ratio) that lets a depth learn.
        faint: the same where the loss stands still.
    """
    found, covered = strengths(trace, names), progress(trace)
    if covered is not None and abs(covered) < _STALLED:
        bound = faint
    best = max(found.values(), default=0.0)
    weak = [name for name, strength in found.items() if strength < bound * best]
    if not weak or weak != list(found)[: len(weak)]:
        return None
    ratio = min(found[name] for name in weak) / best
    return Fault(
        f"gradients vanish along the depth: relative to its weight, {weak[0]} receives "
        f"{ratio:.1e} of what the best layer does (at least {bound:.0e})",
        measures=(Measure("gradient over weight, first to best", ratio, "ratio", bound, ">="),),
        suspects=[Suspect(n, f"gradient over weight {found[n]:.1e}, best {best:.1e}") for n in weak],
        cause=f"the first {len(weak)} of {len(found)} weights are too deep for the signal: "
        "saturating activations, a small initialisation, or no normalisation on the way",
        remedy="use ReLU or GELU, residual connections or normalisation, or another init",
    )


def dropped(trace: Trace, most: float) -> Fault | None:
    """A dropout that lets next to nothing through: it drops more than the bound (ratio)."""
    rows = [row for row in trace.rows("dropouts") if row.number("p") > most]
    if not rows:
        return None
    worst = max(rows, key=lambda row: row.number("p"))
    share = worst.number("p")
    return Fault(
        f"{worst.text('name')} drops {share:.0%} of what passes and of its gradients (at most "
        f"{most:.0%})",
        measures=(Measure("share that is dropped", share, "ratio", most),),
        suspects=[
            Suspect(row.text("name"), f"{row.text('type')}, p={row.number('p'):g}") for row in rows
        ],
        cause=f"p={share:g} is the share that is dropped, not the share that is kept",
        remedy=f"use p={1 - share:.2g}, or 0.1 to 0.5",
    )


def drops_much(trace: Trace, most: float) -> Iterable[str]:
    """Advice on a dropout that is unusually strong."""
    for row in trace.rows("dropouts"):
        share = row.number("p")
        if _ADVISED <= share <= most:
            yield f"{row.text('name')} drops {share:.0%} of what passes: is p the share to keep?"


def strengths(trace: Trace, names: list[str]) -> dict[str, float]:
    """Gradient over weight of each matrix or kernel, against the best one's, in the best step (ratio).

    In the order of registration. The best step, because a depth that swallows the signal does so from
    the first step on, while steps that are too large saturate units that let it pass before.
    """
    gradients, weights = trace.matrix("gradient_norm"), trace.matrix("parameter_norm")
    types = {row.text("name"): row.text("type") for row in trace.rows("modules")}
    shapes = {r.text("name"): r for r in trace.rows("parameters")}
    found = {}
    for name in names:
        row = shapes.get(name)
        if row is None or row.flag("zero_at_start") or row.text("shape").count(", ") == 0:
            continue
        if "Embedding" in types.get(name.rpartition(".")[0], "") or name not in weights.sites:
            continue
        if ratios := _ratios(gradients, weights, name):
            found[name] = ratios
    best = {
        step: max(ratios.get(step, 0.0) for ratios in found.values())
        for step in {step for ratios in found.values() for step in ratios}
    }
    return {
        name: max(ratio / best[step] for step, ratio in ratios.items()) for name, ratios in found.items()
    }


def _ratios(gradients: Matrix, weights: Matrix, name: str) -> dict[int, float]:
    sizes = dict(zip(weights.steps, weights.column(name), strict=True))
    pairs = zip(gradients.steps, gradients.column(name), strict=True)
    return {step: g / size for step, g in pairs if g and (size := sizes.get(step))}
