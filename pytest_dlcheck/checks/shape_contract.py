"""Contract: every shape is as declared, whatever the number of samples."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pytest_dlcheck.check import Check, Effect, Evidence, Example, example_trace
from pytest_dlcheck.faults.contract.shape import cause, finding, is_at_own_size, remedy, suspects
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Outcome, Verdict


@dataclass(frozen=True)
class ShapeContract(Check):
    """Shapes hold for any number of samples, and every named dim has one size everywhere.

    In eval mode, with 1, 2 and 3 samples and with the loader's own batch, every input and output has the
    declared rank, sizes and dtype (``shapes=``), and one name stands for one size. Without declared
    shapes, an output with a row per sample at the loader's own batch size has one at the others too, and
    keeps its rank.

    **Why it matters.** A `view`, `reshape` or `squeeze` that swallows the batch axis trains on scrambled
    samples, or breaks on the last batch of an epoch or the first request in production.

    **How it decides.** Exactly: each claim compares two whole numbers. Named dims other than the batch
    are probed at half and at double size; a model that refuses those is not at fault, one that answers
    with a wrong size is. A refusal of another number of samples fails, unless the batch is the whole
    graph, holds pairs, or the model carries state between batches: then it is advice.

    **What it cannot see.** Samples that are mixed without a change of shape: that is
    `batch_independence`.

    **Source.** The habit of asserting shapes in place (einops, jaxtyping), with other batch sizes.
    """

    family = "contract"
    reads = frozenset({"shapes"})
    shows = Effect.OUTPUTS
    leads_to = frozenset(
        {Effect.OUTPUTS, Effect.INDEPENDENCE, Effect.START, Effect.FITTING, Effect.PROGRESS}
    )

    allowed: int = 0
    """Claims that may be broken (count): a shape is right or wrong."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """One batch, no training."""
        return (terms.inspect(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """Fail on firm claims that are broken; the others are advice."""
        rows = evidence.traces[0].rows("shapes")
        wrong = [row for row in rows if row.integer("expected") != row.integer("measured")]
        firm = [row for row in wrong if row.flag("firm")]
        soft = {row.text("kind"): row for row in reversed(wrong) if not row.flag("firm")}
        advice = [f"{finding(row)}, which may be meant" for row in soft.values()]
        measure = Measure("broken claims", len(firm), "count", self.allowed)
        if len(firm) <= self.allowed:
            probes = ", ".join(dict.fromkeys(row.text("probe") for row in rows))
            text = f"{len(rows)} claims hold, {len(firm)} broken (bound {self.allowed}), at {probes}"
            return self.passed(text, measure, advice=advice)
        first = firm[0]
        broken = f"{len(firm)} of {len(rows)} claims broken (bound {self.allowed})"
        raised = evidence.traces[0].ending.kind == "raised"
        may_stop_the_run = any(
            row.text("kind") == "refused" or (raised and is_at_own_size(row)) for row in firm
        )
        return self.failed(
            f"{finding(first)}; {broken}",
            measure,
            suspects=suspects(firm),
            cause=cause(firm),
            remedy=remedy(first),
            advice=advice,
            leads_to=self.leads_to | {Effect.RUN} if may_stop_the_run else None,
        )

    def judge(self, evidence: Evidence) -> Verdict:
        """As every check; and shapes that are wrong tell why no loss could be computed from them."""
        verdict = super().judge(evidence)
        if verdict.outcome is Outcome.ERRORED and any(t.rows("shapes") for t in evidence.traces):
            told = self.decide(evidence)
            return told if told.failed else verdict
        return verdict

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Every size follows."""
        yield Example("rows follow the batch", (_trace(*(_row(n, n) for n in (64, 1, 2, 3))),))
        refused = _row(1, 0, kind="refused", expected=1, firm=False, found="expected pairs")
        yield Example("pairs refuse one sample", (_trace(_row(64, 64), refused),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """A view and a squeeze that lose the batch axis."""
        view = _row(2, 1, site="fc", where="in Net.forward, between `conv` and `fc`")
        yield Example("view swallows the batch", (_trace(_row(64, 64), view),), ("fc",))
        squeeze = _row(1, 1, kind="rank", expected=2, found="(10,)")
        yield Example("squeeze at one sample", (_trace(_row(64, 64), squeeze),), ("output",))
        hard = _row(1, 0, kind="refused", expected=1, found="RuntimeError: shape", site="rnn")
        yield Example("hard-coded batch", (_trace(_row(64, 64), hard),), ("rnn",))


def _row(samples: int, measured: int, **more: str | int | bool) -> Row:
    known: dict[str, str | int | bool] = {
        "probe": f"{samples} samples",
        "samples": samples,
        "tensor": "output",
        "kind": "size",
        "axis": 0,
        "dim": "batch",
        "expected": samples,
        "measured": measured,
        "found": f"({measured}, 10)",
        "site": "",
        "where": "",
        "of_batch": True,
        "firm": True,
    }
    return Row({**known, **more})


def _trace(*rows: Row) -> Trace:
    return example_trace(Terms().inspect(), shapes=rows)
