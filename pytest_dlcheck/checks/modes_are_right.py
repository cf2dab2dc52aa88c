"""Modes are right: train mode when stepping, eval mode when validating."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from pytest_dlcheck.check import Check, Effect, Evidence, Example, Family, example_trace
from pytest_dlcheck.faults.modes import validated_in_train_mode
from pytest_dlcheck.faults.teaching import drifting_teachers, stepped_in_eval
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Suspect, Verdict


@dataclass(frozen=True)
class ModesAreRight(Check):
    """Dropout and batch statistics are on when the loop trains, and off when it validates.

    **Why it matters.** ``eval()`` for the first validation and no ``train()`` after it switches dropout
    and batch statistics off for the rest of the training; validation in train mode measures another
    model, and lets the validation data move the running statistics.

    **How it decides.** Only modules whose behaviour depends on the mode count: dropout with p > 0,
    batch normalisation that is trained and tracks statistics, recurrent nets with dropout. Stepping
    with the whole model in eval mode fails where it was in train mode before (stuck), and where batch
    normalisation is among it; with dropout alone, from the first step on, it is advice, since models
    come from ``from_pretrained`` so; it fails where weights are fresh and it is validated in between. A
    validation is a row of forwards without gradients between two backward passes, ``several`` at least
    or ``apart`` steps after the last. It fails where all of them run in train mode on batches from a
    data loader; other forwards without gradients (acting, pseudo-labels) are advice at most, as is a
    teacher in train mode that is never trained.

    **What it cannot see.** Validation with gradients on, and modules that read ``self.training`` by
    themselves.

    **Source.** The PyTorch documentation of ``nn.Module.eval``; chapter "Common mistakes" of Karpathy,
    "A Recipe for Training Neural Networks" (2019).
    """

    family: ClassVar[Family] = "loop"
    reads: ClassVar[frozenset[str]] = frozenset({"loop"})
    glances: ClassVar[frozenset[str]] = frozenset({"phases", "teachers"})
    shows: ClassVar[Effect | None] = Effect.LOOP
    leads_to: ClassVar[frozenset[Effect]] = frozenset({Effect.GENERALIZATION, Effect.PROGRESS})
    judges_divergence: ClassVar[bool] = True

    several: int = 2
    """Forwards in a row (count) that make a validation."""
    apart: int = 3
    """Steps (count) since the last such row from which on a single forward makes one too; forwards at
    every step are part of the training (a GAN's fakes, pseudo-labels)."""
    stuck: int = 2
    """Steps in eval mode (count) that are no accident."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """The user's own loop."""
        return (terms.watch(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """By the steps in eval mode, then by the validations in train mode."""
        trace = evidence.the("watch")
        row = trace.row("loop")
        steps, in_eval = row.integer("steps"), row.integer("in_eval")
        if not steps:
            return self.not_applicable("nothing was trained here: no optimizer stepped")
        teachers = list(drifting_teachers(trace))
        if not row.flag("mode_matters") and not teachers:
            return self.not_applicable("no module behaves differently in train and eval mode")
        phases = self._validations(trace.rows("phases"), of_a_teacher=bool(teachers))
        switched = row.flag("was_fresh") and any(not p.integer("in_train_mode") for p in phases)
        sure = row.integer("in_eval_first") > 0 or row.flag("normalizes") or switched
        if in_eval >= self.stuck and sure:
            if row.flag("steps_others"):
                return self.failed_by(stepped_in_eval(row, self.stuck))
            return self._stuck(row, steps, in_eval)
        wrong = [p for p in phases if p.integer("in_train_mode") == p.integer("calls")]
        loaded = [p for p in wrong if 2 * p.integer("from_loader") >= p.integer("calls")]
        if loaded and len(wrong) == len(phases):
            return self.failed_by(validated_in_train_mode(loaded, len(phases)))
        story = (
            f"{in_eval} of {steps} steps in eval mode (fewer than {self.stuck} are tolerated), "
            f"{len(wrong)} of {len(phases)} rows of forwards without gradients in train mode"
        )
        advice = teachers
        if in_eval >= self.stuck:
            advice.append("dropout is off in every step: call model.train(), unless that is meant")
        if wrong:
            advice.append(
                "forwards without gradients run in train mode: if they validate, call model.eval()"
            )
        return self.passed(
            story, Measure("steps in eval mode", in_eval, "count", self.stuck, "<"), advice=advice
        )

    def _validations(self, phases: Sequence[Row], *, of_a_teacher: bool) -> list[Row]:
        found, last = [], 0
        for phase in phases:
            step = phase.integer("steps")
            alone = step - last >= self.apart and not of_a_teacher  # whose calls are not all heard
            if phase.flag("inside") and (phase.integer("calls") >= self.several or alone):
                found.append(phase)
            last = step
        return found

    def _stuck(self, row: Row, steps: int, in_eval: int) -> Verdict:
        first = row.integer("in_eval_first")
        since = f"from step {first} on" if first else "from the first step on"
        kept = "batch normalisation keeps its old statistics"
        what = kept if row.flag("normalizes") else "dropout is off"
        return self.failed(
            f"{in_eval} of {steps} steps were taken in eval mode, {since} "
            f"(fewer than {self.stuck} are tolerated)",
            Measure("steps in eval mode", in_eval, "count", self.stuck, "<"),
            suspects=[Suspect("", f"trained in eval mode {since}: {what}")],
            cause="model.eval() before, and no model.train() after it",
            remedy="call model.train() at the start of every epoch",
        )

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Validated in eval mode; fakes made at every step; pretrained and left in eval mode."""
        yield Example("validated", (_example([_phase(16, 0), _phase(32, 0)]),))
        fakes = [_phase(step, 1, calls=1) for step in range(20)]
        yield Example("a GAN's fakes", (_example(fakes),))
        yield Example("pretrained", (_example([], in_eval=100, in_eval_first=0),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Stuck, and validated in train mode."""
        yield Example("stuck in eval mode", (_example([], in_eval=84, in_eval_first=16),), ("",))
        yield Example("no eval()", (_example([_phase(16, 13), _phase(32, 13)]),), ("",))


def _phase(steps: int, in_train_mode: int, calls: int = 13) -> Row:
    return Row(inside=True, steps=steps, calls=calls, in_train_mode=in_train_mode, from_loader=calls)


def _example(phases: Sequence[Row], **found: int | bool) -> Trace:
    row = Row({"steps": 100, "in_eval": 0, "mode_matters": True, "normalizes": False, **found})
    return example_trace(Terms().watch(), loop=row, phases=phases)
