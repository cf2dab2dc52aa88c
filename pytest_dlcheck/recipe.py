"""What is asked: how one model is trained, as its user declares it. Facts only; no torch, no pytest."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from pytest_dlcheck.shapes import ShapeContract, parse_shapes

if TYPE_CHECKING:
    import torch

PRECISIONS = ("fp32", "bf16-mixed", "fp16-mixed")
INTERVALS = ("step", "epoch")
_TAG = "__dlcheck_recipe__"

Factory = TypeVar("Factory", bound=Callable[..., Any])


class RecipeError(ValueError):
    """A recipe contradicts itself or cannot be run; the message says what, where and what to do."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one model is trained: the facts that every check is judged on.

    Return one from a factory marked with :func:`recipe`; the factory is called afresh for each trial.

    Args:
        model: the module to train. Where the factory places it, it stays; a model on the CPU is moved
            to the selected device.
        train_data: a ``DataLoader``, a ``Dataset``, a tuple of tensors (first axis: samples), or an
            iterable of batches.
        val_data: like ``train_data``; never trained on.
        loss: ``loss(outputs, targets)`` giving a scalar tensor. A batch is ``(inputs, targets)``.
            Not needed for dict batches with a model that returns ``.loss``.
        forward: ``forward(model, batch)`` giving the outputs, where the convention does not fit.
        targets: ``targets(batch)`` giving the targets, where the convention does not fit.
        training_step: instead of ``loss``: ``training_step(model, batch)`` giving the loss or
            ``(loss, outputs)``, or a generator that yields ``(optimizer, loss)`` per optimizer.
        optimizer: one optimizer, or a sequence of them, built over this very model.
        scheduler: a learning rate scheduler, or a sequence of them.
        scheduler_interval: when the scheduler steps: ``"step"`` or ``"epoch"``.
        max_grad_norm: the total gradient norm to clip to (L2), or ``None``.
        accumulate: micro-batches per optimizer step.
        precision: ``"fp32"``, ``"bf16-mixed"`` or ``"fp16-mixed"`` (autocast, with loss scaling for
            fp16).
        train: the user's own loop, to be watched.
        metrics: name to ``metric(outputs, targets)`` giving a float.
        shapes: the shape contract, for example ``"b 1 28 28 -> b 10"``.
        causal: the axis of inputs and outputs (1 for ``(batch, time, ...)``) along which outputs must
            not depend on later inputs.
        batch_dim: the axis of samples; ``None`` when samples do not stand alone.
        frozen: patterns (``fnmatch``) of the names of parameters and buffers that must not train.

    Raises:
        RecipeError: the fields contradict each other.

    Example:
        >>> @recipe
        ... def digits():
        ...     model = DigitsCNN()
        ...     return Recipe(
        ...         model=model,
        ...         train_data=DataLoader(train_set, batch_size=64, shuffle=True),
        ...         loss=torch.nn.CrossEntropyLoss(),
        ...         optimizer=torch.optim.AdamW(model.parameters(), lr=3e-3),
        ...         shapes="b 1 8 8 -> b 10",
        ...     )
    """

    model: torch.nn.Module
    train_data: Any = None
    val_data: Any = None
    loss: Callable[[Any, Any], torch.Tensor] | None = None
    forward: Callable[[Any, Any], Any] | None = None
    targets: Callable[[Any], Any] | None = None
    training_step: Callable[[Any, Any], Any] | None = None
    optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer] | None = None
    scheduler: Any = None
    scheduler_interval: Literal["step", "epoch"] = "step"
    max_grad_norm: float | None = None
    accumulate: int = 1
    precision: Literal["fp32", "bf16-mixed", "fp16-mixed"] = "fp32"
    train: Callable[..., Any] | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    shapes: str | None = None
    causal: int | None = None
    batch_dim: int | None = 0
    frozen: Iterable[str] = ()

    def __post_init__(self) -> None:
        """Refuse what contradicts itself, before anything is built on it."""
        frozen = (self.frozen,) if isinstance(self.frozen, str) else tuple(self.frozen)
        object.__setattr__(self, "frozen", frozen)
        for name in ("loss", "forward", "targets", "training_step", "train"):
            value = getattr(self, name)
            if value is not None and not callable(value):
                raise RecipeError(f"{name}= takes a callable, not {value!r}")
        _choice("precision", self.precision, PRECISIONS)
        _choice("scheduler_interval", self.scheduler_interval, INTERVALS)
        self._refuse_contradictions()
        _ = self.shape_contract

    def _refuse_contradictions(self) -> None:
        if self.train is not None:
            raise RecipeError(
                "train= (your own loop, watched) is not available yet: "
                "declare loss= and optimizer=, or training_step="
            )
        if self.train_data is None:
            raise RecipeError("train_data= is missing: give a DataLoader, Dataset, tensors or batches")
        if self.loss is not None and self.training_step is not None:
            raise RecipeError("loss= and training_step= are given both: keep the one that trains")
        if type(self.accumulate) is not int or self.accumulate < 1:
            raise RecipeError(f"accumulate={self.accumulate!r} micro-batches a step: give 1 or more")
        if self.max_grad_norm is not None and not self.max_grad_norm > 0:
            raise RecipeError(f"max_grad_norm={self.max_grad_norm} clips everything to nothing")

    @property
    def shape_contract(self) -> ShapeContract | None:
        """The parsed ``shapes``, or None when none are declared."""
        return None if self.shapes is None else parse_shapes(self.shapes)


def _choice(name: str, value: str, valid: tuple[str, ...]) -> None:
    if value not in valid:
        raise RecipeError(f"{name}={value!r} is unknown (valid: {', '.join(valid)})")


@dataclass(frozen=True, slots=True)
class RecipeTag:
    """What ``@recipe`` writes on a factory.

    Attributes:
        rebuild: call the factory for every trial; if not, once, its state restored between trials.
    """

    rebuild: bool = True


@overload
def recipe(factory: Factory, /) -> Factory: ...
@overload
def recipe(*, rebuild: bool = True) -> Callable[[Factory], Factory]: ...
def recipe(factory: Factory | None = None, /, *, rebuild: bool = True) -> Any:
    """Mark a factory of a :class:`Recipe`, to be collected by ``pytest --dlcheck``.

    The factory stays an ordinary function: it may request pytest fixtures, be parametrized, or be a
    method, and nothing is built when it is collected.

    Args:
        factory: the function that returns the recipe.
        rebuild: call it afresh for every trial (the default). With ``False`` it is called once and
            the state of what it returned is restored between trials: for models too big to build
            several times.

    Returns:
        The factory itself.

    Raises:
        TypeError: what is decorated is not a function.
    """

    def tag(function: Factory) -> Factory:
        if not inspect.isroutine(function):
            raise TypeError(f"@recipe marks a function that returns a Recipe, not {function!r}")
        setattr(function, _TAG, RecipeTag(rebuild=rebuild))
        return function

    return tag if factory is None else tag(factory)


def recipe_tag(obj: object) -> RecipeTag | None:
    """What ``@recipe`` wrote on the object, or None where it is no recipe's factory."""
    tag = getattr(obj, _TAG, None) if callable(obj) else None
    return tag if isinstance(tag, RecipeTag) else None
