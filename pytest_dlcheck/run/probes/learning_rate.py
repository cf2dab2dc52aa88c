"""The learning rate of every parameter group at every step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from pytest_dlcheck.run.probe import Probe
from pytest_dlcheck.trace import Series


class LearningRateProbe(Probe):
    """Fills ``learning_rate``: the largest over all groups that step, per step."""

    channels = frozenset({"learning_rate"})

    def __init__(self) -> None:
        self._rates: dict[int, float] = {}

    def before_update(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Read the groups; a rate that is kept in a tensor is read on the CPU only."""
        for group in optimizer.param_groups:
            rate: Any = group.get("lr")
            if type(rate) is not float:  # reading a tensor's value may wait for the device
                if not _on_host(rate):
                    continue
                rate = float(rate)
            if rate >= self._rates.get(step, 0.0):
                self._rates[step] = rate

    def filled(self) -> Mapping[str, Series | str]:
        """The rates."""
        if not self._rates:
            return {"learning_rate": "the optimizers show no learning rate on the host"}
        return {"learning_rate": Series(tuple(self._rates), tuple(self._rates.values()))}


def _on_host(rate: object) -> bool:
    return isinstance(rate, (int, float)) or (
        isinstance(rate, torch.Tensor) and rate.device.type == "cpu"
    )
