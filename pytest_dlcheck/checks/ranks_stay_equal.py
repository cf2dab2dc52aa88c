"""Ranks stay equal: the processes of a data parallel training keep the same parameters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from pytest_dlcheck.check import Check, Effect, Evidence, Example, Family, example_trace
from pytest_dlcheck.trace import Row, Scalar, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Suspect, Verdict


@dataclass(frozen=True)
class RanksStayEqual(Check):
    """All ranks of a data parallel training hold the same parameters at every step.

    **Why it matters.** Where one rank misses a synchronisation, or began with other weights, the ranks
    train different models and average gradients that do not belong together. No rank notices.

    **How it decides.** Under torchrun, each watched process leaves fingerprints of its parameters and
    gradients, before sampled steps and at the end, in a folder of this machine; no collective operation
    is added. It fails where parameters of the same shapes differ and stay different, and either
    DistributedDataParallel holds them or the gradients are the same on all ranks ``mostly``: they were
    averaged. Where gradients differ too and nothing replicates the model, the ranks may train apart on
    purpose, or hold shards: inconclusive, with advice where they began with the same parameters.

    **What it cannot see.** Ranks on other machines, and parameters that are sharded.

    **Source.** Jiang et al., OSDI 2025: parameters that drift apart between ranks (BLOOM-176B).
    """

    family: ClassVar[Family] = "loop"
    reads: ClassVar[frozenset[str]] = frozenset({"loop"})
    glances: ClassVar[frozenset[str]] = frozenset({"ranks"})
    shows: ClassVar[Effect | None] = Effect.LOOP
    leads_to: ClassVar[frozenset[Effect]] = frozenset({Effect.PROGRESS, Effect.GENERALIZATION})
    judges_divergence: ClassVar[bool] = True

    mostly: float = 0.5
    """Share of the compared steps (ratio) at which all ranks have the same gradients; by chance they
    never have."""
    enough: int = 2
    """Compared steps (count) below which nothing is concluded."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """The user's own loop."""
        return (terms.watch(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """By parameters, and by gradients where nothing else says that they should be equal."""
        row = evidence.the("watch").row("ranks")
        ranks, asked, compared = (row.integer(name) for name in ("ranks", "asked", "compared"))
        if not asked:
            return self.not_applicable("one process trains")
        if row.flag("sharded"):
            return self.not_applicable("parameters are sharded over the ranks")
        if ranks < asked or compared < self.enough:
            return self.inconclusive(
                f"{ranks} of {asked} ranks were compared, at {compared} steps ({self.enough} are needed)"
            )
        drifted, first = row.integer("drifted"), row.integer("drifted_first")
        story = (
            f"parameters differ between {ranks} ranks at {drifted} of {compared} compared steps (0 may)"
        )
        measure = Measure("steps with different parameters", drifted, "count", 0)
        if not drifted:
            return self.passed(story, measure)
        averaged = row.integer("gradients_alike") >= self.mostly * (compared - 1)
        if not row.flag("drifted_last") or not (row.flag("replicated") or averaged):
            return self.inconclusive(
                f"{story}; they may be meant to train apart", measure, advice=self._advice(row)
            )
        return self.failed(
            story,
            measure,
            suspects=[Suspect("optimizer", f"parameters differ between ranks from step {first} on")],
            cause=self._cause(first, averaged=averaged),
            remedy="broadcast the same start, call the DDP module itself, step on all ranks alike",
        )

    def _advice(self, row: Row) -> list[str]:
        """Where all ranks began with the same parameters, which none does by chance."""
        first = row.integer("drifted_first")
        if not first or not row.flag("drifted_last"):
            return []
        story = f"the ranks begin with the same parameters and drift apart from step {first} on"
        remedy = "wrap the model in DistributedDataParallel, or all_reduce gradients before each step"
        return [
            f"{story}, as nothing averages their gradients: unless they are to train apart, {remedy}"
        ]

    def _cause(self, first: int, *, averaged: bool) -> str:
        if not first:
            return "the ranks began with different parameters, and nothing made them equal"
        if averaged:
            return "gradients are averaged, and the ranks apply them differently"
        return "gradients are not averaged: DistributedDataParallel is bypassed, or a rank leaves it out"

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Equal; one process."""
        yield Example("equal", (_example(),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Bypassed; begun apart."""
        apart = {"drifted": 11, "drifted_first": 1, "drifted_last": True}
        bypassed = _example(**apart, gradients_alike=0)
        yield Example("DDP bypassed", (bypassed,), ("optimizer",))
        begun = {"drifted": 12, "drifted_first": 0, "drifted_last": True, "replicated": False}
        yield Example("begun apart", (_example(**begun),), ("optimizer",))


def _example(**found: Scalar) -> Trace:
    row = {"asked": 2, "ranks": 2, "sharded": False, "replicated": True, "compared": 12}
    same = {"drifted": 0, "drifted_first": None, "drifted_last": False, "gradients_alike": 11}
    return example_trace(Terms().watch(), loop=Row(steps=32), ranks=Row({**row, **same, **found}))
