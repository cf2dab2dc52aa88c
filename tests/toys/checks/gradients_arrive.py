"""A toy: every trainable parameter receives a gradient."""

from __future__ import annotations

from pytest_dlcheck.check import Check, Effect
from pytest_dlcheck.verdict import Measure, Suspect


class GradientsArrive(Check):
    """Every trainable parameter receives a gradient."""

    family = "dynamics"
    reads = frozenset({"gradient_norm"})
    shows = Effect.GRADIENTS
    leads_to = frozenset({Effect.PROGRESS})

    def trials(self, terms):
        return terms.train()

    def decide(self, evidence):
        norms = evidence.the("train").matrix("gradient_norm")
        without = [site for site, column in norms.columns() if not any(column)]
        measure = Measure("parameters without gradient", len(without), "count", 0)
        if not without:
            return self.passed("0 parameters receive no gradient, at most 0 may", measure)
        return self.failed(
            f"{len(without)} of {len(norms.sites)} parameters receive no gradient, at most 0 may",
            measure,
            suspects=[Suspect(site, "none", "let it take part") for site in without],
            cause="the graph is cut",
            remedy="remove .detach()",
        )

    @classmethod
    def healthy(cls):
        return []

    @classmethod
    def sick(cls):
        return []
