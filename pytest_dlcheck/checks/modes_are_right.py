"""Modes are right: train mode when stepping, eval mode when validating."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from pytest_dlcheck.check import Check, Effect, Evidence, Example, Family, example_trace
from pytest_dlcheck.faults.comparing.teaching import drifting_teachers, stepped_in_eval
from pytest_dlcheck.faults.dynamics.normalization import few_samples_heard
from pytest_dlcheck.faults.loop import modes as faults
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Verdict


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
    or, where most of them are, ``apart`` steps after the last. It fails where all of them run in train
    mode on batches from a data loader, or on the same samples ``often`` times after the first, cut by
    hand, that are not trained on, or on samples cut by hand in a function that is called ``evaluate`` or
    the like; other forwards without gradients (acting, pseudo-labels, several
    answers to the same samples) are advice at most, as is a teacher in train mode that is never trained.
    A model in eval mode whose dropout was put back is meant so. Its first evaluations are listened to:
    dropout that runs in most of them although every module is in eval mode fails (``F.dropout`` without
    ``training=``); it is advice with ``sampled`` answers to one input, and with several objectives, as
    are batches of one or two samples that running statistics are learned from.

    **What it cannot see.** Validation with gradients on, and modules that read ``self.training`` by
    themselves; dropout in eval mode of what is compiled, scripted or holds nn.MultiheadAttention.

    **Source.** The PyTorch documentation of ``nn.Module.eval`` and ``torch.nn.functional.dropout``;
    chapter "Common mistakes" of Karpathy, "A Recipe for Training Neural Networks" (2019).
    """

    family: ClassVar[Family] = "loop"
    reads: ClassVar[frozenset[str]] = frozenset({"loop"})
    glances: ClassVar[frozenset[str]] = frozenset(
        {"phases", "teachers", "live_dropout", "recipe", "hand_cut", "batch_norms"}
    )
    shows: ClassVar[Effect | None] = Effect.LOOP
    leads_to: ClassVar[frozenset[Effect]] = frozenset({Effect.GENERALIZATION, Effect.PROGRESS})
    judges_divergence: ClassVar[bool] = True

    several: int = 2
    """Forwards in a row (count) that make a validation."""
    apart: int = 3
    """Steps (count) since the last such row from which on a single forward makes one too; forwards at
    every step are part of the training (a GAN's fakes, pseudo-labels)."""
    sampled: int = 3
    """Passes over one data set within a validation (count) from which on it draws several answers on
    purpose (Monte Carlo dropout); two may be a loss and an accuracy."""
    often: int = 2
    """Validations on the same samples as the first (count) that show that these are held out."""
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
        dropping = faults.drops_in_eval(trace.rows("live_dropout"))
        if not row.flag("mode_matters") and not teachers and dropping is None:
            return self.not_applicable("no module behaves differently in train and eval mode")
        apart = 0 if teachers else self.apart  # of whom not all calls are heard
        phases = faults.validations(trace.rows("phases"), self.several, apart)
        switched = row.flag("was_fresh") and any(not p.integer("in_train_mode") for p in phases)
        sure = row.integer("in_eval_first") > 0 or row.flag("normalizes") or switched
        if in_eval >= self.stuck and sure:
            stuck = stepped_in_eval if row.flag("steps_others") else faults.stuck_in_eval
            return self.failed_by(stuck(row, self.stuck))
        if fault := faults.of_validations(trace, phases, self.sampled, self.often):
            return self.failed_by(fault)
        wrong = faults.in_train_mode(phases)
        story = (
            f"{in_eval} of {steps} steps in eval mode (fewer than {self.stuck} are tolerated), "
            f"{len(wrong)} of {len(phases)} rows of forwards without gradients in train mode"
        )
        teachers += few_samples_heard(trace.rows("batch_norms"), self.several)
        is_off = in_eval >= self.stuck
        advice = [*teachers, *faults.advice_on_modes(dropping, wrong, is_off=is_off)]
        return self.passed(
            story, Measure("steps in eval mode", in_eval, "count", self.stuck, "<"), advice=advice
        )

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Validated in eval mode; fakes made at every step; pretrained and left in eval mode."""
        yield Example("validated", (_example([_phase(16, 0), _phase(32, 0)]),))
        fakes = [_phase(step, 1, calls=1) for step in range(20)]
        yield Example("a GAN's fakes", (_example(fakes),))
        yield Example("one of them missed", (_example([*fakes[:5], *fakes[9:]]),))
        yield Example("Monte Carlo dropout", (_example([_phase(48, 40, calls=40, repeats=5)]),))
        yield Example("pretrained", (_example([], in_eval=100, in_eval_first=0),))
        yield Example("what is trained on, cut by hand", (_cut(trained=400),))
        yield Example("Monte Carlo, cut by hand", (_cut(repeats=9),))
        averaged = {**_DROPPING, "answers": 20}
        yield Example("dropout averaged on purpose", (_example([], Row(averaged)),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Stuck, validated in train mode, and dropout that eval mode does not reach."""
        yield Example("stuck in eval mode", (_example([], in_eval=84, in_eval_first=16),), ("",))
        yield Example("no eval()", (_example([_phase(16, 13), _phase(32, 13)]),), ("",))
        yield Example("no eval(), cut by hand", (_cut(),), ("",))
        dropping = _example([_phase(16, 0)], Row(_DROPPING))
        yield Example("F.dropout without training=", (dropping,), ("head",))


def _phase(steps: int, in_train_mode: int, calls: int = 13, **found: int) -> Row:
    row = {"steps": steps, "calls": calls, "in_train_mode": in_train_mode, "repeats": 1}
    return Row({"inside": True, "from_loader": calls, **row, **found})


def _cut(**found: int) -> Trace:
    row = {"rows": 4, "again": 3, "samples": 400, "distinct": 400, "trained_again": 800, **found}
    return _example([_phase(step, 1, calls=1, from_loader=0) for step in (16, 32)], hand_cut=Row(row))


_AT: dict[str, str | int] = {"operation": "dropout", "line": "model.py:12", "culprit": "head"}
_DROPPING: dict[str, str | int] = {"model": "Net", "calls": 3, "dropping": 3, "answers": 1, **_AT}


def _example(
    phases: Sequence[Row], live_dropout: Row | None = None, hand_cut: Row | None = None, **found: int
) -> Trace:
    row = Row({"steps": 100, "in_eval": 0, "mode_matters": True, "normalizes": False, **found})
    other = {"live_dropout": live_dropout or (), "hand_cut": hand_cut or ()}
    return example_trace(Terms().watch(), loop=row, phases=phases, **other)
