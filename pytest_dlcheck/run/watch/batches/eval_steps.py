"""Steps that the optimizer takes while the model is in eval mode."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_dlcheck.run.watch.batches.seen import Seen
from pytest_dlcheck.trace import Row


@dataclass
class EvalSteps:
    """Steps in eval mode that follow steps in train mode.

    Attributes:
        have_begun: whether a step was taken.
        in_eval: how many were in eval mode.
        runs: how many rows of such there were.
        runs_on_a_new_pass: those that began with a pass over a loader.
        mode: whether the last step was in train mode.
        last_pass: the pass over a loader that it belonged to.
    """

    have_begun: bool = False
    in_eval: int = 0
    runs: int = 0
    runs_on_a_new_pass: int = 0
    mode: bool = True
    last_pass: int = -1

    def add(self, *, training: bool, stream: int) -> None:
        """One more step."""
        if not training and self.have_begun:
            begins = self.mode
            self.in_eval += 1
            self.runs += begins
            self.runs_on_a_new_pass += begins and stream != self.last_pass
        self.mode, self.last_pass, self.have_begun = training, stream, True

    def row(self, trained: list[Seen]) -> Row:
        """In numbers, with what was trained on in eval mode alone and in both modes."""
        in_eval: set[float] = set().union(*(s.values() for s in trained if not s.training))
        in_train = (value for s in trained if s.training and in_eval for value in s.values())
        return Row(
            eval_steps=self.in_eval,
            eval_runs=self.runs,
            eval_runs_on_a_new_pass=self.runs_on_a_new_pass,
            eval_trained=len(in_eval),
            eval_trained_in_both=len(in_eval.intersection(in_train)),
            eval_trained_again=sum(len(s.values()) for s in trained if not s.training) - len(in_eval),
        )
