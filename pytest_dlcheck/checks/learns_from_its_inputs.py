"""Whether what is learned comes from the inputs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from pytest_dlcheck.check import Check, Effect, Evidence, Example, Family, example_trace
from pytest_dlcheck.faults import learning
from pytest_dlcheck.faults.learning import SecondLook
from pytest_dlcheck.trace import Row, Series, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Outcome, Verdict


@dataclass(frozen=True)
class LearnsFromItsInputs(Check):
    """On new data, inputs tell something of their own targets.

    **Why it matters.** Where labels do not belong to inputs, a training still lowers its loss: first
    to what label frequencies give, then by learning by heart. Nothing of it is of use.

    **How it decides.** Each batch of the first epoch is new: its outputs are held against their own
    targets and against other samples', which makes no difference on average where nothing was learned
    from inputs. It passes where the right ones surely fit better. Else it looks again, at batches held
    out of a training of the same length, at a training with other samples' inputs, and at the data
    without the model. It fails only if held-out data leave less than ``little`` to be gained, a batch
    is learned by heart in half the steps, and near inputs do not have alike targets either; or if at
    the end less than ``kept`` is left of what was gained.

    **What it cannot see.** Labels that are wrong for some samples only. Inputs that are independent
    random numbers are never failed: there is nothing to be learned from noise.

    **Source.** Dawid, "Prequential analysis" (1984); Adebayo et al., "Sanity checks" (2018).
    """

    family: ClassVar[Family] = "learning"
    reads: ClassVar[frozenset[str]] = frozenset({"loss", "pairing"})
    glances: ClassVar[frozenset[str]] = learning.GLANCED
    shows: ClassVar[Effect | None] = Effect.LEARNING
    leads_to: ClassVar[frozenset[Effect]] = frozenset({Effect.GENERALIZATION, Effect.PROGRESS})

    least: float = 0.005
    """Gain that passes, if it is sure (ratio of the loss against other targets)."""
    little: float = 0.1
    """Gain that held-out data must rule out (ratio): the examples' recipes have 0.4 to 0.99."""
    kept: float = 0.2
    """Share of the gain of the first epoch that must be left at the end (ratio); chosen."""
    noise: float = 2.0
    """Mean squared correlation of features below which inputs are noise (1 is expected of noise)."""
    alike: float = 5.0
    """Standard errors from which near inputs surely have alike targets; chosen."""
    unlike: float = 3.0
    """Standard errors up to which near inputs have no more alike targets than any."""
    constant: float = 1e-3
    """Difference between samples, of their size, below which inputs are all the same (ratio)."""
    mixed: float = 0.05
    """Share of samples that get another target in the comparison, below which it tells nothing."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """A short training."""
        return terms.train()

    def look_again(self, verdict: Verdict, evidence: Evidence) -> tuple[Trial, ...]:
        """A held-out part, other inputs, and whether a batch can be learned, where nothing showed."""
        if verdict.outcome is not Outcome.INCONCLUSIVE:
            return ()
        for trace in evidence.of("train"):
            trial, gain = trace.trial, learning.of_stream(trace)
            if trace.ending.kind == "completed" and gain and not gain.shown(self.least):
                terms = Terms(steps=trial.steps, seed=trial.seed, device=trial.device)
                return (*terms.holdout(), *terms.blind(), terms.overfit(0.8))
        return ()

    def judge(self, evidence: Evidence) -> Verdict:
        """By what came to its end: a second look that was cut short is none."""
        told = [t for t in evidence.traces if t.trial.kind == "train" or t.ending.kind == "completed"]
        return super().judge(Evidence(tuple(told)))

    def decide(self, evidence: Evidence) -> Verdict:
        """By the worst seed."""
        order = (Outcome.NOT_APPLICABLE, Outcome.FAILED, Outcome.INCONCLUSIVE, Outcome.PASSED)
        verdicts = [self._one(trace, evidence) for trace in evidence.of("train")]
        return min(verdicts, key=lambda verdict: order.index(verdict.outcome))

    def _one(self, trace: Trace, evidence: Evidence) -> Verdict:
        row, gain = trace.row("pairing"), learning.of_stream(trace)
        if why := row.text("inapplicable"):
            return self.not_applicable(why)
        if gain is None or not row.number("moved") >= self.mixed:
            return self.inconclusive("a batch holds no two samples with different targets")
        look = SecondLook.at(trace, evidence.traces)
        gain = gain if gain.shown(self.least) or look.gain is None else look.gain
        if fault := learning.forgotten(gain, trace, self.least, self.kept):
            return self.failed_by(fault)
        if gain.shown(self.least):
            share = Measure("gain on unseen data", gain.share.estimate, "ratio", self.least, ">=")
            return self.passed(f"{gain}; {100 * self.least:g} % is asked", share)
        if look.gain is None:
            return self.inconclusive(f"{gain}: too little to tell in the first epoch")
        return self._nothing(f"{gain}; {100 * self.little:g} % must be within reach", look)

    def _nothing(self, story: str, look: SecondLook) -> Verdict:
        if look.relation.number("spread") < self.constant:
            return self.failed_by(learning.constant_inputs(story, look, self.little))
        noise = not look.relation.number("structure") >= self.noise
        if why := look.why_not_told(self.little, self.unlike, self.alike, noise=noise):
            advice = "if targets should follow from inputs, they do not: look at a few pairs"
            return self.inconclusive(f"{story}; {why}", advice=[advice] if why == learning.NOISE else [])
        blame = learning.unused_inputs if look.surprise > self.alike else learning.foreign_labels
        return self.failed_by(blame(story, look, self.little))

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Learned in the first epoch, or seen on held-out batches only."""
        yield Example("learns at once", (_train(0.5),))
        yield Example("learns late", _second_look(unseen=0.9, surprise=9.0)[:2])

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Labels of other samples; inputs that are all the same; noise for inputs."""
        yield Example("labels shuffled", _second_look(unseen=0.0, surprise=0.4), ("data",))
        yield Example("inputs constant", _second_look(unseen=0.0, surprise=0.4, spread=0.0), ("data",))
        noise = _second_look(unseen=0.0, surprise=0.4, structure=1.0)
        yield Example("inputs are noise", noise, outcome=Outcome.INCONCLUSIVE)


def _train(gain: float) -> Trace:
    return example_trace(
        loss=Series(tuple(range(100)), tuple(2.3 - 0.002 * i for i in range(100))),
        pairing_gain=Series(tuple(range(20)), tuple(gain + 0.05 * (-1) ** i for i in range(20))),
        crossed_loss=Series(tuple(range(20)), (2.3,) * 20),
        pairing=Row(fresh_steps=20, samples=64, moved=0.9),
    )


def _second_look(unseen: float, surprise: float, **more: float) -> tuple[Trace, ...]:
    train, terms = _train(0.0), Terms()
    rows = (Row(data="unseen", samples=300, loss=2.3 - unseen, gain=unseen, gain_error=0.01, points=20),)
    found = {"agreement": 0.1, "by_chance": 0.1, "labels": True, "samples": 999}
    relation = Row({**found, "structure": 30.0, "spread": 1.0, "surprise": surprise, **more})
    losses = train.series("loss")
    holdout = example_trace(terms.holdout()[0], loss=losses, holdout=rows, relation=relation)
    blind = example_trace(terms.blind()[0], loss=losses)
    fitted = Series(tuple(range(24)), tuple(2.3 * 0.9**i for i in range(24)))
    steps = Row(loss_floor=0.0, uninformed_loss=2.0, loss_noise=0.0)
    overfit = example_trace(terms.overfit(0.8), loss=fitted, steps=steps)
    return train, holdout, blind, overfit
