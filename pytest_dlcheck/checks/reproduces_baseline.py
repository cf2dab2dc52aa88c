"""The check `reproduces_baseline`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

from pytest_dlcheck.baseline import Baseline
from pytest_dlcheck.check import Check, Evidence, Example, Family, example_trace
from pytest_dlcheck.faults.reproduction import Comparison, compare
from pytest_dlcheck.policy import Policy
from pytest_dlcheck.trace import Matrix, Series, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Suspect, Verdict


@dataclass(frozen=True)
class ReproducesBaseline(Check):
    """The training is number for number that of the commit it is held against.

    **Why it matters.** The same code under the same seed on the same machine trains to the same bits. A
    change that was to keep the training (a refactoring, a new version of a library) and keeps its trace
    has kept it; one that has not is told where it began: sharper than a metric, in one run.

    **How it decides.** By the ``train`` trial of the first seed, of the code at hand and of the other
    commit (``--dlcheck-against``), or a stored one (``--dlcheck-baseline``): batches, parameter norms,
    activations, loss, gradient and update norms that both have recorded must be equal. The first that
    differs is told, in the order in which a step makes them (gradients from the last parameter to the
    first); where that is after the first step, both are run again with every step recorded. Changes are
    often meant, so a difference is advice; selected by its name, the check fails.

    **What it cannot see.** Whether a difference is for the worse (see ``accuracy``); what is not
    recorded, such as most elements of a large tensor. A training that does not repeat itself, as with
    many CUDA kernels, differs without a change: the same code is not run twice to find out.

    **Source.** Tests of training frameworks that resume to the same bits.
    """

    family: ClassVar[Family] = "gate"
    reads: ClassVar[frozenset[str]] = frozenset({"loss"})
    glances: ClassVar[frozenset[str]] = frozenset(
        {"batch_fingerprint", "parameter_norm", "activation_rms", "gradient_norm", "update_norm"}
    )

    most: int = 0
    """Numbers (count) that may differ: equal is equal."""
    advises: bool = False
    """Whether a difference is advice, because the check was not asked for by its name."""
    past: Trace | None = None
    """A stored training to be held against; None where another commit's code is run."""
    past_name: str = ""
    """What that is called, such as a branch."""
    notice: str = ""
    """Why there is nothing to hold against; empty if there is."""

    def under(self, policy: Policy, baseline: Baseline) -> Check:
        """With the stored training, and as strict as it was asked for."""
        stored = baseline.traces.get(Terms().seed)
        return replace(
            self,
            advises=self.name not in (policy.select or ()),
            past=None if stored is None else Trace.from_json(stored),
            past_name=baseline.name,
            notice=baseline.notice,
        )

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """The training of the first seed, and the same of the other commit."""
        ours = terms.train()[0]
        return (ours, replace(ours, revision=terms.against)) if terms.against else (ours,)

    def look_again(self, verdict: Verdict, evidence: Evidence) -> tuple[Trial, ...]:
        """Both again with every step recorded, where they part after the first step."""
        pair = _pair(evidence)
        if not verdict.sites or pair is None:
            return ()
        first = compare(*pair).first
        if first is None or first.step == 0:
            return ()
        return tuple(replace(t.trial, dense=True, steps=first.step + 1) for t in pair)

    def decide(self, evidence: Evidence) -> Verdict:
        """By the first number that differs."""
        ours = evidence.the("train")
        theirs = next((t for t in evidence.traces if t.trial.revision), self.past)
        if theirs is None:
            return self.not_applicable(self.notice or "there is no other commit to be held against")
        name, device = theirs.trial.revision[:10] or self.past_name, theirs.trial.device
        if device != ours.trial.device:
            return self.not_applicable(f"{name} was trained on {device}, this on {ours.trial.device}")
        dense = _pair(evidence, dense=True)
        found, near = compare(ours, theirs), compare(*dense) if dense else None
        if not found.compared:
            return self.inconclusive(f"no number was recorded both here and of {name}")
        return self._told(name, near if near and near.first else found)

    def _told(self, name: str, found: Comparison) -> Verdict:
        measure = Measure("numbers that differ", found.differing, "count", self.most)
        numbers = f"{found.differing} of {found.compared} recorded numbers differ (at most {self.most})"
        first, alone = found.first, found.alone
        if first is None and not alone:
            return self.passed(f"training is bit-identical to {name}: {numbers}", measure)
        suspects = [Suspect(site, f"a parameter {where} alone") for site, where in alone]
        story = f"the parameters are not those of {name}"
        if first is not None:
            suspects.insert(0, Suspect(first.place, f"{first.ours:.9g} here, {first.theirs:.9g} there"))
            story = f"training first differs from {name} {first}"
        if self.advises:
            advice = [f"{story} ({suspects[0].finding})"]
            return replace(self.passed(numbers, measure, advice=advice), suspects=tuple(suspects))
        remedy = "find what changed it there; where the change is meant, do not select this check"
        return self.failed(f"{story}: {numbers}", measure, suspects=suspects, remedy=remedy)

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """The same numbers twice."""
        yield Example("the same", (_example(), _example(revision="3f2a1c9d2e")))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Another gradient; another parameter."""
        other = Matrix((0, 1), ("a", "b"), ((1.0, 2.0), (1.1, 2.5)))
        yield Example("a gradient", (_example(), _example("3f2a1c9d2e", other)), ("b",))
        renamed = Matrix((0, 1), ("a", "c"), ((1.0, 2.0), (1.0, 2.0)))
        yield Example("a parameter", (_example(), _example("3f2a1c9d2e", renamed)), ("b",))


def _pair(evidence: Evidence, *, dense: bool = False) -> tuple[Trace, Trace] | None:
    """The training of the code at hand and that of the other commit, where there are both."""
    ours = evidence.of("train", dense=dense)
    theirs = [t for t in evidence.traces if t.trial.revision and t.trial.dense is dense]
    return (ours[0], theirs[0]) if ours and theirs else None


_NORMS = Matrix((0, 1), ("a", "b"), ((1.0, 2.0), (1.0, 2.0)))


def _example(revision: str = "", gradients: Matrix = _NORMS) -> Trace:
    trial = replace(Terms().train()[0], revision=revision)
    return example_trace(trial, loss=Series((0, 1), (2.0, 1.0)), gradient_norm=gradients)
