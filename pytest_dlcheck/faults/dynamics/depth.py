"""How strongly gradients arrive along the depth, and what thins them out. Thresholds: the check's."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pytest_dlcheck.faults.dynamics.steps import progress
from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Matrix, Trace
from pytest_dlcheck.verdict import Measure, Suspect

GLANCED = frozenset({"parameter_norm", "modules", "fixed_loss", "coverage"})
"""What is read here beside gradients and parameters."""
_STALLED = 0.02
"""Share of the loss on fixed batches that is covered, below which nothing is learned (ratio)."""
_VALUES = {"q": "v", "k": "v", "wq": "wv", "wk": "wv", "query": "value", "key": "value"}
_VALUES |= {"queries": "values", "keys": "values"}
"""Names of queries and keys, and of the values beside them: while the attention is even, next to
nothing depends on queries and keys, at any depth."""
_ADVISED = 0.85
"""Share of values that a dropout sets to 0 from which on it is told (ratio); in use are 0.05 to 0.8."""
_CLEAR = 100.0
"""Bounds by which an embedding or a scale on the way must beat the bound (ratio): biases are small."""
_BORDER = 10.0
"""Bounds up to which a weight counts as one of the first, as its block is (ratio)."""
_PASSED_BY = 1e-9
"""Gradient over weight, beside the best (ratio), that no gate in use explains: they begin at 1e-6."""
_CAUSES = "saturating activations, a small initialisation, or no normalisation on the way"


def by_calls(names: list[str], inspected: Iterable[Trace]) -> list[str]:
    """The parameters in the order in which their modules are first called, or as they come.

    Blocks may be registered kind by kind, and be called in turns.

    Args:
        names: in the order of registration.
        inspected: traces of one batch, which may know.
    """
    rows = [row for trace in inspected for row in trace.rows("coverage")]
    order = {r.text("name"): r.integer("order") for r in rows if r.get("order") is not None}
    return sorted(names, key=order.__getitem__) if all(n in order for n in names) else names


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
    first = list(found)[: list(found).index(weak[-1]) + 1] if weak else []
    if not weak or any(found[name] >= _BORDER * bound * best for name in first):
        return None
    if any(share >= _CLEAR * bound for share in _arrivals(trace, names[: names.index(weak[-1])])):
        return _bypassed({name: found[name] / best for name in weak if found[name] < _PASSED_BY * best})
    types = {row.text("type") for row in trace.rows("modules")}
    normalises = any("Norm" in kind for kind in types)
    ratio = min(found[name] for name in weak) / best
    return Fault(
        f"gradients vanish along the depth: relative to its weight, {weak[0]} receives "
        f"{ratio:.1e} of what the best layer does (at least {bound:.0e})",
        measures=(Measure("gradient over weight, first to best", ratio, "ratio", bound, ">="),),
        suspects=[Suspect(n, f"gradient over weight {found[n]:.1e}, best {best:.1e}") for n in weak],
        cause=f"the first {len(weak)} of {len(found)} weights are too deep for the signal: "
        + ("saturating activations, or a small initialisation" if normalises else _CAUSES),
        remedy="use ReLU or GELU, residual connections or normalisation, or another init",
    )


def _bypassed(weak: dict[str, float]) -> Fault | None:
    """Weights that nothing depends on, while the signal comes past them to what lies before."""
    if not weak:
        return None
    first, ratio = next(iter(weak)), min(weak.values())
    return Fault(
        f"next to nothing of what {first} does reaches the loss: relative to its weight, its gradient "
        f"is {ratio:.1e} of the best (at least {_PASSED_BY:.0e}), though what lies before receives more",
        measures=(Measure("gradient over weight, beside the best", ratio, "ratio", _PASSED_BY, ">="),),
        suspects=[
            Suspect(n, f"gradient over weight {share:.1e} of the best") for n, share in weak.items()
        ],
        cause="the signal comes past it: its result is masked out, multiplied by next to nothing, or "
        "saturates what follows",
        remedy="look at the mask, the gate or the activation that follows it",
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
    found = _found(trace, [name for name in names if _is_deep(trace, name)])
    best = _best(found)
    return {
        name: max(ratio / best[step] for step, ratio in ratios.items()) for name, ratios in found.items()
    }


def _arrivals(trace: Trace, names: list[str]) -> list[float]:
    """The same of what is no matrix or kernel: embeddings, and scales that do not begin at zero."""
    every = [name for name in trace.matrix("gradient_norm").sites if _is_deep(trace, name)]
    best = _best(_found(trace, every))
    others = _found(trace, [name for name in names if name not in every])
    return [
        max(ratio / best[step] for step, ratio in ratios.items() if step in best)
        for ratios in others.values()
        if any(step in best for step in ratios)
    ]


def _is_deep(trace: Trace, name: str) -> bool:
    """Whether it is a matrix or kernel that inputs pass through; queries and keys are not."""
    row = next((r for r in trace.rows("parameters") if r.text("name") == name), None)
    if row is None or row.text("shape").count(", ") == 0:
        return False
    owner = name.rpartition(".")[0]
    types = {r.text("name"): r.text("type") for r in trace.rows("modules")}
    return "Embedding" not in types.get(owner, "") and not _scores(name, trace)


def _scores(name: str, trace: Trace) -> bool:
    """Whether it makes queries or keys: beside it stands one of the same name for values."""
    words = re.split(r"([._])", name)
    known = trace.matrix("gradient_norm").sites
    return any(
        "".join([*words[:i], _VALUES[word.lower()], *words[i + 1 :]]).lower()
        in {site.lower() for site in known}
        for i, word in enumerate(words)
        if word.lower() in _VALUES
    )


def _found(trace: Trace, names: list[str]) -> dict[str, dict[int, float]]:
    """Gradient over weight in each step where both are known (ratio)."""
    gradients, weights = trace.matrix("gradient_norm"), trace.matrix("parameter_norm")
    zero = {row.text("name") for row in trace.rows("parameters") if row.flag("zero_at_start")}
    known = [name for name in names if name in weights.sites and name not in zero]
    return {name: ratios for name in known if (ratios := _ratios(gradients, weights, name))}


def _best(found: dict[str, dict[int, float]]) -> dict[int, float]:
    steps = {step for ratios in found.values() for step in ratios}
    return {step: max(ratios.get(step, 0.0) for ratios in found.values()) for step in steps}


def _ratios(gradients: Matrix, weights: Matrix, name: str) -> dict[int, float]:
    sizes = dict(zip(weights.steps, weights.column(name), strict=True))
    pairs = zip(gradients.steps, gradients.column(name), strict=True)
    found = {step: g / size for step, g in pairs if g and (size := sizes.get(step))}
    return {step: ratio for step, ratio in found.items() if ratio}  # weights beyond measure give 0
