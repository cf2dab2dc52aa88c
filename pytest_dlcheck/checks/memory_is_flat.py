"""Memory is flat: the loop keeps no graph of steps gone by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from pytest_dlcheck.check import Check, Evidence, Example, Family, example_trace
from pytest_dlcheck.trace import Series, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Suspect, Verdict


@dataclass(frozen=True)
class MemoryIsFlat(Check):
    """Graphs of earlier steps are let go.

    **Why it matters.** ``total += loss`` keeps the graph of every step alive, and ``outputs.append(y)``
    most of it: memory grows until it is out, hours later, somewhere else.

    **How it decides.** On a watched loop, something is tied to the beginning of each loss's graph that
    dies with it: whoever keeps the loss, or outputs that it was made of, keeps that. It fails where
    graphs of more than ``held`` steps are alive at once and ``grows`` of all steps are: a loop that
    lets them go has one or two, be they of an ensemble's many losses.

    **What it cannot see.** Tensors without a graph that pile up, and memory outside torch.

    **Source.** The PyTorch FAQ, "My model reports CUDA out of memory: don't accumulate history across
    your training loop".
    """

    family: ClassVar[Family] = "loop"
    reads: ClassVar[frozenset[str]] = frozenset({"live_graphs"})
    judges_divergence: ClassVar[bool] = True

    held: float = 12.0
    """Steps whose losses' graphs are alive at once (count): more than a logger's buffer holds."""
    grows: float = 0.5
    """Share of all steps so far (ratio) of which that is so, at the worst moment."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """The user's own loop."""
        return (terms.watch(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """By the graphs alive at once."""
        live = evidence.the("watch").series("live_graphs")
        step, most = max(zip(live.steps, live.values, strict=True), key=lambda pair: pair[1])
        measure = Measure("steps whose graphs are alive", most, "count", self.held)
        story = f"{most:g} steps' graphs were alive at once, at step {step} (at most {self.held:g})"
        early = [(s, v) for s, v in zip(live.steps, live.values, strict=True) if v >= self.grows * s]
        if most > self.held and any(v >= self.held / 2 for _, v in early):
            return self.failed(
                story,
                measure,
                suspects=[Suspect("loss", "its graph stays alive after its step")],
                cause=(
                    "losses, or outputs, are kept with their graphs: total += loss, outputs.append(y)"
                ),
                remedy="keep numbers: total += loss.item(), outputs.append(y.detach())",
            )
        return self.passed(story, measure)

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """One at a time; a window of micro-batches."""
        yield Example("one at a time", (_example([1.0] * 20),))
        yield Example("eight micro-batches", (_example([float(1 + i % 8) for i in range(32)]),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """The graphs of all steps."""
        yield Example("total += loss", (_example([float(i + 1) for i in range(32)]),), ("loss",))


def _example(live: list[float]) -> Trace:
    return example_trace(Terms().watch(), live_graphs=Series(tuple(range(len(live))), tuple(live)))
