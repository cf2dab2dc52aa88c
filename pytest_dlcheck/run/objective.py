"""How a batch becomes outputs and a loss, by convention or by the recipe's own functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from pytest_dlcheck.recipe import Recipe, RecipeError, described
from pytest_dlcheck.run.errors import CannotTellError
from pytest_dlcheck.run.tensors.target_keys import named_targets
from pytest_dlcheck.run.tensors.tree import copied, detached, shape_text

_PAIR = 2
_BATCH_HELP = (
    "a batch is (inputs, targets); give forward= and targets= where it is not, or training_step="
)


@dataclass(frozen=True)
class Call:
    """One call of the model that can be made again with other inputs.

    Attributes:
        inputs: the nest that is perturbed: the model's inputs, or the whole batch under ``forward=``.
        function: ``inputs -> outputs``.
        whole_step: whether that is the user's training step, whose own code (mixup, masking, noise) is
            made for training and stays as it is in eval mode.
    """

    inputs: Any
    function: Callable[[Any], Any]
    whole_step: bool = False

    def __call__(self, inputs: Any | None = None) -> Any:
        """The outputs, for the recorded inputs or for others."""
        return self.function(self.inputs if inputs is None else inputs)


class Objective:
    """What a recipe minimises. The user's functions get copies of a batch, which they may change.

    Args:
        recipe: the facts.
        model: the module as placed on its device.
    """

    def __init__(self, recipe: Recipe, model: nn.Module) -> None:
        self.recipe, self.model = recipe, model
        self.is_generator = recipe.training_step is not None and inspect.isgeneratorfunction(
            inspect.unwrap(recipe.training_step)
        )
        """Whether each step yields ``(optimizer, loss)`` several times."""
        self.copy: Callable[[Any], Any] = copied
        """What the user's functions are given in place of a batch."""

    def loss(self, batch: Any) -> tuple[Tensor, Any]:
        """The loss and the outputs of one batch, with their graph.

        Returns:
            The loss, a tensor of shape ``[]``, and the outputs (None where the step gives none).

        Raises:
            RecipeError: the batch does not fit the convention, or the loss is no scalar.
        """
        loss, outputs = self.raw_loss(batch)
        if not isinstance(loss, Tensor):
            raise RecipeError(f"the loss is {described(loss)}, not a tensor{_loss_hint(loss)}")
        if loss.numel() != 1:
            raise RecipeError(
                f"the loss has the shape {tuple(loss.shape)}, not one number: "
                'reduce it, for example with reduction="mean"'
            )
        return loss.reshape(()), outputs

    def objectives(self, batch: Any) -> Iterator[tuple[Any, Tensor]]:
        """The ``(optimizer, loss)`` pairs that a generator ``training_step`` yields."""
        assert self.recipe.training_step is not None
        for pair in self.recipe.training_step(self.model, self.copy(batch)):
            if not isinstance(pair, tuple) or len(pair) != _PAIR or not hasattr(pair[0], "step"):
                raise RecipeError(
                    f"training_step yielded {_name(pair)}, not (optimizer, loss): "
                    "yield one pair per optimizer step"
                )
            optimizer, loss = pair
            if not isinstance(loss, Tensor) or loss.numel() != 1:
                raise RecipeError(f"training_step yielded the loss {_name(loss)}, not a scalar tensor")
            yield optimizer, loss.reshape(())

    def call(self, batch: Any) -> Call:
        """The model's call on this batch, to be made again with perturbed inputs.

        Raises:
            CannotTellError: the step calls the model in a way that cannot be repeated.
        """
        forward = self.recipe.forward
        if forward is not None:
            return Call(batch, lambda inputs: forward(self.model, self.copy(inputs)))
        if self.recipe.training_step is not None:
            return self._recorded_call(batch)
        return Call(self._inputs(batch), lambda inputs: _apply(self.model, self.copy(inputs)))

    def targets(self, batch: Any) -> Any:
        """The targets of a batch; None where the recipe does not say which they are."""
        if self.recipe.targets is not None:
            return self.recipe.targets(batch)
        if isinstance(batch, Mapping):
            return named_targets(batch)
        if isinstance(batch, (tuple, list)) and len(batch) == _PAIR:
            return batch[1]
        return None

    def loss_of_outputs(self, outputs: Any, targets: Any) -> Tensor:
        """The loss of given outputs against given targets.

        Raises:
            CannotTellError: the recipe has no ``loss`` that can be asked apart from the model.
        """
        if self.recipe.loss is None:
            raise CannotTellError("the recipe has no loss= that can be asked apart from the model")
        return self.recipe.loss(outputs, targets)

    def raw_loss(self, batch: Any) -> tuple[Any, Any]:
        """What the recipe gives as loss, whatever it is, and the outputs."""
        if self.recipe.training_step is not None:
            result = self.recipe.training_step(self.model, self.copy(batch))
            pair = isinstance(result, tuple) and len(result) == _PAIR
            return cast("tuple[Any, Any]", result) if pair else (result, None)
        outputs = self.call(batch)()
        if outputs is None:
            raise RecipeError("the model returned None: does its forward return the outputs?")
        if self.recipe.loss is not None:
            targets = self.targets(batch)
            if targets is None and self.recipe.targets is None:
                raise RecipeError(f"no targets in a batch of {shape_text(batch)}: {_BATCH_HELP}")
            return self.recipe.loss(outputs, targets), outputs
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else None
        loss = getattr(outputs, "loss", None) if loss is None else loss
        if loss is None:
            raise RecipeError(
                f"the recipe has no loss= and the model's {type(outputs).__name__} has no .loss: "
                "give loss= or training_step= (Hugging Face models need labels in the batch)"
            )
        return loss, outputs

    def _inputs(self, batch: Any) -> Any:
        if isinstance(batch, Mapping):
            return batch
        if isinstance(batch, (tuple, list)) and len(batch) == _PAIR:
            return batch[0]
        size = f" of {len(batch)}" if isinstance(batch, (tuple, list)) else ""
        raise RecipeError(
            f"a batch is a {type(batch).__name__}{size} ({shape_text(batch)}): {_BATCH_HELP}"
        )

    def _recorded_call(self, batch: Any) -> Call:
        calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

        def record(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            calls.append((args, kwargs))

        handle = self.model.register_forward_pre_hook(record, with_kwargs=True)
        try:
            with torch.enable_grad():  # for steps that differentiate by themselves
                self._run_step(batch)
        except RuntimeError as error:
            raise CannotTellError(f"the training step could not be replayed: {error}") from error
        finally:
            handle.remove()
        if not calls:
            return self._replayed_step(batch)
        args, kwargs = calls[0]
        inputs = {"args": list(detached(args)), **detached(kwargs)}

        def again(inputs: Mapping[str, Any]) -> Any:
            named = {key: value for key, value in inputs.items() if key != "args"}
            return self.model(*inputs["args"], **named)

        return Call(inputs, again)

    def _replayed_step(self, batch: Any) -> Call:
        """The whole step, for the outputs of the outermost modules that it calls itself."""

        def again(inputs: Any) -> dict[str, Any]:
            with outermost_outputs(self.model) as outputs:
                self._run_step(inputs)
            return dict(outputs)

        if self.is_generator or not any(self.model.named_children()):
            raise CannotTellError(
                "the training step never calls the model itself: declare forward=(model, batch)"
            )
        with torch.enable_grad():
            if not again(batch):
                raise CannotTellError("the training step calls no module of the model")
        return Call(batch, again, whole_step=True)

    def _run_step(self, batch: Any) -> None:
        assert self.recipe.training_step is not None
        result = self.recipe.training_step(self.model, copied(batch))
        if self.is_generator:
            for _ in result:
                pass


@contextmanager
def outermost_outputs(model: nn.Module) -> Iterator[dict[str, Any]]:
    """What those submodules give that are called from outside of any other, by name and count."""
    outputs: dict[str, Any] = {}
    running: list[str] = []
    handles = []
    for name, module in model.named_modules():

        def enter(_: nn.Module, __: Any, name: str = name) -> None:
            running.append(name)

        def leave(_: nn.Module, __: Any, output: Any, name: str = name) -> None:
            running.pop()
            if not running:
                count = sum(key.partition("#")[0] == name for key in outputs)
                outputs[f"{name}#{count + 1}" if count else name] = output

        handles.append(module.register_forward_pre_hook(enter))
        handles.append(module.register_forward_hook(leave))
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _apply(model: nn.Module, inputs: Any) -> Any:
    if isinstance(inputs, Mapping):
        return model(**inputs)
    if isinstance(inputs, (tuple, list)) and not hasattr(inputs, "_fields"):
        return model(*inputs)
    return model(inputs)


def _name(value: Any) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else described(value)


def _loss_hint(loss: Any) -> str:
    if loss is None:
        return ": return it"
    if isinstance(loss, (int, float)):
        return ": do not call .item()"
    return ": return one tensor, or (loss, outputs) from training_step"
