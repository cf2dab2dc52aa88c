"""Data: how much of a step is spent waiting for the data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import quantiles

from pytest_dlcheck.check import Check, Effect, Evidence, Example, example_trace
from pytest_dlcheck.trace import Series, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Verdict

_FEWEST = 8


@dataclass(frozen=True)
class LoaderKeepsUp(Check):
    """A step does not mostly wait for its data. Never fails: what it finds is advice.

    It asserts nothing that could fail: it measures which share of a step passes until its batch is
    there, and advises where that is most of it.

    **Why it matters.** A model that waits is trained as slowly on the most expensive accelerator as on
    the cheapest; workers, pinned memory or a smaller file format often halve the time.

    **How it decides.** By the lower quartile of that share over the steps, the first ones left out, so
    that a busy machine or a worker's start does not make it. Only waits that a person would notice
    count.

    **What it cannot see.** How the share is with more steps, other storage or a warm cache, and, on an
    accelerator, whether the device was still busy meanwhile: host times say when work was queued. There
    it gives no advice.

    **Source.** PyTorch performance tuning guide (asynchronous loading); Mohan et al., "Analyzing and
    mitigating data stalls in DNN training", VLDB 2021.
    """

    family = "data"
    reads = frozenset({"seconds", "data_seconds"})
    shows = Effect.DATA
    leads_to = frozenset()

    share: float = 0.5
    """Share of a step (ratio) from which on waiting is most of it."""
    wait: float = 0.01
    """Seconds a step below which nobody minds; chosen: a quarter of an hour in 100,000 steps."""
    settled: int = 3
    """Steps left out at the beginning: workers start, caches are cold."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """A short training."""
        return terms.train()

    def decide(self, evidence: Evidence) -> Verdict:
        """Advise on the lower quartile."""
        trace = evidence.the("train")
        steps = list(zip(trace.series("seconds"), trace.series("data_seconds"), strict=False))[
            self.settled :
        ]
        if len(steps) < _FEWEST:
            return self.inconclusive(
                f"{len(steps)} steps after the first {self.settled} (at least {_FEWEST})"
            )
        low, middle, _ = quantiles([wait / max(step, 1e-9) for step, wait in steps])
        wait = quantiles([wait for _, wait in steps])[0]
        because = (
            f"half of the steps spend {middle:.0%} or more of their time waiting for data, "
            f"{wait * 1e3:.1f} ms or more three quarters (advice from {self.share:.0%} and "
            f"{self.wait * 1e3:.0f} ms)"
        )
        share = Measure("share of a step that waits for data, lower quartile", low, "ratio", self.share)
        told = low >= self.share and wait >= self.wait and trace.trial.device == "cpu"
        return self.passed(because, share, advice=[_advice(low, wait)] if told else [])

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Data at hand; slow data, which is advice."""
        yield Example("data at hand", (_trace(0.0004),))
        yield Example("slow data", (_trace(0.08),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """It never fails; too few steps tell nothing."""
        from pytest_dlcheck.verdict import Outcome

        yield Example("three steps", (_trace(0.0004, steps=3),), outcome=Outcome.INCONCLUSIVE)


def _advice(share: float, wait: float) -> str:
    return (
        f"three of four steps wait for data for {share:.0%} of their time or more ({wait * 1e3:.0f} "
        "ms): read in workers (num_workers, persistent_workers), decode and resize once beforehand, "
        "or keep data in memory"
    )


def _trace(wait: float, steps: int = 100) -> Trace:
    taken = tuple(range(steps))
    seconds = Series(taken, (0.01 + wait,) * steps)
    return example_trace(seconds=seconds, data_seconds=Series(taken, (wait,) * steps))
