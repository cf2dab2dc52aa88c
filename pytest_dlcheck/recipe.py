"""What is asked: how one model is trained, as its user declares it. Facts only; no torch, no pytest."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, overload

if TYPE_CHECKING:
    import torch

    from pytest_dlcheck.shapes import ShapeContract

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
        train: the user's own loop, watched, instead of ``loss``, ``training_step``, ``optimizer`` and
            ``scheduler``; called with those of ``model``, ``train_data``, ``val_data``, ``steps``,
            ``device`` (a string) and ``seed`` that its signature names. Data may be given beside it.
        metrics: name to ``metric(outputs, targets)`` giving a float, or to an object with ``update``
            and ``compute``, as those of torchmetrics.
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

    if not TYPE_CHECKING:

        def __new__(cls, *args: Any, **given: Any) -> Self:
            """Refuse a name that is no field's, and say which is nearest."""
            del args
            known = cls.__dataclass_fields__
            is_ours = cls.__init__ is Recipe.__init__  # a subclass may take what else it likes
            if wrong := [name for name in given if is_ours and name not in known]:
                near = get_close_matches(wrong[0], known, n=1)
                hint = f", did you mean {near[0]}=?" if near else ""
                raise RecipeError(f"{wrong[0]}= is no field of a recipe{hint} ({', '.join(known)})")
            return super().__new__(cls)

    @classmethod
    def from_lightning(cls, module: Any, data: Any = None, **options: Any) -> Recipe:
        """A LightningModule with automatic optimization, trained as its Trainer would.

        Its hooks around batches, set-up and optimizer steps are called; ``self.log`` logs nothing,
        and ``self.trainer`` knows steps, epochs and the length of the training. A scheduler that
        monitors a metric is given the training loss.

        Args:
            module: the LightningModule, of ``lightning`` or of ``pytorch_lightning``.
            data: its LightningDataModule, a training ``DataLoader``, or None where the module has a
                ``train_dataloader()`` of its own.
            options: ``gradient_clip_val``, ``accumulate_grad_batches``, ``precision``, ``max_epochs``
                and ``max_steps`` as the Trainer takes them; ``val_data``, ``shapes``, ``causal``,
                ``batch_dim``, ``frozen``, ``forward``, ``targets`` and ``metrics`` as a recipe does.

        Raises:
            RecipeError: the module optimizes manually, or lacks an optimizer or data.

        Example:
            >>> Recipe.from_lightning(LitDigits(), DigitsDataModule(), gradient_clip_val=1.0)
        """
        from pytest_dlcheck.frameworks.lightning import recipe_from_lightning

        return recipe_from_lightning(module, data, options)

    @classmethod
    def from_transformers(cls, model: Any, dataset: Any, **options: Any) -> Recipe:
        """A Hugging Face model that returns ``.loss``, trained with the defaults of their Trainer.

        These are AdamW with a learning rate of 5e-5, batches of 8, a gradient norm clipped to 1; there
        is no scheduler unless one is given. Columns that the model does not take are dropped.

        Args:
            model: a model whose ``forward`` takes labels and returns ``.loss``.
            dataset: a data set of dicts of tensors, lists or numbers, labels among them; or a
                ``DataLoader``, or batches.
            options: ``tokenizer`` (to pad with) or ``collator``, ``batch_size``; ``optimizer``, or
                ``learning_rate`` and ``weight_decay`` for AdamW; ``scheduler`` and
                ``scheduler_interval``; ``val_data``, ``max_grad_norm``, ``accumulate``, ``precision``,
                ``shapes``, ``causal`` (1 for a causal language model), ``batch_dim``, ``frozen``,
                ``forward``, ``targets`` and ``metrics`` as a recipe takes them.

        Raises:
            RecipeError: an option is unknown, or there is nothing to train.

        Example:
            >>> Recipe.from_transformers(model, tokenized, tokenizer=tokenizer, learning_rate=3e-4)
        """
        from pytest_dlcheck.frameworks.transformers import recipe_from_transformers

        return recipe_from_transformers(model, dataset, options)

    def __post_init__(self) -> None:
        """Refuse what contradicts itself, before anything is built on it."""
        frozen = (self.frozen,) if isinstance(self.frozen, str) else tuple(self.frozen)
        object.__setattr__(self, "frozen", frozen)
        for name in ("loss", "forward", "targets", "training_step", "train"):
            value = getattr(self, name)
            if value is not None and not callable(value):
                raise RecipeError(f"{name}= takes a callable, not {value!r}")
        if isinstance(self.loss, type):
            raise RecipeError(f"loss= is {described(self.loss)}")
        _choice("precision", self.precision, PRECISIONS)
        _choice("scheduler_interval", self.scheduler_interval, INTERVALS)
        self._refuse_contradictions()
        _ = self.shape_contract

    def _refuse_contradictions(self) -> None:
        if self.train is not None:
            self._refuse_beside_train()
            return
        if self.train_data is None:
            raise RecipeError("train_data= is missing: give a DataLoader, Dataset, tensors or batches")
        if self.loss is not None and self.training_step is not None:
            raise RecipeError("loss= and training_step= are given both: keep the one that trains")
        if type(self.accumulate) is not int or self.accumulate < 1:
            raise RecipeError(f"accumulate={self.accumulate!r} micro-batches a step: give 1 or more")
        if self.max_grad_norm is not None and not self.max_grad_norm > 0:
            raise RecipeError(f"max_grad_norm={self.max_grad_norm} clips everything to nothing")

    def _refuse_beside_train(self) -> None:
        given = [f"{name}=" for name, usual in _NOT_BESIDE_TRAIN.items() if getattr(self, name) != usual]
        if given:
            raise RecipeError(
                f"train= is your own loop, which does this itself: leave out {', '.join(given)}, or "
                "leave out train= and let the recipe be trained by them"
            )
        assert self.train is not None
        for name in ("train_data", "val_data"):
            if name in required_by(self.train) and getattr(self, name) is None:
                raise RecipeError(f"train= takes {name}, and {name}= is missing")

    @property
    def shape_contract(self) -> ShapeContract | None:
        """The parsed ``shapes``, or None when none are declared."""
        if self.shapes is None:
            return None
        from pytest_dlcheck.shapes import parse_shapes  # not before: every pytest run loads this file

        return parse_shapes(self.shapes)


