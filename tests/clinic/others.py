"""The other tools, side by side: what each is given of a recipe, and how its findings are judged.

Each gets the recipe's own model, batch, loss, optimizer and declared facts, and runs its whole battery
on them. Found: it fails or warns on the sick recipe in a way in which it does not on the healthy twin
(with its warnings torchtest2 finds more than without, and alarms one twin). Named, more leniently than
for ourselves: one of those failures is of a kind that the case expects, *or* its text holds one of the
case's places or words, lists of what might be the reason apart. A failure to learn is of no kind: it
must name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from pytest_dlcheck import Recipe

from .case import Case, Factory
from .examine import Judged, Told

TOOLS = ("torchtest2", "pytest_torch")


@dataclass(frozen=True)
class Sample:
    """A recipe as other tools want it.

    Attributes:
        recipe: the recipe.
        batch: its first batch.
        inputs: what the batch gives the model.
        targets: what the batch holds the outputs against.
        shown: what the model is called with in a training step, where it is not the inputs.
    """

    recipe: Recipe
    batch: Any
    inputs: Any
    targets: Any
    shown: Any

    def loss(self, model: Any, inputs: Any, targets: Any) -> torch.Tensor:
        """The loss of the recipe on a batch put together again."""
        recipe = self.recipe
        if recipe.training_step is not None:
            return _total(recipe.training_step(model, (inputs, targets)))
        if isinstance(self.batch, Mapping):
            return model(**inputs, labels=targets).loss
        outputs = self.outputs(model, inputs)
        assert recipe.loss is not None
        return recipe.loss(outputs, targets)

    def outputs(self, model: Any, inputs: Any) -> Any:
        """What the recipe has the model give for inputs."""
        if self.recipe.forward is not None:
            return self.recipe.forward(model, (inputs, None))
        if isinstance(inputs, Mapping):
            return model(**inputs)
        return model(*inputs) if isinstance(inputs, tuple) else model(inputs)

    @property
    def optimizers(self) -> list[torch.optim.Optimizer]:
        """All of the recipe's."""
        given = self.recipe.optimizer
        return [given] if isinstance(given, torch.optim.Optimizer) else list(given or ())

    @property
    def custom_function(self) -> bool:
        """Whether the graph holds an ``autograd.Function`` of the user's."""
        waiting = [self.loss(self.recipe.model, self.inputs, self.targets).grad_fn]
        seen = set()
        while waiting:
            node = waiting.pop()
            if node is None or node in seen:
                continue
            if isinstance(node, torch.autograd.function.BackwardCFunction):
                return True
            seen.add(node)
            waiting += [parent for parent, _ in node.next_functions]
        return False


def sample(factory: Factory) -> Sample:
    """A recipe, built under a fixed seed, and its first batch."""
    torch.manual_seed(0)
    recipe = factory()
    batch = next(iter(batches(recipe.train_data)))
    inputs, targets = parts(batch)
    shown = inputs if recipe.training_step is None else _first_call(recipe, (inputs, targets))
    return Sample(recipe, batch, inputs, targets, shown)


def parts(batch: Any) -> tuple[Any, Any]:
    """A batch's inputs and targets."""
    if isinstance(batch, Mapping):
        return {key: value for key, value in batch.items() if key != "labels"}, batch["labels"]
    inputs, targets = batch
    return (tuple(inputs) if isinstance(inputs, list) else inputs), targets


def _first_call(recipe: Recipe, batch: Any) -> Any:
    """What a training step calls the model with."""
    calls: list[tuple[Any, ...]] = []
    hook = recipe.model.register_forward_pre_hook(lambda _, inputs: calls.append(inputs))
    _total(recipe.training_step(recipe.model, batch))  # type: ignore[misc]
    hook.remove()
    return calls[0][0].detach() if calls else batch[0]


def batches(data: Any) -> Iterator[Any]:
    """The batches of training data in any of the forms that a recipe takes."""
    return iter(DataLoader(data, batch_size=32) if isinstance(data, Dataset) else data)


def _total(told: Any) -> torch.Tensor:
    if isinstance(told, torch.Tensor):
        return told
    return told[0] if isinstance(told, tuple) else sum(loss for _, loss in told)


def ask(tool: str, factory: Factory) -> Told:
    """What another tool says of a recipe."""
    if tool == "torchtest2":
        from .other_torchtest2 import told
    else:
        from .other_pytest_torch import told
    return told(factory)


KIND_OF = {
    "torchtest2": {
        "batch_independence": {"batch_independence"},
        "eval_determinism": {"eval_is_deterministic"},
        "frozen_params": {"frozen_stay_frozen"},
        "gradcheck": {"backward_is_correct"},
        "gradient_flow": {"gradients_flow", "optimizer_covers_model", "parameters_are_registered"},
        "gradient_magnitude": {"outputs_are_finite", "training_is_stable"},
        "initial_loss": {"starts_uninformed", "initialization_is_sound"},
        "input_dependency": {"uses_its_inputs"},
        "loss": {"loss_is_sound", "outputs_are_finite"},
        "optimizer_coverage": {"optimizer_covers_model"},
        "output_finite": {"outputs_are_finite"},
        "output_shape": {"shape_contract"},
    },
    "pytest_torch": {
        "accumulation": {"loss_is_sound"},
        "batch_invariance": {"batch_independence"},
        "deterministic": {"eval_is_deterministic"},
        "finite_outputs": {"outputs_are_finite"},
        "frozen": {"frozen_stay_frozen"},
        "gradcheck": {"backward_is_correct"},
        "gradients_finite": {"outputs_are_finite", "training_is_stable"},
        "no_state_mutation": {"frozen_stay_frozen"},
        "optimizer_coverage": {"optimizer_covers_model"},
        "output_spec": {"shape_contract", "outputs_are_finite"},
        "params_receive_grad": {"gradients_flow", "optimizer_covers_model"},
    },
}
"""Which kinds of fault a tool's checks are about, in our words."""

GUESSES = re.compile(r"\nHint:.*|hint:.*|\((?:unused|view/reshape|wrong slice|requires_grad).*?\)")
"""Lists of what might be the reason, the same for every finding of a check."""


def judge(tool: str, case: Case, sick: Told, twin: Told) -> Judged:
    """Whether another tool found a fault, and named its kind or its place."""
    alarms = {check for check, _ in twin.causes + twin.advice}
    found = [pair for pair in sick.causes + sick.advice if pair[0] not in alarms]
    kinds: Callable[[str], set[str]] = lambda check: KIND_OF[tool].get(check, set())  # noqa: E731
    naming = [
        check
        for check, text in found
        if kinds(check) & set(case.checks) or case.names(GUESSES.sub("", text))
    ]
    by = (naming or [check for check, _ in found])[:1]
    return Judged(bool(found), bool(naming), "".join(by))
