"""What the losses of a training compare: of one, and of those of one optimizer's parameters added up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_dlcheck.run.losses.class_weights import Weighed
from pytest_dlcheck.run.losses.graphs.given import Given
from pytest_dlcheck.run.losses.graphs.guessing import Guess, Guesses
from pytest_dlcheck.run.losses.graphs.one_label import OneLabel, Only
from pytest_dlcheck.run.watch.batches.class_order import ClassOrder, Labels
from pytest_dlcheck.run.watch.losses.maps import Maps, Pair
from pytest_dlcheck.run.watch.losses.orders import Pairing, Pairings
from pytest_dlcheck.run.watch.losses.partners import Partners, Partnerships
from pytest_dlcheck.trace import Row

_COUNTED = ("looked", "aligned", "misaligned", "moving", "undivided", "paired", "exponential")
_TOLD = (
    *("crossed", "cut", "cut_inside", "cut_targets", "turned", "its_own", "given", "padding"),
    *("masked", "advantage", "unlikelier", "carried", "weightless", "partly", "one_sample", "joined"),
    *("masked_late", "punished", "rewarded", "labelled", "each", "unlabelled", "held_rows"),
    *("beyond", "ended", "crossed_within", "divided", "optimistic", "certain"),
)


@dataclass(frozen=True)
class Compared:
    """What one loss compares.

    Attributes:
        aligned: whether its targets came with the inputs; None where it cannot be told.
        moving: whether gradients flow into the targets.
        undivided: whether it is a mean that nothing scales; None where it is not known.
        age: how many batches older than the inputs the targets are.
        paired: whether a loader gave batches of several tensors: inputs and targets together.
        given: what torch's losses in it are given.
        weighed: what these have their classes weigh, beside how often they occur.
        pairing: how its targets stand beside its inputs.
        labels: the batch's, where its loader does not shuffle.
        exponential: whether exponentials or logarithms are taken near it, as likelihoods do.
        told: what else is noticed, by name, with words of it such as shapes: ``crossed``, of outputs and
            of what became of them, where both sides were broadcast; ``cut``, of a batch and of what the
            model was called on, where samples are cut apart; ``cut_inside``, before and after a view
            within the model that does so; ``cut_targets``, of a batch and of the same as targets;
            ``turned``, of scores and targets that were flattened in another order; ``its_own``, where
            each sample is told by its likeness to itself; ``given``, where the targets are among the
            inputs; ``padding``, of the targets that lie on it; ``masked``, of the places that a mask has
            set to zero and that are averaged over; ``masked_late``, of those in a mask that a mean is
            multiplied by; ``advantage``, of what a critic says, with gradients, in an actor's loss;
            ``unlikelier``, of actions that lose probability by what they are worth; ``punished``, of
            such by what the loop calls earned, and ``rewarded``, of actions that gain by it;
            ``carried``, of a state from the batch before;
            ``one_sample``, of a batch that is one sample, many times, while its targets differ;
            ``labelled``, of targets that a loader gave beside the inputs, and that are fewer numbers
            than these; ``unlabelled``, where some samples have no label; ``weightless``, where a term is
            multiplied by zero; ``joined``, where several terms are added; ``each``, of targets that a
            loader gave, for each row of the inputs, where a loss compares nothing else; ``divided``, of
            the whole number that a loss is divided by last of all; ``held_rows``,
            of rows that the loop calls held out, and scores; ``beyond``, of values beyond the end of
            an episode in targets, and ``ended``, where these stop there; ``optimistic``, of what a loss
            does with a ratio beside the same one clipped, where it keeps the better; ``certain``, of
            a policy whose entropy is minimised; and ``partly``, of targets for some rows of the inputs
            only, as of the nodes of a graph.
        partners: which of its targets stands beside which input, where that is told.
        guess: what its scores and labels say beside guessing, where it has such.
        labelled: what its parts, if torch's and of classes, are given.
        maps: images and their masks, where it has such.
    """

    aligned: bool | None
    moving: bool
    undivided: bool | None
    age: int = 0
    paired: bool = False
    given: tuple[Row, ...] = ()
    weighed: tuple[Weighed, ...] = ()
    pairing: Pairing = field(default_factory=Pairing)
    labels: Labels | None = None
    exponential: bool = False
    told: Mapping[str, str] = field(default_factory=dict)
    partners: Partners | None = None
    guess: Guess | None = None
    labelled: tuple[Only, ...] = ()
    maps: Pair | None = None


class Comparisons:
    """What the losses of one optimizer's parameters compare, added up."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._ages: Counter[int] = Counter()
        self._words: dict[str, str] = {}
        self.given, self._pairings, self._partnerships = Given(), Pairings(), Partnerships()
        self.order, self.guesses, self._maps = ClassOrder(), Guesses(), Maps()
        self.one_label = OneLabel()

    def add(self, found: Compared, step: int = 0) -> None:
        """One more, before this step."""
        self.guesses.add(found.guess, step)
        whole = found.guess is not None and found.guess.whole
        self.one_label.add(found.labelled, whole=whole, joined=bool(found.told.get("joined")))
        self.given.add(found.given, found.weighed)
        self._pairings.add(found.pairing)
        self._partnerships.add(found.partners, step)
        self._maps.add(found.maps)
        if found.labels is not None:
            self.order.add(found.labels)
        self._counts["looked"] += 1
        self._counts["aligned"] += found.aligned is True
        self._counts["misaligned"] += found.aligned is False
        self._counts["moving"] += found.moving
        self._counts["undivided"] += found.undivided is True
        self._counts["exponential"] += found.exponential
        self._counts["paired"] += found.paired
        for name, words in found.told.items():
            if words:
                self._counts[name] += 1
                self._words[name] = words
        if found.aligned is False:
            self._ages[found.age] += 1

    def facts(self) -> dict[str, tuple[Row, ...]]:
        """What is told of labels and masks, where there is something to tell."""
        found = {"guesses": self.guesses.row(), "data_order": self.order.row()}
        found["data_alignment"] = self._maps.row()
        return {name: (row,) for name, row in found.items() if row is not None}

    def words_of(self, name: str) -> str:
        """The last words that were told under this name; none where there were none."""
        return self._words.get(name, "")

    def row(self) -> Row:
        """The counts."""
        age = self._ages.most_common(1)[0][0] if self._ages else None
        counts = {name: self._counts[name] for name in (*_COUNTED, *_TOLD)}
        shapes = {f"{name}_shapes": self.words_of(name) for name in _TOLD}
        swaps = self._partnerships.row()
        return Row(self._pairings.row(), **counts, **shapes, **swaps, age=age)
