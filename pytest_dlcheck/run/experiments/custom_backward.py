"""Do the user's own autograd Functions give the derivative of what they compute?"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from pytest_dlcheck.run.errors import NotApplicableError
from pytest_dlcheck.run.experiment import Experiment
from pytest_dlcheck.run.functions.custom import heard
from pytest_dlcheck.run.functions.differentiated import differentiated
from pytest_dlcheck.run.passes.passage import objectives
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.trace import Row


class CustomBackward(Experiment):
    """Fills ``custom_backward``: a row per input of a custom autograd Function that requires grad."""

    fact = "custom_backward"

    def run(self, rig: Rig) -> Iterable[Row]:
        """Hear the calls of those that the first pass found in the graph, and differentiate them."""
        kinds = rig.first.functions
        if not kinds:
            raise NotApplicableError("the loss goes through no autograd Function of one's own")
        with rig.undisturbed(), torch.enable_grad():
            with heard(rig.model, kinds) as calls:
                for _ in objectives(rig):
                    pass
            return [row for kind in kinds for row in differentiated(kind, calls[kind], rig.seed)]
