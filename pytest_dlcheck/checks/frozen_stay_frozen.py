"""Frozen parts stay frozen: what must not train ends the training as it began, bit for bit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from pytest_dlcheck.check import Check, Effect, Evidence, Example, example_trace
from pytest_dlcheck.faults.dynamics.frozen import (
    drifted,
    drifting,
    frozen_buffers,
    frozen_later,
    frozen_parameters,
    matches_nothing,
    moved,
    only_said,
    unmatched,
    wasted,
)
from pytest_dlcheck.faults.dynamics.frozen_examples import OLD_HEAD, STATISTICS, parameter
from pytest_dlcheck.faults.dynamics.old_heads import old_heads
from pytest_dlcheck.trace import Matrix, Row, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Suspect, Verdict


@dataclass(frozen=True)
class FrozenStayFrozen(Check):
    """The training leaves alone what is declared frozen, or does not require grad.

    **Why it matters.** A backbone that trains although it was meant to be frozen loses what it had
    learned, and the run still looks healthy. One that is frozen keeps its BatchNorm statistics only in
    eval mode.

    **How it decides.** Every bit is compared before and after a short training. A parameter or buffer
    that matches ``frozen=`` must not change, whoever changes it. A parameter that does not require grad
    must not be moved by its optimizer (an old gradient and weight decay do that); one that is written by
    hand, like a target network's moving average, is no finding. Running statistics of frozen modules,
    declared or not, fail where the module was in eval mode when the training began; in a module that
    began in train mode, which is common and often meant, or was frozen later, they are advice; but in a
    watched loop they fail where a head of an earlier training is then evaluated behind them, on what the
    statistics of before fit and those of now do not. A pattern that matches nothing is a failure: it
    protects nothing. So is ``module.requires_grad = False``, an attribute that nothing reads, where all
    in that module trains on; a class with such a flag is let be.

    **What it cannot see.** A parameter that is changed and put back within the trial.

    **Source.** Bitwise comparison, as in TrainCheck (Jiang et al., OSDI 2025) for frozen parameters.
    """

    family: ClassVar = "dynamics"
    reads: ClassVar = frozenset({"parameters"})
    glances: ClassVar = frozenset(
        {"buffers", "gradient_norm", "frozen_patterns", "frozen_flags", "frozen_later", "old_heads"}
    )
    shows: ClassVar = None
    leads_to: ClassVar = frozenset[Effect]()
    judges_divergence: ClassVar = True

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """A short training."""
        return terms.train()

    def decide(self, evidence: Evidence) -> Verdict:
        """Patterns, then parameters, then buffers."""
        frozen, suspects, advice = 0, dict[str, Suspect](), dict[str, None]()
        for trace in evidence.of("train"):
            if fault := only_said(trace) or old_heads(trace):
                return self.failed_by(fault)
            idle = [row for row in trace.rows("frozen_patterns") if matches_nothing(row)]
            suspects |= {row.text("pattern"): unmatched(row) for row in idle}
            found, buffers = frozen_parameters(trace), frozen_buffers(trace)
            frozen = len(found) + len(buffers) + frozen_later(trace)
            suspects |= {s.site: s for row in found if (s := moved(row, trace))}
            suspects |= {row.text("name"): drifted(row) for row in buffers if row.flag("changed")}
            advice |= dict.fromkeys((*wasted(found, trace), *drifting(trace)))
        if suspects:
            return self._fails(tuple(suspects.values()), frozen, tuple(advice))
        if not frozen:
            return self.not_applicable("nothing is frozen")
        if any(trace.ending.kind == "diverged" for trace in evidence.of("train")):
            return self.inconclusive(
                f"0 of {frozen} frozen parameters and buffers changed until the training diverged"
            )
        return self.passed(
            f"0 of {frozen} frozen parameters and buffers changed",
            Measure("frozen parameters and buffers changed", 0, "count", 0),
            advice=advice,
        )

    def _fails(self, suspects: tuple[Suspect, ...], frozen: int, advice: tuple[str, ...]) -> Verdict:
        suspects = tuple(sorted(suspects, key=lambda s: s.finding.startswith("matches 0")))
        idle = sum(suspect.finding.startswith("matches 0") for suspect in suspects)
        changed = len(suspects) - idle
        if changed:
            because = f"{changed} of {frozen} frozen parameters and buffers changed (0 expected)"
        else:
            because = (
                f"{idle} of the frozen= patterns match 0 parameters or buffers (1 or more expected)"
            )
        return self.failed(
            because,
            Measure("frozen parameters and buffers changed", changed, "count", 0),
            Measure("frozen= patterns without a match", idle, "count", 0),
            suspects=suspects,
            cause=suspects[0].finding if changed else "a misspelt name, or a model that was renamed",
            remedy=suspects[0].remedy,
            advice=advice,
        )

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Frozen parameters and their statistics stand still; a moving average may be written."""
        yield Example("frozen backbone", (_example(parameter("body.weight", trains=False)),))
        average = parameter("body.weight", trains=False, changed=True, declared=False)
        still = parameter("stem.weight", trains=False)
        yield Example("moving average", (_example(average, still),))
        near = Row(OLD_HEAD, from_now=0.1)
        yield Example("statistics of the same data", (_example(still, heads=[near]),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """A declared backbone that trains; statistics that move although they were in eval mode."""
        moved = parameter("body.weight", trains=True, changed=True)
        yield Example("still trains", (_example(moved),), ("body.weight",))
        drifted = Row(STATISTICS, declared_frozen=True, changed=True)
        said = Row(name="body", type="Sequential", parameters=2, changed=2)
        trained = _example(parameter("body.weight", trains=True, declared=False), flags=[said])
        yield Example("an attribute of a module", (trained,), ("body",))
        still = parameter("body.weight", trains=False)
        yield Example("train() undoes eval()", (_example(still, drifted),), ("bn.running_mean",))
        yield Example("an old head", (_example(still, heads=[OLD_HEAD]),), ("body.1",))


def _example(*rows: Row, flags: Iterable[Row] = (), heads: Iterable[Row] = ()) -> Trace:
    names = tuple(row.text("name") for row in rows if "requires_grad" in row)
    values = tuple(0.5 if row.flag("requires_grad") else None for row in rows if "requires_grad" in row)
    return example_trace(
        parameters=[row for row in rows if "requires_grad" in row],
        buffers=[row for row in rows if "owner_training" in row],
        frozen_patterns=Row(pattern="body", parameters=1, buffers=0, nearest="body"),
        gradient_norm=Matrix((0,), names, (values,)),
        frozen_flags=tuple(flags),
        old_heads=tuple(heads),
    )
