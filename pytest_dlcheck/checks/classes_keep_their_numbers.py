"""Classes keep their numbers: validation labels name the classes as training labels do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from pytest_dlcheck.check import Check, Effect, Evidence, Example, Family, example_trace
from pytest_dlcheck.faults.learning.generalization import Showing, suspect
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Verdict

_TWO = 2
"""Classes (count) of which any systematic error takes one for the other: an environment in which what
they went by is turned round (Arjovsky et al. 2019), or an attack."""


@dataclass(frozen=True)
class ClassesKeepTheirNumbers(Check):
    """In a watched loop, validation labels number the classes as training labels do.

    **Why it matters.** A list of classes that is made anew for the validation data, in the order in
    which they come or of another folder, names them otherwise: the training is sound, and its score is
    no better than chance.

    **How it decides.** On a watched loop, where loaders give inputs and labels and the model one score
    for each class: the answers of the last evaluation are held against its labels, those of the last
    training batches that were looked at against theirs. It fails where training data is surely known,
    and surely more of the validation data would be right if some classes changed names in a ring than
    by the labels, and more than half of the way from chance to the training data (Wilson, 99.8 %).
    Of two classes that is advice: an environment that turns round what they go by looks the same.

    **What it cannot see.** Validation data that no loader gives within ``no_grad``; scores that are
    computed from the outputs; numbers that differ in a model that has learned little. ``generalizes``
    scores a recipe's ``val_data`` itself.

    **Source.** The documentation of ``torchvision.datasets.ImageFolder``, whose classes are numbered by
    the folders that are there; Wilson, "Probable inference" (1927).
    """

    family: ClassVar[Family] = "loop"
    reads: ClassVar[frozenset[str]] = frozenset({"loop"})
    glances: ClassVar[frozenset[str]] = frozenset({"answers", "confusion"})
    shows: ClassVar[Effect | None] = Effect.GENERALIZATION
    leads_to: ClassVar[frozenset[Effect]] = frozenset()

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """The user's own loop."""
        return (terms.watch(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """By the names that fit best."""
        trace = evidence.the("watch")
        showing = Showing.of(trace, "answers")
        if not showing.rows:
            return self.not_applicable("no evaluation's answers were held against a loader's labels")
        right, known = showing.accuracy("val"), showing.accuracy("train")
        story = (
            f"{right.estimate:.0%} of the last evaluation's labels are answered right, "
            f"{known.estimate:.0%} of the last training batches'"
        )
        found = showing.renumbered
        renamed = float(found.split()[0]) if found else 0.0
        measure = Measure("classes taken for one another", renamed, "count", 0)
        if not found:
            return self.passed(f"{story}; 0 classes are taken for one another (0 should be)", measure)
        if len({row.integer("true") for row in trace.rows("confusion")}) <= _TWO:
            unless = "unless the evaluation is meant to be the opposite, validation labels are exchanged"
            return self.passed(f"{story}; {found}", measure, advice=[f"{found}: {unless}"])
        at, cause, remedy = suspect(showing, 0.0)
        return self.failed(
            f"{story}; {found} (0 should be)", measure, suspects=[at], cause=cause, remedy=remedy
        )

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Answered; overfitted."""
        yield Example("answered", (_example({(i, i): 28 for i in range(3)} | {(0, 1): 4}),))
        wrong = {(i, j): 12 + 4 * (i == j) for i in range(3) for j in range(3)}
        yield Example("learned by heart", (_example(wrong),))
        yield Example("an opposite", (_example({(0, 1): 40, (1, 0): 38, (0, 0): 2}),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Two classes that change names."""
        ring = {(0, 1): 30, (1, 0): 29, (2, 2): 30, (2, 1): 1}
        yield Example("classes in another order", (_example(ring),), ("val_data",))


def _example(counts: dict[tuple[int, int], int]) -> Trace:
    total, right = sum(counts.values()), sum(n for (a, b), n in counts.items() if a == b)
    val = Row(data="val", mode="eval", classified=total, correct=right, chance=1 / 3)
    train = Row(data="train", mode="eval", classified=128, correct=122, chance=1 / 3)
    confusion = [Row(true=a, predicted=b, count=n) for (a, b), n in counts.items()]
    return example_trace(Terms().watch(), loop=Row(steps=60), answers=(val, train), confusion=confusion)
