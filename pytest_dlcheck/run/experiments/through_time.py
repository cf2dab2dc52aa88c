"""Is anything propagated through time where a module is called step after step?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from pytest_dlcheck.run.calls.threads import is_compiled
from pytest_dlcheck.run.calls.through_time import FEWEST, ThroughTime
from pytest_dlcheck.run.errors import NotApplicableError
from pytest_dlcheck.run.experiment import Experiment
from pytest_dlcheck.run.passes.passage import objectives
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.trace import Row


class StepsOfTime(Experiment):
    """Fills ``through_time``: a row per module that is given its own state back without its graph.

    The batch passes once more, and only where the first pass has called a module again and again.
    """

    fact = "through_time"

    def run(self, rig: Rig) -> Iterable[Row]:
        """The rows."""
        if rig.first is None or max(rig.first.calls.values(), default=0) < FEWEST:
            raise NotApplicableError("no module is called step after step")
        if is_compiled(rig.model):
            raise NotApplicableError("the model is compiled: the calls inside it are not heard")
        through = ThroughTime()
        with rig.undisturbed(), torch.enable_grad(), _heard_by(through, rig.model):
            for _, loss in objectives(rig):
                through.backward_begins([loss])
        return through.rows(rig.model)


@contextmanager
def _heard_by(through: ThroughTime, model: nn.Module) -> Iterator[None]:
    def enters(module: nn.Module, _: Any) -> None:
        through.enters(module, outermost=module is model)

    handles = []
    try:
        for module in model.modules():
            handles.append(module.register_forward_pre_hook(enters))
            handles.append(module.register_forward_hook(through.returns, with_kwargs=True))
        yield
    finally:
        for handle in handles:
            handle.remove()
