"""Contract: the loss is a number to be minimised, and it is given what it is made for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pytest_dlcheck.check import Check, Effect, Evidence, Example, example_trace
from pytest_dlcheck.faults.losses import loss as faults
from pytest_dlcheck.faults.losses.fault import Fault
from pytest_dlcheck.faults.losses.refusal import of_refusal
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Suspect, Verdict

_STOPS_ALL = frozenset(Effect) - {Effect.OUTPUTS}
"""What a loss without value or gradient leads to; outputs of a wrong shape are its cause instead."""
_LEFT_ALONE = {Effect.RUN, Effect.DATA, Effect.LOOP, Effect.OUTPUTS, Effect.INDEPENDENCE}
_USELESS = ("cut from the graph", "not one number", "not a tensor")


@dataclass(frozen=True)
class LossIsSound(Check):
    """The loss is a finite scalar connected to the graph, and is given what it is made for.

    The loss is one finite number with a gradient; outputs and targets do not broadcast silently into all
    pairs of samples (`(n, 1)` against `(n,)`); targets lie where the loss wants them; a loss that wants
    logits gets no probabilities (softmax twice), and a Poisson loss no rates for their logarithms, nor
    negative rates; one that wants log-probabilities gets such, normalised over classes and not over the
    batch; rows of classes are not cut across positions by a `view` and no permute; the right answer is
    not masked, pairs meet their partners, some are pushed apart; every class is heard, not all labels
    become one, none weighs as much as it is frequent; right answers cost less than wrong ones; no summed
    KL term drowns a reconstruction that is averaged, and noise is scaled by the root of its variance.

    **Why it matters.** Each of these trains without an error: slowly, towards the mean, or backwards.

    **How it decides.** By listening to torch's loss functions, and by asking `loss=` alone: with targets
    permuted, right and wrong answers, outputs far apart. Sums of probabilities are compared with 1, the
    price of information with what it can earn; all else is exact. On a watched loop: from the graph of a
    few losses, what torch's own are given, and their terms, where most show the same.

    **What it cannot see.** Losses written by hand inside `training_step`, except their value and sign of
    the torch losses in them. On a watched loop: the sign, the targets, and losses that are compiled.

    **Source.** TheDeepChecker (Ben Braiek and Khomh, 2023); Karpathy, "A recipe for training".
    """

    family = "contract"
    reads = frozenset({"loss_soundness"})
    shows = Effect.OUTPUTS
    judges_divergence = True
    leads_to = frozenset(Effect) - _LEFT_ALONE

    normalised: float = 1e-3
    """Distance of sums from 1 (ratio) up to which rows are probabilities: a float32 softmax over 10
    classes misses 1 by about 1e-7. Chosen with room for half precision, to be calibrated."""
    log_normalised: float = 0.05
    """The same for rows that must be log-probabilities (ratio): loose, for log(p + eps); chosen."""
    pairing: float = 1e-5
    """Relative change of the loss when targets are permuted, up to which the pairing is ignored: the
    rounding of a float32 sum; chosen, to be calibrated."""
    doubling: float = 0.05
    """Distance from 2 (ratio) of the loss of a batch given twice, for the advice on sums."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """One batch, no training."""
        return (terms.inspect(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """Fail on every fault found; the gravest is told first."""
        rows = evidence.traces[0].rows("loss_soundness")
        found = [fault for row in rows for fault in self._faults(row)]
        found += faults.of_sign(rows)
        found = list({(fault.site, fault.finding): fault for fault in reversed(found)}.values())[::-1]
        found.sort(key=lambda fault: "NaN" in fault.finding)  # what else is wrong tells why
        advice = [line for row in rows for line in faults.advice_on(row, self.normalised, self.doubling)]
        if not found:
            tests = ", ".join(dict.fromkeys(row.text("kind") or row.text("part") for row in rows))
            text = f"0 faults in {len(rows)} tests (bound 0): {tests}"
            return self.passed(text, Measure("faults of the loss", 0, "count", 0), advice=advice)
        useless = any(words in fault.finding for fault in found for words in _USELESS)
        leads_to = _STOPS_ALL if useless else self.leads_to
        if any(fault.over_batch for fault in found):
            leads_to |= {Effect.INDEPENDENCE}
        return self._told(found, advice, leads_to)

    def _told(self, found: list[Fault], advice: Iterable[str], leads_to: Iterable[Effect]) -> Verdict:
        first = found[0]
        return self.failed(
            f"{first.finding} ({first.measure})",
            *(fault.measure for fault in found),
            suspects=[Suspect(f.site, f.finding, f.remedy) for f in found],
            cause=first.cause,
            remedy=first.remedy,
            advice=advice,
            leads_to=leads_to,
        )

    def judge(self, evidence: Evidence) -> Verdict:
        """As every check, and where the loss refused what it was given, say what was wrong with it."""
        for trace in evidence.traces:
            ending = trace.ending
            if ending.kind == "raised" and ending.where == "the first forward and loss":
                fault = of_refusal(ending.message, ending.detail)
                if fault is not None:
                    return self._told([fault], (), _STOPS_ALL)
        return super().judge(evidence)

    def _faults(self, row: Row) -> Iterator[Fault]:
        part = row.text("part")
        if part == "value":
            yield from faults.of_value(row)
        elif part == "call":
            yield from faults.of_call(row, self.normalised, self.log_normalised)
        else:
            yield from faults.of_test(row, self.pairing)

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Logits, and a reconstruction."""
        yield Example("logits", (_trace(_VALUE, _call(), _answers(1e-3, 9.0, higher=0)),))
        yield Example("reconstruction", (_trace(_VALUE, Row(part="doubling", ratio=1.0)),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Softmax twice, broadcasting, a flipped sign, a loss without a graph."""
        twice = _call(rows_off=1e-7, last="Softmax", site="head.1")
        yield Example("softmax twice", (_trace(_VALUE, twice),), ("head.1",))
        pairs = Row(part="pairing", moved=0.0, changed=0.4, shape="(32, 1)", target_shape="(32,)")
        yield Example("broadcasting", (_trace(_VALUE, pairs),), ("loss",))
        yield Example("flipped", (_trace(_VALUE, _answers(0.0, -9.0, higher=4)),), ("loss",))
        cut = Row({**_VALUE, "reached": 0})
        yield Example("detached", (_trace(cut),), ("loss",))


_VALUE = Row(part="value", tensor=True, numel=1, finite=True, trainable=4, reached=4)


def _call(**more: float | str) -> Row:
    known = Row(part="call", kind="cross_entropy", sign=1.0, site="head", last="Addmm", classes=10)
    sums = Row(rows_off=1e9, columns_off=1e9, log_rows_off=9.0, log_columns_off=22.0)
    return Row({**known, **sums, "least": -1.0, "most": 1.2, **more})


def _answers(right: float, wrong: float, *, higher: int) -> Row:
    return Row(part="answers", right=right, wrong=wrong, ways=4, lower=4 - higher, higher=higher)


def _trace(*rows: Row) -> Trace:
    return example_trace(Terms().inspect(), loss_soundness=rows)
