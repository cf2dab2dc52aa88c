"""Whether what is learned comes from the inputs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from pytest_dlcheck.check import Check, Effect, Evidence, Example, Family, example_trace
from pytest_dlcheck.faults.learning import learning, learning_examples
from pytest_dlcheck.faults.learning.learning_own_loop import CLEAR, Comparison
from pytest_dlcheck.trace import Trace
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
    without the model. It fails only if held-out data, or ridge regression and nearest neighbours out of
    fold, leave less than ``little`` to be gained, a batch is learned by heart in half the steps (maps in
    part), and near inputs do not have alike targets either; or if at the end less than ``kept`` is left
    of what was gained. An own loop must do worse with others' inputs.

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
            trial, own = trace.trial, trace.row("pairing").flag("own_loop")
            gain = learning.of_stream(trace)
            if trace.ending.kind == "completed" and (own or (gain and not gain.shown(self.least))):
                seeds = len(evidence.of("train")) if own else 1
                terms = Terms(trial.steps, seed=trial.seed, seeds=seeds, device=trial.device)
                return (*(() if own else terms.holdout()), *terms.blind(), terms.overfit(0.8))
        return ()

    def judge(self, evidence: Evidence) -> Verdict:
        """By what came to its end: a second look that was cut short is none."""
        told = [t for t in evidence.traces if t in evidence.of("train") or t.ending.kind == "completed"]
        return super().judge(Evidence(tuple(told)))

    def decide(self, evidence: Evidence) -> Verdict:
        """By the worst seed."""
        order = (Outcome.NOT_APPLICABLE, Outcome.FAILED, Outcome.INCONCLUSIVE, Outcome.PASSED)
        verdicts = [self._one(trace, evidence) for trace in evidence.of("train")]
        return min(verdicts, key=lambda verdict: order.index(verdict.outcome))

    def _one(self, trace: Trace, evidence: Evidence) -> Verdict:
        row, gain = trace.row("pairing"), learning.of_stream(trace)
        if (why := row.text("inapplicable")) or row.flag("own_loop"):
            return self.not_applicable(why) if why else self._own(trace, evidence)
        if gain is None or not row.number("moved") >= self.mixed:
            return self.inconclusive("a batch holds no two samples with different targets")
        look = learning.SecondLook.at(trace, evidence.traces)
        gain = gain if gain.shown(self.least) or look.gain is None else look.gain
        if fault := learning.forgotten(gain, trace, self.least, self.kept):
            return self.failed_by(fault)
        if gain.shown(self.least):
            share = Measure("gain on unseen data", gain.share.estimate, "ratio", self.least, ">=")
            return self.passed(f"{gain}; {100 * self.least:g} % is asked", share)
        if look.gain is None:
            return self.inconclusive(f"{gain}: too little to tell in the first epoch")
        return self._nothing(f"{gain}; {100 * self.little:g} % must be within reach", look)

    def _own(self, trace: Trace, evidence: Evidence) -> Verdict:
        look = Comparison.at(trace, evidence.traces)
        if look.is_clear:
            return self.passed(f"{look}; {100 * CLEAR:g} % is asked", look.measure)
        why = look.why_not_told(self.little, self.unlike, self.noise)
        return self.inconclusive(f"{look}; {why}") if why else self.failed_by(look.foreign_labels())

    def _nothing(self, story: str, look: learning.SecondLook) -> Verdict:
        if plain := learning.in_the_data(story, look, self.little, self.constant):
            return self.failed_by(plain)
        if why := look.why_not_told(self.little, self.unlike, self.alike, self.noise):
            advice = "if targets should follow from inputs, they do not: look at a few pairs"
            return self.inconclusive(f"{story}; {why}", advice=[advice] if why == learning.NOISE else [])
        return self.failed_by(learning.nothing(story, look, self.little, self.alike, self.noise))

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Learned in the first epoch, or seen on held-out batches only; learned by an own loop."""
        yield Example("learns at once", (example_trace(**learning_examples.stream(0.5)),))
        yield Example("learns late", _second_look(unseen=0.9, surprise=9.0)[:2])
        yield Example("an own loop learns", _own_loop(0.2)[:2])

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Labels of other samples; inputs that are all the same; noise for inputs."""
        yield Example("labels shuffled", _second_look(unseen=0.0, surprise=0.4), ("data",))
        yield Example("an own loop's labels shuffled", _own_loop(0.0), ("data",))
        yield Example("inputs constant", _second_look(unseen=0.0, surprise=0.4, spread=0.0), ("data",))
        noise = _second_look(unseen=0.0, surprise=0.4, structure=1.0)
        yield Example("inputs are noise", noise, outcome=Outcome.INCONCLUSIVE)


def _second_look(unseen: float, surprise: float, **more: float) -> tuple[Trace, ...]:
    holdout = example_trace(Terms().holdout()[0], **learning_examples.held_out(unseen, surprise, **more))
    return example_trace(**learning_examples.stream(0.0)), holdout, *_blind_and_overfit(0.0)


def _own_loop(excess: float) -> tuple[Trace, ...]:
    return example_trace(**learning_examples.OWN_LOOP), *_blind_and_overfit(excess)


def _blind_and_overfit(excess: float) -> tuple[Trace, ...]:
    blind = example_trace(Terms().blind()[0], **learning_examples.blind(excess))
    return blind, example_trace(Terms().overfit(0.8), **learning_examples.FITTED)
