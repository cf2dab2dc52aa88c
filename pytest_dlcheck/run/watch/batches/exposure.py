"""Which samples one optimizer's model is trained on, and on which of them it is evaluated later."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from pytest_dlcheck.run.code.lines import frame_of_the_loop
from pytest_dlcheck.run.sampling import Due
from pytest_dlcheck.run.tensors.tree import first_tensor
from pytest_dlcheck.run.watch.batches.asked import Asked
from pytest_dlcheck.run.watch.batches.cut_short import CutShort
from pytest_dlcheck.run.watch.batches.eras import Eras, are_folds
from pytest_dlcheck.run.watch.batches.eval_steps import EvalSteps
from pytest_dlcheck.run.watch.batches.input_scales import input_scales
from pytest_dlcheck.run.watch.batches.loading import Loading
from pytest_dlcheck.run.watch.batches.one_pass import OnePass
from pytest_dlcheck.run.watch.batches.parts import (
    held_out_overlap,
    is_meant_as_held_out,
    knows_of_held_out,
    part_of,
)
from pytest_dlcheck.run.watch.batches.phases import Phases
from pytest_dlcheck.run.watch.batches.prints import Prints, weigh
from pytest_dlcheck.run.watch.batches.reading import FIRST, LATER, SAMPLES, Reading
from pytest_dlcheck.run.watch.batches.rescaled import NONE, rescaled
from pytest_dlcheck.run.watch.batches.rotation import rotation
from pytest_dlcheck.run.watch.batches.seen import Seen, overlap, seen_of
from pytest_dlcheck.run.watch.batches.texts import Texts
from pytest_dlcheck.run.watch.batches.unheeded import Unheeded
from pytest_dlcheck.run.watch.batches.windows import overlapping
from pytest_dlcheck.trace import Row

BATCHES = 256
"""Batches remembered of each kind: of 64 samples, 16,384. Then the first of a few passes are."""
FORMER = 1024
"""Batches remembered that other optimizers trained on before."""
TOGETHER = 32
"""Batches (count) whose samples are weighed together: a few hundred kilobytes until then."""


class Exposure:
    """What is trained on and what is evaluated: samples by their numbers, on sampled batches.

    An evaluation is a call of the root in eval mode without gradients.

    Args:
        parameters: what is trained.
    """

    def __init__(self, parameters: Sequence[nn.Parameter] = ()) -> None:
        self._eras, self._has_one_optimizer = Eras(parameters), True
        self._knows_held_out = False
        self._texts = Texts()
        self._trained: list[Seen] = []
        self._later: list[Seen] = []
        """Trained on by another optimizer before, or when much was remembered already."""
        self._evaluated: list[Seen] = []
        self._waiting: list[Prints] = []
        """Of what was remembered last, not weighed yet."""
        self.pending: Seen | None = None
        """What was called on last, if it is to be remembered when a backward follows."""
        self.unheeded = Unheeded()
        self._in_doubt: Seen | None = None
        """What was propagated last, if that may serve something else than a step."""
        self._training, self._evaluating, self._sampling = Reading(), Reading(), Due(SAMPLES)
        self._steps = EvalSteps()
        self.is_steady = False
        """Whether one more step in train mode on this pass over a loader would tell nothing new."""
        self._misses_none = False
        self._calls = 0
        self._phases, self._asked = Phases(), Asked()
        self._cut_short = CutShort()
        self.truncated = self.shuffled = 0
        """Samples that an evaluation's loader leaves out, and evaluations in random order."""
        self._trained_whole = self._evaluated_whole = 0
        """Samples of the longest pass over a loader, 0 where that is not known."""

    def is_called_to_train(
        self,
        step: int,
        arguments: Any,
        loading: Loading,
        *,
        training: bool,
        copy: Tensor | None = None,
    ) -> None:
        """The root is called with gradients; whether that trains is known when a backward follows.

        Args:
            step: of the optimizer.
            arguments: what it is called on.
            loading: how loaders were read.
            training: whether it is in train mode.
            copy: of the first tensor, if there is one that nobody writes to.
        """
        if self.pending is not None:
            self.unheeded.add(self.pending)
        if training and self.unheeded.open:
            self._are_evaluated(self.unheeded.settle())
        self.pending, self._in_doubt, reading = None, None, self._training
        if self._eras.kept is not None:
            self._eras.trains()
        is_far = loading.passes == reading.stream and reading.position + 1 < reading.next
        self._misses_none &= len(self._trained) < BATCHES
        if is_far and step < self._sampling.next and not self._misses_none:
            reading.position += 1
            return
        if loading.passes != reading.stream:
            self.is_steady = False
            self._cut_short.trains(loading)
            self._trained_whole = max(self._trained_whole, loading.size)
        is_sampled = self._sampling(step)
        due = reading.is_due(loading.passes) or is_sampled or self._misses_none
        if due and (len(self._trained) < BATCHES or self._training.is_due_later()):
            era = self._eras.number
            self.pending = seen_of(
                *(arguments, step, loading.passes),
                training=training,
                era=era,
                earlier=len(self._trained),
                copy=copy,
            )
            if not training and self.pending is not None:
                self.pending = replace(self.pending, part=self._part(arguments, loading))

    def miss_none(self) -> None:
        """From here on remember every batch, as long as there is room."""
        self._misses_none = True

    def idle_calls(self, step: int, loading: Loading) -> int:
        """How many of the next calls would tell nothing new while this pass over a loader lasts."""
        reading, is_open = self._training, self.pending is not None or self._in_doubt is not None
        if is_open or self._misses_none or self._eras.kept is not None:
            return 0
        if loading.passes != reading.stream:
            return 0
        if len(self._trained) >= BATCHES and not (
            reading.position + 1 < FIRST and reading.passes in LATER
        ):
            return sys.maxsize  # all that is remembered of this pass
        return max(0, min(reading.next - reading.position - 1, self._sampling.next - step))

    def skip(self, calls: int) -> None:
        """So many of them were made."""
        self._training.position += calls

    def is_propagated(self) -> None:
        """A backward follows.

        In eval mode, or for the gradient of the inputs, it may serve a saliency map, an attack or a
        Fisher matrix: it trains if the next that happens is a step in the same mode.
        """
        self.unheeded.is_propagated()
        pending, self.pending = self.pending, None
        if pending is None:
            return
        if pending.training and not pending.asks_gradient:
            self._keep(pending)
        else:
            self._in_doubt, self.is_steady = pending, False

    def is_stepped(self, *, training: bool) -> None:
        """What it was called on is applied."""
        doubt, self._in_doubt = self._in_doubt, None
        if doubt is not None and doubt.training is training:
            self._keep(doubt)
        self._steps.add(training=training, stream=self._training.stream)
        self.is_steady = training

    def is_evaluated(
        self,
        step: int,
        arguments: Any,
        loading: Loading | None,
        event: int,
        backwards: int,
        *,
        in_train_mode: bool = False,
    ) -> None:
        """The root is called without gradients, in eval mode or where that makes no difference.

        Args:
            step: optimizer steps before it.
            arguments: what it is called on.
            loading: how loaders were read; None where this is no loader's batch.
            event: a number that evaluations in a row share.
            backwards: backward passes before it.
            in_train_mode: whether the model was not in eval mode.
        """
        self._calls += 1
        self._eras.is_evaluated()
        is_part = loading is not None and loading.length > 1
        self._phases.add(event, backwards, step, is_part=is_part, in_train_mode=in_train_mode)
        stream = -self._calls if loading is None else loading.passes
        if loading is not None:
            self._cut_short.evaluates(loading, step)
        due = self._evaluating.is_due(stream)
        if loading is not None and self._evaluating.position == 0:
            self.truncated = max(self.truncated, loading.left_out)
            self.shuffled += loading.is_shuffled
            self._evaluated_whole = max(self._evaluated_whole, loading.size)
        if due and (len(self._evaluated) < BATCHES or self._evaluating.is_due_later()):
            era, earlier = self._eras.number, len(self._evaluated)
            seen = seen_of(
                arguments, step, stream, training=False, phase=event, era=era, earlier=earlier
            )
            if seen is not None:
                if loading is None:
                    given = first_tensor(arguments)
                    self._texts.is_evaluated(frame_of_the_loop(), given, self._of_one_era())
                part, kept = self._part(arguments, loading), self._asked.is_kept(arguments, step)
                self._remember(replace(seen, part=part, is_kept=kept), self._evaluated)

    def _are_evaluated(self, found: Sequence[Seen]) -> None:
        """These were called with gradients, and not trained on."""
        for seen in found[: BATCHES - len(self._evaluated)]:
            self._phases.add(seen.phase, seen.step, seen.step, is_part=False, in_train_mode=True)
            self._remember(seen, self._evaluated)

    def _part(self, arguments: Any, loading: Loading | None) -> str:
        """What the loop calls what it evaluates, where that says which part of the data it is."""
        frame = frame_of_the_loop()
        self._knows_held_out = self._knows_held_out or knows_of_held_out(frame)
        return part_of(frame, arguments, loading)

    def validations(self) -> int:
        """Evaluations in a row that are no part of a step."""
        return len(self._phases.validations())

    def forget(self) -> None:
        """Another optimizer takes over: the parameters may have been set back, as between folds."""
        self._later = [*self._later, *self._trained][:FORMER]
        self._trained, self.pending, self._in_doubt = [], None, None
        self._has_one_optimizer = False

    def drawn_anew(self) -> int:
        """Trainings that went on with other parameters, by one optimizer; none where these are folds."""
        count = self._eras.drawn_anew() if self._has_one_optimizer else 0
        return 0 if count and are_folds(self.trained(), self.validated()) else count

    @property
    def passes(self) -> int:
        """Passes over loaders, or parts of such, that were trained on."""
        return self._training.passes

    def samples(self) -> set[float]:
        """What was trained on, as far as it is remembered."""
        return {value for seen in self._trained for value in seen.values()}

    def trained(self) -> list[Seen]:
        """What was trained on, as far as it is remembered."""
        return [*self._later, *self._trained]

    def validated(self) -> list[Seen]:
        """What was evaluated in validations."""
        validations = self._phases.validations()
        return [seen for seen in self._evaluated if seen.phase in validations]

    def trained_once(self, steps: int) -> OnePass | None:
        """The samples where none came twice: by the passes over loaders, or as every step was seen.

        Args:
            steps: that were taken.
        """
        batches = [seen.values() for seen in self._trained]
        is_whole = self._training.stream > 0 or len(batches) >= steps - 1
        return OnePass.of(batches) if is_whole and self.passes == 1 else None

    def row(self, of_copies: Exposure | None = None) -> Row:
        """What was seen, in numbers.

        Args:
            of_copies: evaluations of averages of the model, which count where itself has none.
        """
        Seen.read([*self._later, *self._trained, *self._evaluated])
        validated = self.validated()
        evaluated = validated or ([] if of_copies is None else of_copies.validated())
        hits, calls = overlap(self._trained, evaluated), self._phases.calls()
        compared, stepped_inside = self._phases.stepped_inside()
        return Row(
            hits,
            **(NONE if hits["evaluated_after_training"] else rescaled(self._trained, evaluated, calls)),
            **held_out_overlap(self._trained, validated),
            meant_as_held_out=is_meant_as_held_out(self._trained, evaluated, known=self._knows_held_out),
            **rotation([*self._later, *self._trained], evaluated),
            **overlapping(self._of_one_era(), validated, self._trained_whole),
            **self._texts.row(),
            evaluated_alike=self._others_of_one_size(),
            trained_whole=self._trained_whole,
            evaluated_whole=self._evaluated_whole,
            compared=compared,
            stepped_inside=stepped_inside,
            **self._steps.row(self._trained),
            truncated=self.truncated,
            shuffled=self.shuffled,
            **self._cut_short.row(),
            sizes=len({len(seen.values()) for seen in (*self._trained, *self._evaluated)}),
            **input_scales(self._trained, validated),
        )

    def _of_one_era(self) -> list[Seen]:
        """What the parameters that are there now were trained on, where they were set back."""
        return [seen for seen in self._trained if seen.era == self._eras.number]

    def _others_of_one_size(self) -> int:
        """How many batches, of as many samples as the only one that is trained on, are evaluated."""
        first = next((seen.values() for seen in self._trained), None)
        if first is None or any(seen.values() != first for seen in self._trained):
            return 0
        alike = {tuple(v) for seen in self._evaluated if len(v := seen.values()) == len(first)}
        return len(alike - {tuple(first)})

    def close(self, *, early: bool) -> None:
        """Nothing more is trained; early is before the watch ends."""
        if early:
            self._phases.drop_a_single_last()
        if self.pending is not None:
            self.unheeded.add(self.pending)
        self._are_evaluated(self.unheeded.settle())
        self.pending = self._in_doubt = None
        self._eras.close()

    def _keep(self, seen: Seen) -> None:
        self._remember(seen, self._trained if len(self._trained) < BATCHES else self._later)

    def _remember(self, seen: Seen, kept: list[Seen]) -> None:
        kept.append(seen)
        self._waiting.append(seen.prints)
        if len(self._waiting) >= TOGETHER:
            weigh(self._waiting)
            self._waiting.clear()
