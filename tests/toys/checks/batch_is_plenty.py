"""A toy: batches of 1 cannot be judged, batches above 40 are advised against."""

from __future__ import annotations

from pytest_dlcheck.check import Check
from pytest_dlcheck.verdict import Measure


class BatchIsPlenty(Check):
    """A batch holds more than 1 sample."""

    family = "data"
    reads = frozenset({"recipe"})

    def trials(self, terms):
        return (terms.inspect(),)

    def decide(self, evidence):
        row = evidence.the("inspect").row("recipe")
        if row["batch_dim"] is None:
            return self.not_applicable("samples do not stand alone")
        measure = Measure("samples", row.number("batch_size"), "count", 1, ">=")
        if measure.value == 1:
            return self.inconclusive("1 sample says nothing, at least 2 do", measure)
        advice = ["take smaller batches"] if measure.value > 40 else []
        return self.passed(
            f"{measure.value:g} samples, at least 1 must there be", measure, advice=advice
        )

    @classmethod
    def healthy(cls):
        return []

    @classmethod
    def sick(cls):
        return []
