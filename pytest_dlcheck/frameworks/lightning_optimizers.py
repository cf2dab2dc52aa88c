"""What ``configure_optimizers`` returns, in all its forms, as a recipe has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pytest_dlcheck.recipe import RecipeError, described

_FORMS = (
    "return an optimizer, ([optimizer], [schedulers]), or "
    '{"optimizer": ..., "lr_scheduler": {"scheduler": ..., "interval": ...}}'
)


@dataclass(frozen=True)
class Configured:
    """What a module trains with.

    Attributes:
        optimizer: its one optimizer.
        schedulers: its learning rate schedulers, each to be stepped once an interval.
        given: the same as the module gave them.
        interval: when they step.
    """

    optimizer: Any
    schedulers: tuple[Any, ...]
    given: tuple[Any, ...]
    interval: Literal["step", "epoch"]


def configured(module: Any) -> Configured:
    """Ask the module for its optimizer and schedulers.

    Raises:
        RecipeError: it has none, several (they need manual optimization), or another form.
    """
    optimizers, given = _parts(module.configure_optimizers())
    if len(optimizers) != 1:
        raise RecipeError(
            f"configure_optimizers gives {len(optimizers)} optimizers: with automatic optimization "
            "Lightning takes one"
        )
    if not _is_optimizer(optimizers[0]):
        raise RecipeError(f"configure_optimizers gives {described(optimizers[0])}: {_FORMS}")
    configs = [dict(s) if isinstance(s, Mapping) else {"scheduler": s} for s in given]
    if any("scheduler" not in config for config in configs):
        raise RecipeError('an "lr_scheduler" of configure_optimizers lacks its key "scheduler"')
    intervals = {config.get("interval", "epoch") for config in configs}
    if len(intervals) > 1 or not intervals <= {"step", "epoch"}:
        raise RecipeError(
            f"the schedulers step at the intervals {sorted(map(str, intervals))}: a recipe steps all "
            'of them per "step" or per "epoch"'
        )
    schedulers = tuple(_paced(module, config) for config in configs)
    raw = tuple(config["scheduler"] for config in configs)
    return Configured(optimizers[0], schedulers, raw, "step" if intervals == {"step"} else "epoch")


class Paced:
    """A scheduler that steps as its module's ``lr_scheduler_step`` has it, every so many calls."""

    def __init__(self, module: Any, scheduler: Any, frequency: int) -> None:
        self._module, self._scheduler, self._frequency = module, scheduler, frequency
        self._calls = 0

    def step(self) -> None:
        """Count, and step when it is time."""
        self._tick(None)

    def state_dict(self) -> dict[str, Any]:
        """The scheduler's state, and how often it was called."""
        return {"calls": self._calls, "scheduler": self._scheduler.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a state that :meth:`state_dict` gave."""
        self._calls = state["calls"]
        self._scheduler.load_state_dict(state["scheduler"])

    def _tick(self, metric: Any) -> None:
        self._calls += 1
        if self._calls % self._frequency == 0:
            self._module.lr_scheduler_step(self._scheduler, metric)


class PacedByMetric(Paced):
    """The same for a scheduler that waits for a metric, as ReduceLROnPlateau does."""

    def step(self, metrics: Any) -> None:  # type: ignore[override]
        """Count, and step on the metric when it is time."""
        self._tick(metrics)


def _paced(module: Any, config: Mapping[str, Any]) -> Any:
    scheduler, frequency = config["scheduler"], config.get("frequency", 1)
    if not hasattr(scheduler, "step"):
        raise RecipeError(f"configure_optimizers gives {described(scheduler)} as a scheduler: {_FORMS}")
    if frequency == 1 and not overrides(module, "lr_scheduler_step"):
        return scheduler
    by_metric = hasattr(scheduler, "patience")
    return (PacedByMetric if by_metric else Paced)(module, scheduler, frequency)


def _parts(returned: Any) -> tuple[list[Any], list[Any]]:
    if returned is None:
        raise RecipeError("configure_optimizers gives no optimizer: nothing could be trained")
    if isinstance(returned, Mapping):
        if "optimizer" not in returned:
            raise RecipeError(f'configure_optimizers gives a dict without "optimizer": {_FORMS}')
        scheduler = returned.get("lr_scheduler")
        return [returned["optimizer"]], [] if scheduler is None else [scheduler]
    if not isinstance(returned, Sequence) or isinstance(returned, str):
        return [returned], []
    both = len(returned) == 2 and all(isinstance(part, (list, tuple)) for part in returned)  # noqa: PLR2004
    if both:
        schedulers = returned[1]
        return list(returned[0]), list(schedulers)
    pairs = [_parts(part) for part in returned if isinstance(part, Mapping) or _is_optimizer(part)]
    if len(pairs) != len(returned):
        raise RecipeError(f"configure_optimizers gives a {_names(returned)}: {_FORMS}")
    return [o for some, _ in pairs for o in some], [s for _, some in pairs for s in some]


def overrides(module: Any, hook: str) -> bool:
    """Whether the user's class has a hook of its own, rather than Lightning's."""
    return any(
        hook in vars(kind)
        for kind in type(module).__mro__
        if kind.__module__.partition(".")[0] not in {"lightning", "pytorch_lightning", "torch"}
    )


def _is_optimizer(value: Any) -> bool:
    return hasattr(value, "param_groups") and hasattr(value, "step") and not isinstance(value, type)


def _names(parts: Sequence[Any]) -> str:
    names = ", ".join(type(part).__name__ for part in parts)
    return f"{type(parts).__name__} of {names or 'nothing'}"
