"""Gradients flow: every trainable parameter is reached, and the depth does not swallow the signal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from pytest_dlcheck.check import Check, Effect, Evidence, Example, example_trace
from pytest_dlcheck.faults.dynamics import depth, terms, through_time
from pytest_dlcheck.faults.dynamics import gradient as faults
from pytest_dlcheck.trace import Matrix, Row, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Outcome, Verdict


@dataclass(frozen=True)
class GradientsFlow(Check):
    """The training sends a gradient to every parameter that it is meant to train.

    **Why it matters.** A parameter without one never learns, and the loss falls all the same.

    **How it decides.** A trainable parameter in an optimizer that has no gradient, or exactly zero, in
    every recorded step is perturbed, on one batch. If the loss changes although no gradient comes back,
    the graph is cut there, or the derivative is zero everywhere: a failure, as where a watched loop
    gives to one that trains what a module made with gradients off, or detached, where a copy of the
    model, tried after the watch, changes with it, and where it calls backward on one term of a sum. Also
    fail: layers without a gradient where others learn biases alone, given only zeros; a module whose
    result is thrown away; one never called while its sister of the same form is called twice; two
    parameters of zeros that are multiplied; a head compared with a target that, given other values,
    never changes the loss, while another does; one that is called step after step and always given its
    state back without its graph, where the last step alone reaches the loss, or it is a recurrent layer
    of torch. What is merely not used (a head without a loss, a target network) is advice. Against the
    depth, the gradient relative to its weight (median of the steps, no embeddings) must not fall by more
    than ``vanishing_ratio`` from the best layer to all of the first; ``faint_ratio`` if the loss stands.

    **What it cannot see.** The inside of compiled models, and what a short training does not show.

    **Source.** Glorot & Bengio, "Understanding the difficulty of training deep feedforward neural
    networks" (2010), for the decay along depth.
    """

    family: ClassVar = "dynamics"
    reads: ClassVar = frozenset({"gradient_norm", "parameters"})
    glances: ClassVar = depth.GLANCED | {"flow", "dropouts", "loop", "through_time"}
    shows: ClassVar = Effect.GRADIENTS
    leads_to: ClassVar = frozenset(
        {Effect.UPDATES, Effect.FITTING, Effect.PROGRESS, Effect.LEARNING, Effect.GENERALIZATION}
    )

    vanishing_ratio: float = 1e-6
    """Gradient over weight of the first layers, relative to the best layer (ratio). The first layers
    of 55 healthy recipes, from MLPs over recurrent nets to transformers, stay above 4e-4."""
    faint_ratio: float = 1e-4
    """The same where the loss on fixed batches stands still: the depth learns nothing (ratio)."""
    most_dropped: float = 0.94
    """Share of values that a dropout sets to 0 (ratio); the strongest in use is 0.9."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """One batch to look for cuts, a short training to look for gradients."""
        return (terms.inspect(), *terms.train())

    def judge(self, evidence: Evidence) -> Verdict:
        """As every check, but a loss without any graph is told as the cut that it is."""
        verdict = super().judge(evidence)
        places = [row for trace in evidence.of("inspect") for row in trace.rows("flow")]
        if verdict.outcome is Outcome.ERRORED and places and places[0].text("state") == "cut":
            cut, count = places[1:], places[0].integer("parameters")
            return self._fails(cut, count, ()) if cut else verdict
        return verdict

    def decide(self, evidence: Evidence) -> Verdict:
        """Missing and zero gradients first, then their decay along the depth."""
        rows = [row for trace in evidence.of("train") for row in trace.rows("parameters")]
        asked = {r.text("name"): r for r in rows if r.flag("requires_grad") and r.integer("optimizers")}
        if not asked:
            return self.not_applicable("no optimizer holds a trainable parameter")
        silent = faults.silent_parameters(evidence.of("train"), asked)
        looked = [row for t in evidence.of("inspect") for row in t.rows("flow")]
        places = [row for row in looked[1:] if any(faults.covers(row, n, silent) for n in silent)]
        if broken := faults.broken(evidence.of("train"), places, silent, asked):
            still = [asked[name] for name in silent if faults.covered(broken, name, silent)]
            return self._fails(broken, len(asked), still)
        if not looked and (lost := [n for n in silent if not asked[n].flag("changed")]):
            return self.inconclusive(
                f"{len(lost)} of {len(asked)} trainable parameters have no gradient in any step (0 "
                f"expected), such as {lost[0]}; whether the loss depends on them was not tried"
            )
        if fault := terms.propagated_alone(evidence.of("train")) or through_time.cut(evidence.traces):
            return self.failed_by(fault)
        flowing = depth.by_calls([n for n in asked if n not in silent], evidence.of("inspect"))
        for trace in evidence.of("train"):
            if fault := depth.dropped(trace, self.most_dropped) or depth.vanishing(
                trace, flowing, self.vanishing_ratio, self.faint_ratio
            ):
                return self.failed_by(fault)
        return self.passed(
            f"{len(asked) - len(silent)} of {len(asked)} trainable parameters receive gradients, "
            "0 are cut off",
            Measure("parameters cut off", 0, "count", 0),
            advice=(
                *filter(None, (faults.advice(place, silent, asked) for place in places)),
                *depth.drops_much(evidence.the("train"), self.most_dropped),
                *terms.advice(evidence.of("train")),
            ),
        )

    def _fails(self, places: list[Row], count: int, still: Sequence[Row]) -> Verdict:
        """Of so many parameters these stand still; all of them where none is named."""
        places, silent = sorted(places, key=faults.is_far_from_its_cut), len(still) or count
        cause, remedy = faults.reason(places[0], still)
        return self.failed(
            f"{silent} of {count} trainable parameters receive no gradient in any step "
            "(0 expected), though they should train",
            Measure("parameters without gradient", silent, "count", 0),
            suspects=map(faults.suspect, places),
            cause=cause,
            remedy=remedy,
        )

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """All reached, or all but a head that the loss does not use."""
        yield Example("all reached", _example({}))
        pooler = Row(site="body.fc1", state="absent", type="Linear", called=1, returned=True)
        yield Example("unused head", _example({"body.fc1.weight": (None, None)}, pooler))
        yield Example("zero in one step", _example({"body.fc1.weight": (0.0, 0.1)}))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """A cut, a rounding, and a depth that swallows the signal."""
        cut = Row(site="body.fc1", state="absent", influences=True, cut_before="body.fc2")
        yield Example("detached", _example({"body.fc1.weight": (None, None)}, cut), ("body.fc1",))
        rounded = _example({"body.fc1.weight": (0.0, 0.0)}, Row(cut, state="zero"))
        yield Example("rounded", rounded, ("body.fc1",))
        yield Example("vanishing", _example({"body.fc1.weight": (1e-9, 1e-9)}), ("body.fc1.weight",))


def _example(
    gradients: Mapping[str, tuple[float | None, float | None]], *places: Row
) -> tuple[Trace, Trace]:
    names = ("body.fc1.weight", "body.fc2.weight", "head.weight")
    first, second = zip(*(gradients.get(name, (0.1, 0.2)) for name in names), strict=True)
    trained = example_trace(
        parameters=[Row(name=n, shape="(8, 8)", requires_grad=True, optimizers=1) for n in names],
        gradient_norm=Matrix((0, 1), names, (first, second)),
        parameter_norm=Matrix((0, 1), names, ((1.0,) * 3,) * 2),
    )
    connected = Row(site="loss", state="connected", parameters=3)
    return example_trace(Terms().inspect(), flow=(connected, *places)), trained
