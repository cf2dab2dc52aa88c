"""In eval mode, the same input gives the same output."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from pytest_dlcheck.check import Check, Effect, Evidence, Example, example_trace
from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Suspect, Verdict

_UNGUARDED = "pass training=self.training (or dropout_p=0.0 when not training) there"
_STUCK = "let model.eval() reach it: do not override train() without it, do not call .train() in forward"


@dataclass(frozen=True)
class EvalIsDeterministic(Check):
    """In eval mode, the same input gives the same output twice.

    **Why it matters.** Dropout that stays active degrades every prediction and every validation score:
    `F.dropout(x)` and `scaled_dot_product_attention(dropout_p=...)` do not know the module's mode, and a
    module whose `train()` is overridden may never hear of it.

    **How it decides.** By calling the model on one batch in eval mode under the same and under other
    random draws; outputs may differ by 8 roundings of their dtype on a CPU (sums over threads), 64
    elsewhere (atomic additions). Where they differ, the first operation is found whose arguments agree
    and whose result does not, with its module and line. Units or paths zeroed at random, modules
    skipped at random, and noise of a constant size added to a prediction's way fail. Other draws (a
    VAE's reparameterisation, sampled tokens, noise of a learned size, whatever restores its own inputs)
    and state carried from call to call are advice: they may be meant. Where draws are made and outputs
    agree, up to 12 calls look for a path that is rarely dropped.

    **What it cannot see.** Draws that do not reach the outputs.

    **Source.** PyTorch documentation of `torch.nn.functional.dropout` (`training=True` by default); the
    bounds are roundings (eps of the dtype), chosen, to be calibrated on accelerators.
    """

    family = "contract"
    reads = frozenset({"repeat"})

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """One batch, no training."""
        return (terms.inspect(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """The verdict on the change between calls."""
        row = evidence.the("inspect").row("repeat")
        change, bound = row.number("change"), row.number("bound")
        if not (math.isfinite(change) and math.isfinite(bound)):
            return self.inconclusive("the change between calls is not a finite number")
        against = f"{change:.2g} (bound {bound:.2g})"
        measure = Measure("relative change between calls", change, "ratio", bound)
        if change <= bound:
            return self.passed(f"two calls in eval mode differ by at most {against}", measure)
        if row.flag("plain"):
            because = f"{row.text('output')} differs by {against} between two calls in eval mode"
            return self.failed_by(_added(row, because, measure))
        if row.text("kind") in {"zeroing", "skipping"}:
            because = f"{row.text('output')} differs by {against} between two calls in eval mode"
            # A module that stays in train mode lets its normalisation mix samples too.
            more = (Effect.INDEPENDENCE,) if row.flag("culprit_training") else ()
            return self.failed_by(_left_out(row, because, measure), *more)
        return self.passed(
            "0 draws leave out units or modules in eval mode (bound 0); by others or by state, "
            f"{row.text('output')} differs by {change:.2g} between two calls",
            Measure("draws that leave out units or modules", 0, "count", 0),
            advice=(_advice(row),),
        )

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Repeatable, and random on purpose."""
        row = Row(output="output", change=0.0, bound=9.5e-7, device="cpu")
        yield Example("repeatable", (_trace(row),))
        noise = Row({**row, "change": 0.3}, kind="noise", culprit="", operation="randn_like")
        yield Example("a VAE samples", (_trace(noise),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Dropout and dropped paths that stay active."""
        row = Row(output="output", change=0.6, bound=9.5e-7, device="cpu", culprit_training=False)
        dropout = Row(row, kind="zeroing", culprit="block.mlp", operation="dropout", line="model.py:12")
        yield Example("F.dropout without training=", (_trace(dropout),), ("block.mlp",))
        added = Row(row, kind="noise", plain=True, culprit="", operation="randn_like", line="model.py:7")
        yield Example("augmentation noise", (_trace(added),), ("",))
        depth = Row(row, kind="skipping", culprit="", operation="rand", line="model.py:30")
        yield Example("stochastic depth in eval", (_trace(depth),), ("",))


def _trace(row: Row) -> Trace:
    return example_trace(Terms().inspect(), repeat=row)


def _site(row: Row) -> str:
    return "output" if row.get("culprit") is None else row.text("culprit")


def _where(row: Row) -> str:
    operation = row.text("operation") or "a draw outside of torch"
    return f"{operation} at {row.text('line')}" if row.text("line") else operation


def _left_out(row: Row, because: str, measure: Measure) -> Fault:
    """Units or modules are dropped at random."""
    finding, cause, remedy = "units are zeroed at random", "dropout stays active", _UNGUARDED
    if row.text("kind") == "skipping":
        finding, cause = "modules are left out at random", "stochastic depth stays active"
        remedy = "leave modules out only `if self.training`"
    kept = ""
    if row.flag("culprit_training"):
        kept, remedy = ", because the module is kept in train mode", _STUCK
    site, where = _site(row), _where(row)
    return Fault(
        because,
        measures=(measure,),
        suspects=[Suspect(site, f"{finding} by {where}", remedy)],
        cause=f"{cause} in eval mode: {where} in {site or 'the model itself'}{kept}",
        remedy=remedy,
    )


def _added(row: Row, because: str, measure: Measure) -> Fault:
    """Noise that is added to what a prediction is made of."""
    site, where = _site(row), _where(row)
    remedy = "add it only `if self.training`"
    return Fault(
        because,
        measures=(measure,),
        suspects=[Suspect(site, f"noise is added by {where}", remedy)],
        cause=f"noise meant for training is added in eval mode: {where} in {site or 'the model itself'}",
        remedy=remedy,
    )


def _advice(row: Row) -> str:
    site = _site(row) or "the model"
    if row.text("kind") == "state":
        return (
            f"{site} carries {row.text('attribute')} from call to call, so that outputs depend on the "
            "calls before: reset it between sequences unless that is meant"
        )
    return (
        f"{site} draws random numbers in eval mode ({_where(row)}): fine if the model samples on "
        "purpose; if not, draw only `if self.training`"
    )
