"""What a broken shape claim means, in words: finding, place, cause, remedy."""

from __future__ import annotations

from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Suspect


def finding(row: Row) -> str:
    """A broken claim in one line."""
    kind, tensor, probe = row.text("kind"), row.text("tensor"), row.text("probe")
    expected, measured, dim = row.integer("expected"), row.integer("measured"), row.text("dim")
    found = row.text("found")
    if kind == "refused":
        return f"with {probe} the model refuses to run: {found}"
    if kind == "count":
        return f"`{tensor}` is declared ({dim}) but not there; {found}"
    if kind == "dtype":
        return f"`{tensor}` has the dtype {found}, not {dim}"
    if kind == "rank":
        return f"with {probe} `{tensor}` has rank {measured}, not {expected}: its shape is {found}"
    axis = f"axis {row.integer('axis')} of `{tensor}`"
    named = "" if dim.isdecimal() else f" ({dim})"
    return f"with {probe} {axis}{named} is {measured}, not {expected}: its shape is {found}"


def suspects(firm: list[Row]) -> list[Suspect]:
    """Where the claims broke, first of all where the batch axis goes astray."""
    sites: dict[str, Row] = {}
    for row in firm:
        sites.setdefault(row.text("site") or row.text("tensor"), row)
    return [
        Suspect(site, " ".join(filter(None, (finding(row), row.text("where")))), remedy(row))
        for site, row in sites.items()
    ]


def cause(firm: list[Row]) -> str:
    """The likely cause."""
    row = next((row for row in firm if row.text("where")), firm[0])
    where = row.text("where")
    kinds = {row.text("kind") for row in firm}
    samples = {row.integer("samples") for row in firm}
    if not _follows_size(firm[0]):
        return "the declared shapes and what the model takes or gives disagree"
    if all("=" in row.text("probe") for row in firm):
        return f"a size other than the batch is fixed in the code {where}".rstrip()
    if "refused" in kinds:
        return f"the number of samples is fixed in the code {where}".rstrip()
    if samples == {1} and "rank" in kinds:
        return f"a squeeze() without an axis drops the batch of one {where}".rstrip()
    return f"a view or reshape takes the batch axis for something else {where}".rstrip()


def _follows_size(row: Row) -> bool:
    """Whether the claim broke with the number of samples, rather than being declared wrongly."""
    return row.flag("of_batch") or not (is_at_own_size(row) or row.text("kind") in {"dtype", "count"})


def is_at_own_size(row: Row) -> bool:
    """Whether the claim is about the loader's own batch, which training meets at once."""
    return row.text("probe").startswith("the loader")


def remedy(row: Row) -> str:
    """What to do about a broken claim."""
    if not _follows_size(row):
        return "correct shapes=, or the model"
    if row.text("kind") == "rank":
        return "name the axis: squeeze(-1), not squeeze()"
    return "keep the batch axis: flatten(1) or reshape(x.size(0), -1), no number of samples in the code"
