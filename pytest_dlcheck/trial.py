"""One way of running a recipe, as a value: equal trials run once. Nothing is run here."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

Kind = Literal[
    "inspect",
    "train",
    "watch",
    "overfit",
    "blind",
    "holdout",
    "standardised",
    "fit",
    "bench_train",
    "bench_infer",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""In the order in which they are run: what is quick and tells of causes comes first."""
BENCHES: frozenset[Kind] = frozenset({"bench_train", "bench_infer"})
"""Kinds that take the time: each in a process of its own, with no probe in the way."""


UNLIMITED = 1_000_000_000
"""Steps of a trial that its stopping rule ends."""


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
            ``holdout`` (as ``train``, but on three quarters of the first epoch's batches),
            ``standardised`` (as ``train``, but large inputs have a mean of 0 and a deviation of 1),
            ``fit`` (training without probes, then the metrics on all of the validation data),
            ``bench_train`` or ``bench_infer`` (the time and memory of training steps, or of forward
            passes in eval mode).
        steps: optimizer steps at most.
        seed: seeds python, numpy and torch before the factory is called.
        device: where the model runs, as torch names it.
        until: when to stop before ``steps``.
        optimizer: ``"recipe"``, or ``"adam"`` for a plain Adam in place of the recipe's own.
        dense: every probe on every step, to localise what a sampled run has shown.
        learning_rate_scale: what the recipe's learning rates are multiplied by in every step.
        revision: the commit whose code is run; empty for the code at hand.
        replicate: tells trials apart that differ in nothing: the process is what replicates a timing.
        fold: which of ``folds`` parts of one data set is validated on, counted from 0.
        folds: how many parts it is cut into; 1 where it is not.
        batch_size: samples of a timed batch; None for the recipe's own.
        precision: of a timed step, as a recipe names it; None for the recipe's own.
    """

    kind: Kind
    steps: int = 0
    seed: int = 0
    device: str = "cpu"
    until: Until | None = None
    optimizer: Literal["recipe", "adam"] = "recipe"
    dense: bool = False
    learning_rate_scale: float = 1.0
    revision: str = ""
    replicate: int = 0
    fold: int = 0
    folds: int = 1
    batch_size: int | None = None
    precision: str | None = None

    @property
    def runs_alone(self) -> bool:
        """Whether it can only be run in a process of its own."""
        return self.kind in BENCHES or bool(self.revision)

    def __str__(self) -> str:
        epochs = self.until is not None and self.until.epochs
        length = _counted(epochs, "epoch") if self.steps == UNLIMITED else _counted(self.steps, "step")
        extras = [length] if self.steps else []
        extras += [f"seed {self.seed}"] if self.seed else []
        extras += ["plain Adam"] if self.optimizer == "adam" else []
        extras += ["dense"] if self.dense else []
        scale = self.learning_rate_scale
        extras += [f"learning rate x{scale:.3g}"] if scale != 1 else []
        extras += [f"fold {self.fold + 1} of {self.folds}"] if self.folds > 1 else []
        extras += [f"batches of {self.batch_size}"] if self.batch_size is not None else []
        extras += [self.precision] if self.precision is not None else []
        extras += [f"process {self.replicate + 1}"] if self.kind in BENCHES else []
        extras += [f"at {self.revision[:10]}"] if self.revision else []
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
        epochs: how often ``fit`` reads its data, in place of ``steps``; None to count steps.
        folds: how many parts ``fit`` cuts the one data set into, each being validated on once.
        against: the commit that gates are held against, side by side; empty for none.
    """

    steps: int = 100
    overfit_steps: int = 200
    seed: int = 0
    seeds: int = 1
    device: str = "cpu"
    epochs: int | None = None
    folds: int = 1
    against: str = ""

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

    def standardised(self) -> tuple[Trial, ...]:
        """That training with large inputs brought to unit scale, once per seed."""
        return tuple(replace(trial, kind="standardised") for trial in self.train())

    def fit(self, seed: int, fold: int = 0, revision: str = "") -> Trial:
        """A training without probes, and its metrics on all of the validation data.

        Args:
            seed: of this training.
            fold: the part of the data that is validated on, where there are several.
            revision: the commit whose code is run; empty for the code at hand.
        """
        until = None if self.epochs is None else Until(epochs=self.epochs)
        steps = self.steps if self.epochs is None else UNLIMITED
        return Trial(
            "fit", steps, seed, self.device, until, revision=revision, fold=fold, folds=self.folds
        )

    def bench(self, kind: Kind, replicate: int, revision: str = "", **more: Any) -> Trial:
        """One timing, in a process of its own.

        Args:
            kind: ``bench_train`` or ``bench_infer``.
            replicate: which of the processes.
            revision: the commit whose code is run; empty for the code at hand.
            more: ``batch_size`` and ``precision``, where they are not the recipe's own.
        """
        return Trial(kind, 0, self.seed, self.device, revision=revision, replicate=replicate, **more)

    def overfit(self, progress: float) -> Trial:
        """Training on one small batch until the loss has covered ``progress`` of its way."""
        return Trial("overfit", self.overfit_steps, self.seed, self.device, Until(progress))


def _counted(count: int | None, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
