"""The recipe's facts that checks decide by."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_dlcheck.run.horizons import horizon_of
from pytest_dlcheck.run.probe import Probe
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.trace import Row, Scalar
from pytest_dlcheck.trial import Trial


class StructureProbe(Probe[Rig]):
    """Fills the fact ``recipe``."""

    channels = frozenset({"recipe"})

    def begin(self, rig: Rig, trial: Trial) -> None:
        """Keep the rig."""
        del trial
        self._rig = rig

    def filled(self) -> Mapping[str, tuple[Row, ...]]:
        """The fact."""
        return {"recipe": (recipe_row(self._rig),)}


def recipe_row(rig: Rig) -> Row:
    """The recipe's facts that checks decide by."""
    recipe, loss = rig.recipe, rig.recipe.loss
    return Row(
        model=type(rig.model).__name__,
        loss=getattr(loss, "__name__", type(loss).__name__) if loss is not None else None,
        training_step=recipe.training_step is not None,
        several_objectives=rig.objective.is_generator,
        optimizer=", ".join(type(o).__name__ for o in rig.optimizers) or None,
        optimizers=len(rig.optimizers),
        maximize=any(group.get("maximize") for o in rig.optimizers for group in o.param_groups),
        scheduler=bool(rig.schedulers),
        **_schedule(rig),
        precision=recipe.precision,
        accumulate=recipe.accumulate,
        max_grad_norm=recipe.max_grad_norm,
        batch_size=rig.batch_size,
        batch_dim=recipe.batch_dim,
        causal=recipe.causal,
        shapes=recipe.shapes,
        declares_frozen=bool(tuple(recipe.frozen)),
        batches_per_epoch=rig.stream.batches_per_epoch,
    )


def _schedule(rig: Rig) -> dict[str, Scalar]:
    """What is known of a scheduler that is alone."""
    if len(rig.schedulers) != 1:
        return {}
    scheduler = rig.schedulers[0]
    return {
        "schedule": type(scheduler).__name__,
        "schedule_horizon": horizon_of(scheduler),
        "scheduled_per_batch": rig.recipe.scheduler_interval == "step",
    }
