"""Another learning rate than the recipe's, whatever its schedule. It trains nothing itself."""

from __future__ import annotations

from typing import Any

from pytest_dlcheck.run.errors import NotApplicableError
from pytest_dlcheck.run.rig import Rig


def scale_rates(rig: Rig, scale: float) -> None:
    """Let every optimizer step with its learning rates times ``scale``, by its public hooks.

    Schedulers neither see it nor undo it: between steps the groups hold what they always do.

    Raises:
        NotApplicableError: there is no learning rate that could be scaled, or no loss to tell by.
    """
    if rig.objective.is_generator:
        raise NotApplicableError(
            "several objectives are trained against each other: no loss tells which rate is better"
        )
    for optimizer in rig.optimizers:
        if any(group.get("lr") is None for group in optimizer.param_groups):
            name = type(optimizer).__name__
            raise NotApplicableError(f"{name} has a parameter group without a learning rate")
        if not hasattr(optimizer, "register_step_pre_hook"):
            name = type(optimizer).__name__
            raise NotApplicableError(f"{name} is no torch.optim.Optimizer: its rate is its own affair")
        hooks = _Scaled(scale)
        optimizer.register_step_pre_hook(hooks.before)
        optimizer.register_step_post_hook(hooks.after)


class _Scaled:
    """Scales the rates for the length of a step."""

    def __init__(self, scale: float) -> None:
        self._scale = scale
        self._rates: list[tuple[dict[str, Any], Any]] = []

    def before(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        del args, kwargs
        self._rates = [(group, group["lr"]) for group in optimizer.param_groups]
        for group, rate in self._rates:
            group["lr"] = rate * self._scale

    def after(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        del optimizer, args, kwargs
        for group, rate in self._rates:
            group["lr"] = rate
