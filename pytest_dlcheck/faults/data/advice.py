"""Suspicions about samples and their scale that are no faults, told in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pytest_dlcheck.faults.data import contents as faults
from pytest_dlcheck.faults.data.doubled import on_doubled
from pytest_dlcheck.trace import Row

_OFF = 10.0
"""RMS of inputs from which scaling is advised; chosen, sixteen grey levels have 8."""
_TWICE = 2.5
"""RMS of images below 0 and above that suggests a second normalisation; ImageNet's give 3 to 5."""
_TINY = 0.01
"""RMS of inputs up to which it is; diabetes as scikit-learn scales it has 0.05."""
_SPAN = 1e4
"""Largest over smallest standard deviation of features from which it is; chosen."""
_IMBALANCE = 50.0
"""The commonest class over the rarest (ratio) from which weights are advised; chosen."""
_FEW = 20
"""Classes up to which imbalance is told: of more, as of words, some are rare by nature; chosen."""
_BETWEEN = 0.5
"""Share of the variance between columns (ratio) from which on they are different quantities; wine has
0.99 where each of its rows was standardised, noise one over its rows."""
_LARGE = 1_000.0
"""RMS of targets from which scaling them is advised; diabetes' progression has 171."""


def expects_gaps(row: Row) -> str:
    """NaN that loss and model know how to deal with."""
    return (
        f"{row.text('place')} holds NaN or infinity in {row.integer('bad_samples')} of "
        f"{faults.looked_at(row)}; the loss stays finite, so this seems to be on purpose"
    )


def large_but_mended(entry: Row) -> str:
    """Large inputs that do no harm here."""
    why = (
        "its weights seem to be trained for it"
        if entry.flag("trained")
        else "what follows makes up for it"
    )
    return (
        f"inputs reach {entry.text('site') or 'the model'} with an rms of {entry.number('given'):.3g} "
        f"({faults.value_range(entry)}); {why}, but scaling them is safer"
    )


def small_but_mended(entry: Row) -> str:
    """Inputs that were divided twice, which does no harm here."""
    return (
        f"{faults.divided_twice(entry).cause}; what follows makes up for it "
        f"({faults.value_range(entry)})"
    )


def off_scale(entry: Row) -> str:
    """Inputs that are large or small, though not beyond reach."""
    return (
        f"inputs reach {entry.text('site') or 'the model'} with an rms of {entry.number('given'):.3g} "
        f"({faults.value_range(entry)}): about 1 is what initialisations are made for"
    )


def on_mended(entry: Row, *, large: bool) -> Iterator[str]:
    """Inputs out of scale that the model makes up for; not where it normalises large ones first."""
    if large and not entry.flag("normalises"):
        yield large_but_mended(entry)
    elif faults.is_divided_twice(entry):
        yield small_but_mended(entry)


def on_entries(entries: Iterable[Row], beyond: list[Row], rows: Iterable[Row]) -> Iterator[str]:
    """Scales that are off, made up for or not, where they are no failure: ``beyond`` are, if not."""
    rows = list(rows)
    for entry in entries:
        large = any(entry is one for one in beyond)
        if faults.at_ease(entry):
            yield from on_mended(entry, large=large)
        elif not large:
            yield from on_scale(entry, rows)


def on_scale(entry: Row, rows: Iterable[Row]) -> Iterator[str]:
    """Scales that are off where the model's first weights meet them.

    Args:
        entry: of a layer that nothing normalises for.
        rows: of the inputs and targets.
    """
    if entry.number("given") >= _OFF or 0 < entry.number("given") <= _TINY:
        yield off_scale(entry)
    image = entry.integer("dims") == 4 and entry.integer("features") >= 16  # noqa: PLR2004
    if image and entry.number("lowest") < 0 and _TWICE <= entry.number("given") < _OFF:
        yield f"{off_scale(entry)}; were they normalised twice?"
    for row in rows:
        ratio = row.number("largest_spread") / max(row.number("smallest_spread"), 1e-30)
        if ratio >= _SPAN and not row.flag("is_target"):
            yield on_span(row, ratio)


def on_contents(rows: Iterable[Row], same: Iterable[Row]) -> Iterator[str]:
    """Suspicions about what samples hold.

    Args:
        rows: of the inputs and targets.
        same: those of them that are the same in every sample.
    """
    rows = list(rows)
    yield from on_doubled(rows)
    for row in same:
        if row.flag("is_target"):
            yield f"{row.text('place')} is the same in all {faults.looked_at(row)}"
    for row in rows:
        if row.flag("survives"):
            yield expects_gaps(row)
        place, samples = row.text("place"), row.integer("samples")
        features = row.integer("features")
        yield from _on_table(row)
        if row.text("dtype").startswith("float") and features >= 4 and samples >= 32:  # noqa: PLR2004
            distinct = row.integer("distinct")
            if not row.flag("is_target") and 1 < distinct < samples / 2:
                yield (
                    f"only {distinct} of {faults.looked_at(row)} are distinct in {place}: are they "
                    "meant to repeat?"
                )
        if row.get("leaks") is not None:
            yield (
                f"feature {row.integer('leaks')} of {place} equals the target in "
                f"{faults.looked_at(row)}: has the label leaked into the inputs?"
            )
        yield from _on_classes(row)
        if row.text("label_kind") == "quantities" and row.number("rms") >= _LARGE:
            yield f"targets have an rms of {row.number('rms'):.3g}: scale them to about 1"


def _on_table(row: Row) -> Iterator[str]:
    place, features = row.text("place"), row.integer("features")
    table = row.integer("dims") == 2 and row.text("dtype").startswith("float")  # noqa: PLR2004
    if not row.flag("is_target") and table and 0 < row.integer("constant_features") < features:
        constant = row.integer("constant_features")
        yield f"{constant} of {features} features of {place} are constant in {faults.looked_at(row)}"
    if row.number("between_columns") >= _BETWEEN:
        yield (
            f"each row of {place} has a mean of 0 and a deviation of 1, and "
            f"{row.number('between_columns'):.0%} of its variance lies between its {features} columns: "
            "a table of different quantities is standardised feature by feature, by columns (axis=0)"
        )


def _on_classes(row: Row) -> Iterator[str]:
    rarest, commonest = row.integer("rarest_count"), row.integer("commonest_count")
    known = row.integer("highest_label") + 1
    few = 1 < row.integer("classes") <= _FEW
    if few and commonest >= _IMBALANCE * rarest and not row.flag("weighed"):
        yield (
            f"class {row.integer('commonest')} is {commonest / rarest:.0f} times as common as class "
            f"{row.integer('rarest')} ({faults.looked_at(row)}): weigh the loss or the sampler"
        )
    if 1 < row.integer("classes") < known and row.flag("whole") and row.integer("samples") >= 10 * known:
        missing = known - row.integer("classes")
        yield f"{missing} of the classes 0 to {known - 1} never occur in {faults.looked_at(row)}"


def on_span(row: Row, span: float) -> str:
    """Features of scales so different that the small ones go unseen."""
    return f"{faults.unequal(row).removeprefix('; ')}, {span:.0e} times less: {faults.STANDARDISE}"
