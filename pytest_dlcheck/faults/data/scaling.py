"""What the scale of large inputs does to a training, told by one at unit scale. Thresholds included."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean

from pytest_dlcheck.faults.data import contents as faults
from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.statistics import mean_interval
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.verdict import Measure, Suspect

LARGE = 10.0
"""RMS of inputs from which on it is asked what their scale does; sixteen grey levels have 8."""
STEPS = 60
"""Steps of both trainings: digits, wine and breast cancer lose half of their loss in fewer."""
_MISSED = 0.5
"""Share of the way of the training at unit scale that must surely be missed (ratio); healthy nets
whose first layer is normalised right after miss 0.02 to 0.1, a ViT whose residual stream is fed with
bytes 0.9 and more."""
_LEARNED = 0.2
"""Share of its loss that the training at unit scale must lose before it tells anything (ratio)."""
_SURE = 0.998
_FEWEST = 2
_AXES, _PIXELS = 4, 16
"""Axes of a batch of images, and the fewest pixels of one."""


def may_hamper(entries: Iterable[Row]) -> bool:
    """Whether inputs are large where they meet weights that nothing was trained or made for."""
    free = [e for e in entries if not any(map(e.flag, ("normalises", "looks_up", "trained")))]
    return any(e.number("given") >= LARGE for e in free)


def fair(traces: Sequence[Trace]) -> tuple[Trace, ...]:
    """The trials that came to their end; one that diverged where that is the finding, too."""
    still = [t for t in traces if t.trial.kind in {"inspect", "watch"}]
    found = hampered([e for t in still for e in t.rows("data_scale")], traces)
    ends = {"completed"} if found is None else {"completed", "diverged"}
    return tuple(t for t in traces if t in still or t.ending.kind in ends)


def hampered(entries: Sequence[Row], traces: Iterable[Trace]) -> Fault | None:
    """Images whose scale keeps the training from learning; None where that was not shown."""
    images = [e for e in entries if _is_image(e) and e.number("given") >= LARGE]
    story = _compared(traces)
    if story is None or not images:
        return None
    because, missed = story
    entry = images[0]
    site = entry.text("site") or "the model"
    return Fault(
        f"inputs reach {site} with an rms of {entry.number('given'):.3g}: {because} "
        f"(bound {_MISSED:.0%})",
        (Measure("share missed of the way at unit scale", missed, "ratio", _MISSED),),
        [
            Suspect("data", faults.value_range(entry), faults.PIXELS),
            Suspect(entry.text("site"), "gets them as they are", faults.PIXELS),
        ],
        cause="images are not scaled (pixels from 0 to 255, or normalised by the wrong constants): the "
        "same training learns once they are",
        remedy=faults.PIXELS,
    )


def advice(traces: Iterable[Trace]) -> list[str]:
    """What is to be thought of features that are no images, where their scale was shown to matter."""
    story = _compared(traces)
    return [] if story is None else [f"{story[0]}: {faults.STANDARDISE}"]


def at_the_entry(trace: Trace) -> Fault | None:
    """Inputs so large where they meet the first weights that any usual learning rate is too high."""
    for entry in trace.rows("data_scale"):
        if faults.is_beyond(entry, faults.HUGE, faults.BYTES) and not faults.at_ease(entry):
            bound = faults.BYTES if faults.is_pixels(entry) else faults.HUGE
            return faults.too_large(entry, None, bound)
    return None


def _compared(traces: Iterable[Trace]) -> tuple[str, float] | None:
    """What the training at unit scale does better, and the share that the other misses (ratio)."""
    kin = {trace.trial.kind: trace for trace in traces}
    plain, scaled = kin.get("train"), kin.get("standardised")
    if plain is None or scaled is None or scaled.ending.kind != "completed":
        return None
    mine, other = plain.series("loss").values, scaled.series("loss").values
    late = len(other) // 4
    if late < _FEWEST or not all(map(math.isfinite, other)):
        return None
    start, end = other[0], fmean(other[-late:])
    if not start - end >= _LEARNED * abs(start):
        return None
    told = f"at unit scale the loss falls from {start:.3g} to {end:.3g} in {len(other)} steps"
    if plain.ending.kind == "diverged":
        return f"{told}, as they are it diverges", 1.0
    missed = _missed(mine, other)
    if missed is None:
        return None
    told = f"{told}, as they are from {mine[0]:.3g} to {fmean(mine[-late:]):.3g}"
    return f"{told}, which misses {missed:.0%} of that way", missed


def _missed(mine: Sequence[float], other: Sequence[float]) -> float | None:
    """The share of the other training's way that is surely missed (ratio); None where it is not."""
    late = len(other) // 4
    if len(mine) != len(other):
        return None
    gap = mean_interval([a - b for a, b in zip(mine[-late:], other[-late:], strict=True)], _SURE)
    missed = gap.estimate / (other[0] - fmean(other[-late:]))
    return missed if gap.low > 0 and missed >= _MISSED else None


def _is_image(entry: Row) -> bool:
    shaped = entry.integer("dims") == _AXES and entry.integer("features") >= _PIXELS
    return shaped or faults.is_pixels(entry)
