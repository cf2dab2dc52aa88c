"""Everybody who listens for a watcher, each to what is theirs: put together, and let go in the end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from time import perf_counter

import torch
from torch import Tensor

from pytest_dlcheck.run.watch.batches.edits import Edits
from pytest_dlcheck.run.watch.batches.loading import Loading
from pytest_dlcheck.run.watch.batches.new_classes import NewClasses
from pytest_dlcheck.run.watch.batches.restarts import Restarts
from pytest_dlcheck.run.watch.batches.turns import Turns
from pytest_dlcheck.run.watch.company import Company
from pytest_dlcheck.run.watch.compiling import Compilation
from pytest_dlcheck.run.watch.evaluated.aside import Aside
from pytest_dlcheck.run.watch.evaluated.evaluations import Evaluations
from pytest_dlcheck.run.watch.evaluated.scores import Scores
from pytest_dlcheck.run.watch.guard import Guard
from pytest_dlcheck.run.watch.losses.compared import Compared
from pytest_dlcheck.run.watch.losses.likeness import Likeness
from pytest_dlcheck.run.watch.losses.targets import Targets
from pytest_dlcheck.run.watch.losses.taught import Taught
from pytest_dlcheck.run.watch.losses.unpropagated import Unpropagated
from pytest_dlcheck.run.watch.meeting import Meeting
from pytest_dlcheck.run.watch.models.modes import Drifts
from pytest_dlcheck.run.watch.models.own_functions import OwnFunctions
from pytest_dlcheck.run.watch.models.restored import Restored
from pytest_dlcheck.run.watch.models.unheard import Told
from pytest_dlcheck.run.watch.neglected import Neglected
from pytest_dlcheck.run.watch.outside import Outside
from pytest_dlcheck.run.watch.resting import Rest
from pytest_dlcheck.run.watch.roster import Roster
from pytest_dlcheck.run.watch.steps.by_hand import ByHand
from pytest_dlcheck.run.watch.steps.graphs import Graphs
from pytest_dlcheck.run.watch.steps.leaves import Leaves
from pytest_dlcheck.run.watch.steps.plateaus import Judged
from pytest_dlcheck.run.watch.steps.scaling import Scaling
from pytest_dlcheck.run.watch.steps.seeds import Seeds
from pytest_dlcheck.run.watch.strand import Strand
from pytest_dlcheck.run.watch.tried.first_calls import FirstCalls
from pytest_dlcheck.run.watch.tried.trying import tried
from pytest_dlcheck.trace import Row


class Ensemble:
    """All of them, before anything is heard.

    Args:
        stop_after: optimizer steps after which the loop is ended, and with it the watch.
    """

    def __init__(self, stop_after: int | None = None) -> None:
        self._most, self._guard = stop_after or sys.maxsize, Guard(self._is_lost)
        self.at_each_step: Callable[[Strand], None] | None = None
        """Told at the end of every step whose it was."""
        self.steps = self.backwards = self.event = 0
        self.overlooked = 0
        """Steps of optimizers that were one too many to follow, and"""
        self.overlooked_most = 0
        """the most of them on end that one of these took."""
        self._overlooked_by, self._overlooked_run = 0, 0
        self._roster = Roster()
        self.strands = self._roster.strands
        compilation = Compilation()
        self.own_functions = OwnFunctions(compilation, self._guard)
        self._drifts = Drifts()
        self.evaluations = Evaluations(self.strands, self._drifts, self._guard, compilation)
        self.edits, self.new_classes = Edits(), NewClasses()
        self.scaling, self.restored = Scaling(), Restored()
        self.seeds, self._resting = Seeds(), Rest()
        self._heard = self._guard.shield(
            self,
            self._resting.aware,
            loss_is_scaled=self.scaling.scales,
            samples_are_wanted=self.edits.begin,
            samples_are_fetched=self.edits.end,
            chosen_among_one=self.scores.chosen_among_one,
            weights_were_loaded=self.restored.unloaded.is_loaded,
        )
        self._outside = Outside(self.strands, self._heard.listener, self._guard, compilation)
        self._aside = Aside(self.strands, self._outside.calls, self.evaluations.twins, compilation)
        heard = self._outside.visits, self._outside.flows
        self.neglected = Neglected(self.strands, *heard, self._guard, compilation)
        self.unpropagated, self.by_hand = Unpropagated(), ByHand(Leaves())
        self.loading, self.graphs = Loading(), Graphs()
        self._targets = Targets(self._guard, self.evaluations.answers)
        self.judged, self.turns = Judged(), Turns(self.loading)
        self.restarts = Restarts(self._guard, self.loading)
        self.taught, self.likeness = Taught(), Likeness(self._guard)
        self._first_calls = FirstCalls(self._guard)
        self.last_found: dict[int, dict[str, tuple[Row, ...]]] = {}
        """What is told where the watch ends, as by copies of models, by the strand's identity."""
        self._company = Company(Meeting.of_this_process())
        self.unheard: tuple[Told, ...] = ()
        self._losses: Sequence[Tensor] = ()
        self._compared: Compared | None = None
        self.batch_waits = False
        self._began = perf_counter()
        self.seconds = 0.0
        self.was_ended = False
        """Whether the loop was ended by the watch, not by itself, and"""
        self.was_cut_short = False
        """whether that, or an exception, has ended it."""

    @property
    def fault(self) -> str:
        """What went wrong in the watch itself, and where; empty while nothing has."""
        return self._guard.fault

    def _is_lost(self) -> None:
        """The watch has failed; the loop goes on."""

    def _overlooks(self, optimizer: torch.optim.Optimizer) -> None:
        """One that is not followed has stepped."""
        goes_on = id(optimizer) == self._overlooked_by
        self._overlooked_by = id(optimizer)
        self._overlooked_run = self._overlooked_run + 1 if goes_on else 1
        self.overlooked += 1
        self.overlooked_most = max(self.overlooked_most, self._overlooked_run)

    @property
    def rounds(self) -> int:
        """Steps that each optimizer has taken, about."""
        return self.steps // max(1, len(self.strands))

    @property
    def scores(self) -> Scores:
        """What is chosen from outputs."""
        return self.evaluations.scores

    def classes_never_trained(self) -> tuple[Row, ...]:
        """Of a validation, where what loaders give second is what losses compare."""
        return self.new_classes.rows(self.steps) if self._targets.compares_labels else ()

    def _let_go(self) -> None:
        self.evaluations.end()
        self.neglected.end()
        self.by_hand.close()
        self.evaluations.teachers.close(self.steps)
        self.seconds = perf_counter() - self._began
        self.own_functions.differentiate()
        stepped: set[int] = set().union(*(strand.keys for strand in self.strands))
        self.unheard = tuple(self._outside.unheard.told(stepped))
        has_raised = self.was_cut_short and not self.was_ended
        is_odd = bool(self.fault) or has_raised or self._outside.hears_compiled_code
        for strand in self.strands:
            found = {"pushes": self._outside.pushes.rows(strand.keys)}
            if strand.scene is not None and not is_odd:
                found |= tried(strand.scene.model, self._first_calls.of(strand.scene.model))
            self.last_found[id(strand)] = found
            strand.close(self._outside, early=False)
