"""One way of running a recipe, as a value: equal trials run once. Nothing is run here."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

Kind = Literal["inspect", "train", "watch", "overfit", "blind", "holdout"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""In the order in which they are run: what is quick and tells of causes comes first."""


@dataclass(frozen=True, slots=True)
class Until:
    """A stopping rule, as data: stop at whichever comes first.

    Attributes:
        progress: stop once the loss has covered this share of its way to its floor:
            (first loss - smoothed loss) / (first loss - floor), 1 at the floor (ratio).
        epochs: stop once the data has been read so often.
    """

    progress: float | None = None
    epochs: int | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """One way of running a recipe.

    Attributes:
        kind: ``inspect`` (no training, one batch), ``train`` (a short training on the data),
            ``watch`` (the user's own loop, whatever it trains),
            ``overfit`` (training on one fixed small batch, without scheduler, dropout off),
            ``blind`` (as ``train``, but each target is paired with the inputs of another sample)
            or ``holdout`` (as ``train``, but on three quarters of the first epoch's batches).
        steps: optimizer steps at most.
        seed: seeds python, numpy and torch before the factory is called.
        device: where the model runs, as torch names it.
        until: when to stop before ``steps``.
        optimizer: ``"recipe"``, or ``"adam"`` for a plain Adam in place of the recipe's own.
        dense: every probe on every step, to localise what a sampled run has shown.
        learning_rate_scale: what the recipe's learning rates are multiplied by in every step.
    """

    kind: Kind
    steps: int = 0
    seed: int = 0
    device: str = "cpu"
    until: Until | None = None
    optimizer: Literal["recipe", "adam"] = "recipe"
    dense: bool = False
    learning_rate_scale: float = 1.0

    def __str__(self) -> str:
        extras = [f"{self.steps} steps"] if self.steps else []
        extras += [f"seed {self.seed}"] if self.seed else []
        extras += ["plain Adam"] if self.optimizer == "adam" else []
        extras += ["dense"] if self.dense else []
        scale = self.learning_rate_scale
        extras += [f"learning rate x{scale:.3g}"] if scale != 1 else []
        return f"{self.kind} ({', '.join(extras)})" if extras else self.kind

    def to_json(self) -> dict[str, Any]:
        """The trial as JSON; :meth:`from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Trial:
        """The trial that :meth:`to_json` wrote."""
        until = data.get("until")
        return cls(**{**data, "until": None if until is None else Until(**until)})


@dataclass(frozen=True, slots=True)
class Terms:
    """What a recipe's policy says about its trials; checks ask for trials in these terms.

    Attributes:
        steps: optimizer steps of ``train``.
        overfit_steps: optimizer steps of ``overfit``, at most.
        seed: the first seed.
        seeds: how many seeds each trial that trains is run with.
        device: where trials run, as torch names it.
    """

    steps: int = 100
    overfit_steps: int = 200
    seed: int = 0
    seeds: int = 1
    device: str = "cpu"

    def inspect(self) -> Trial:
        """One batch, no training."""
        return Trial("inspect", seed=self.seed, device=self.device)

    def train(self) -> tuple[Trial, ...]:
        """A short training, once per seed."""
        seeds = range(self.seed, self.seed + self.seeds)
        return tuple(Trial("train", self.steps, seed, self.device) for seed in seeds)

    def watch(self) -> Trial:
        """The user's own loop."""
        return Trial("watch", self.steps, self.seed, self.device)

    def blind(self) -> tuple[Trial, ...]:
        """The first epoch of that training, with inputs that do not belong to their targets."""
        return tuple(replace(trial, kind="blind", until=Until(epochs=1)) for trial in self.train())

    def holdout(self) -> tuple[Trial, ...]:
        """That training without a quarter of its data, once per seed."""
        return tuple(replace(trial, kind="holdout") for trial in self.train())

    def overfit(self, progress: float) -> Trial:
        """Training on one small batch until the loss has covered ``progress`` of its way."""
        return Trial("overfit", self.overfit_steps, self.seed, self.device, Until(progress))
