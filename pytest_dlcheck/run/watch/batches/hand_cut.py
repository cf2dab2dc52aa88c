"""Rows of calls of a model in train mode, without gradients, on the same inputs that no loader gave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytest_dlcheck.run.code.frames import callers, words_of
from pytest_dlcheck.run.code.lines import frame_of_the_loop
from pytest_dlcheck.run.watch.batches.few import Few, first_plain
from pytest_dlcheck.run.watch.batches.seen import FEW, Seen, seen_of
from pytest_dlcheck.trace import Row

APART = 3
"""Steps (count) between two rows from which on they are no part of a step."""
COMPARED = 64
"""Calls of a row (count) that are compared with its first."""
ROWS = 4
"""Rows of whose first calls the samples are remembered."""

FRAMES = 3
"""Functions around a call whose names are looked at."""
_VALIDATES = frozenset({"eval", "evaluate", "evaluation", "validate", "validation", "valid", "val"})
"""Words of functions that validate."""
_MEANT = frozenset(
    {
        *("train", "training", "mc", "monte", "carlo", "dropout", "uncertainty", "ensemble", "tta"),
        *("bayesian", "sample", "samples", "sampled", "stochastic", "adapt", "adapted", "calibrate"),
        "policy",
    }
)
"""Words beside which they may do so in train mode on purpose."""
_COUNTS = ("rows", "again", "repeats", "samples", "distinct", "trained", "trained_again")


class HandCut:
    """What one strand's model is called on so."""

    def __init__(self) -> None:
        self._row, self._step, self._calls = -1, -APART, 0
        self._is_apart = self._is_by_hand = False
        self._first: Few | None = None
        self._last: Few | None = None
        self._wanted: tuple[int, Few, Few] | None = None
        self._rows = self._again = self._repeats = 0
        self._seen: list[Seen] = []
        self._names: set[str] = set()

    def called(self, arguments: Any, event: int, step: int, *, from_loader: bool) -> None:
        """It is called in train mode without gradients, with modules to which that makes a difference.

        Args:
            arguments: on what.
            event: a number that calls without gradients in a row share.
            step: of its optimizer.
            from_loader: whether that is a batch fresh from a loader.
        """
        if event != self._row:
            self.end()
            self._row, self._calls = event, 0
            self._is_apart, self._is_by_hand = step - self._step >= APART, True
        self._step = step
        self._calls += 1
        self._is_by_hand &= not from_loader
        if self._is_apart and self._is_by_hand:
            self._note(arguments, event, step)

    def _note(self, arguments: Any, event: int, step: int) -> None:
        given = first_plain(arguments)
        few = None if given is None else Few.of(given)
        if self._calls == 1:
            self._first = few
            self._names.add(validator())
            if len(self._seen) < ROWS:
                seen = seen_of(arguments, step, -event, training=True, era=0)
                self._seen += [] if seen is None else [seen]
        elif few is not None and self._first is not None and self._calls <= COMPARED:
            self._repeats += few.is_as(self._first)
        self._last = few

    def end(self) -> None:
        """The row is over: is it as the first one was?"""
        first, last = self._first, self._last
        if self._is_apart and self._is_by_hand and first is not None and last is not None:
            self._rows += 1
            if self._wanted is None:
                self._wanted = self._calls, first, last
            else:
                calls, before, after = self._wanted
                self._again += calls == self._calls and first.is_as(before) and last.is_as(after)
        self._first = self._last = None
        self._is_apart = False

    def row(self, trained: Sequence[Seen]) -> Row:
        """What was seen, in numbers.

        Args:
            trained: what the model is trained on.
        """
        if not self._rows:
            return Row(dict.fromkeys(_COUNTS, 0), validator="")
        Seen.read([*self._seen, *trained])
        all_trained = [value for seen in trained for value in seen.values()]
        different = set(all_trained)
        values = [value for seen in self._seen[:1] for value in seen.values()]
        told = len(set(values)) if len(different) >= FEW else 0
        return Row(
            rows=self._rows,
            again=self._again,
            repeats=self._repeats,
            samples=len(values),
            distinct=told,
            trained=sum(value in different for value in set(values)),
            trained_again=len(all_trained) - len(different),
            validator=next(iter(self._names)) if len(self._names) == 1 else "",
        )


def validator() -> str:
    """The name of the function of the loop that calls, where it says that it validates."""
    names = (frame.f_code.co_name for frame in callers(frame_of_the_loop(), FRAMES))
    return next((name for name in names if _says_so(name)), "")


def _says_so(name: str) -> bool:
    words = words_of(name)
    says = bool(words & _VALIDATES) or name == "test" or words == {"estimate", "loss"}
    return says and not words & _MEANT