LOOP_ARGUMENTS = ("model", "train_data", "val_data", "steps", "device", "seed")
"""What a user's own loop can be given, by the names of its parameters."""
_NOT_BESIDE_TRAIN: dict[str, Any] = {
    "loss": None,
    "training_step": None,
    "optimizer": None,
    "scheduler": None,
    "scheduler_interval": "step",
    "max_grad_norm": None,
    "accumulate": 1,
    "precision": "fp32",
}
"""The fields that say what an own loop does itself, with what they are where they are not given."""


def taken_by(train: Callable[..., Any]) -> tuple[str, ...]:
    """Those of the arguments that a user's own loop can be given which its signature names.

    Raises:
        RecipeError: it cannot be called without something else; lists what it can be given.
    """
    known = _parameters(train)
    for parameter in known:
        optional = parameter.default is not parameter.empty
        if parameter.name not in LOOP_ARGUMENTS and not optional:
            raise RecipeError(
                f"train= takes {parameter.name!r}, which it cannot be given (it can be given: "
                f"{', '.join(LOOP_ARGUMENTS)}): let it have a default, or make it inside the factory"
            )
    return tuple(parameter.name for parameter in known if parameter.name in LOOP_ARGUMENTS)


def required_by(train: Callable[..., Any]) -> tuple[str, ...]:
    """Those of them that it cannot be called without."""
    needed = {parameter.name for parameter in _parameters(train) if parameter.default is parameter.empty}
    return tuple(name for name in taken_by(train) if name in needed)


def _parameters(train: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        parameters = inspect.signature(train).parameters.values()
    except (TypeError, ValueError):
        raise RecipeError(f"train= is {train!r}, whose signature cannot be read: wrap it") from None
    several = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    return [parameter for parameter in parameters if parameter.kind not in several]


def described(value: object) -> str:
    """A value of the wrong kind in words, for messages: ``a str``, ``the class Adam, ...``."""
    if value is None:
        return "None"
    if isinstance(value, type):
        name = value.__name__
        return f"the class {name}, not an instance of it: write {name}(...)"
    return f"a {type(value).__name__}"


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
        setattr(getattr(function, "__func__", function), _TAG, RecipeTag(rebuild=rebuild))
        return function

    return tag if factory is None else tag(factory)


def recipe_tag(obj: object) -> RecipeTag | None:
    """What ``@recipe`` wrote on the object, or None where it is no recipe's factory."""
    try:
        function = getattr(obj, "__func__", obj)
        tag = getattr(function, _TAG, None) if callable(function) else None
    except Exception:  # noqa: BLE001  any object of a test module is asked, lazy proxies too
        return None
    return tag if isinstance(tag, RecipeTag) else None


def brings_a_loop(subject: object) -> bool:
    """Whether a recipe, or what a factory writes down of one, has a loop of its own (``train=``).

    A factory is not called for it: its code, or that of a function of its module that it names, gives
    ``model=`` and ``train=`` in one call, or does not.
    """
    if isinstance(subject, Recipe):
        return subject.train is not None
    return _names_a_loop(subject, deeper=2)


def _names_a_loop(given: Any, deeper: int) -> bool:
    function = inspect.unwrap(getattr(given, "__func__", given))
    if not inspect.isfunction(function):
        return False
    keywords = (part for part in function.__code__.co_consts if isinstance(part, tuple))
    if any("train" in part and "model" in part for part in keywords):
        return True
    named = (function.__globals__.get(name) for name in function.__code__.co_names)
    return deeper > 0 and any(_names_a_loop(one, deeper - 1) for one in named if inspect.isfunction(one))
