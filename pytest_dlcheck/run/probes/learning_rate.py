"""The learning rate at every step, and how the optimizers were set when the training began."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from pytest_dlcheck.run.probe import Probe
from pytest_dlcheck.run.scene import Grouped, Scene
from pytest_dlcheck.run.tensors.bounded import Bounded
from pytest_dlcheck.trace import Row, Series
from pytest_dlcheck.trial import Trial

_SETTINGS = ("lr", "initial_lr", "momentum", "eps", "weight_decay", "alpha", "max_lr")


class LearningRateProbe(Probe[Scene]):
    """Fills ``learning_rate``, the largest over all groups that step, and the fact ``optimizer_groups``.

    A row per parameter group, with what its optimizer knows of: ``beta1`` and ``beta2`` too.
    """

    channels = frozenset({"learning_rate", "optimizer_groups"})

    def __init__(self) -> None:
        self._rates = Bounded()
        self._groups: list[Row] = []
        self._shown: list[Any] = []
        """What the groups showed last, where all rates were plain numbers: they rarely change."""
        self._steps: list[int] = []
        """Steps at which they have shown the same since."""

    def begin(self, scene: Scene, trial: Trial) -> None:
        """Note the settings."""
        del trial
        self._groups = [
            _settings(optimizer, index, group)
            for optimizer in scene.optimizers
            for index, group in enumerate(optimizer.param_groups)
        ]

    def before_update(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Read the groups; a rate that is kept in a tensor is read on the CPU only."""
        groups, shown = optimizer.param_groups, self._shown
        if len(groups) == len(shown) == 1:
            if groups[0].get("lr") is shown[0]:
                self._steps.append(step)
                return
        elif len(groups) == len(shown):
            for group, rate in zip(groups, shown, strict=True):
                if group.get("lr") is not rate:
                    break
            else:
                self._steps.append(step)
                return
        rates: list[Any] = [group.get("lr") for group in groups]
        self.flush()
        self._shown = rates if all(type(rate) is float and rate >= 0 for rate in rates) else []
        for rate in rates:
            if _on_host(rate) and rate >= 0:  # reading a tensor elsewhere would wait for its device
                self._rates.lift(step, float(rate))

    @property
    def shown(self) -> Sequence[Any]:
        """The rates that the groups showed last; none where not all were plain numbers."""
        return self._shown

    def stay(self, steps: Sequence[int]) -> None:
        """The groups show the same at these steps."""
        self._steps += steps

    def flush(self) -> None:
        """Note the rate that has not changed."""
        if self._steps and self._shown:
            steps = list(dict.fromkeys(self._steps))
            self._rates.extend(steps, [max(self._shown)] * len(steps))
        self._steps.clear()

    def filled(self) -> Mapping[str, Series | tuple[Row, ...] | str]:
        """The rates and the settings."""
        self.flush()
        settings = {"optimizer_groups": tuple(self._groups)}
        if not len(self._rates):
            return {"learning_rate": "the optimizers show no learning rate on the host", **settings}
        return {"learning_rate": self._rates.series(), **settings}


def _settings(optimizer: Grouped, index: int, group: dict[str, Any]) -> Row:
    told = {key: float(group[key]) for key in _SETTINGS if _on_host(group.get(key))}
    betas = group.get("betas")
    if isinstance(betas, (tuple, list)):
        told |= {f"beta{i}": float(beta) for i, beta in enumerate(betas, 1) if _on_host(beta)}
    return Row(
        told,
        optimizer=str(getattr(optimizer, "name", type(optimizer).__name__)),
        group=index,
        maximize=group.get("maximize") is True,
    )


def _on_host(rate: object) -> bool:
    return isinstance(rate, (int, float)) or (
        isinstance(rate, torch.Tensor) and rate.device.type == "cpu"
    )
