"""A recipe set up for one trial: placed, validated, its data at hand. It trains nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pytest_dlcheck.recipe import Recipe, RecipeError
from pytest_dlcheck.run.double import Memory, double_inputs
from pytest_dlcheck.run.errors import CannotTellError
from pytest_dlcheck.run.modules.walking import modules_of
from pytest_dlcheck.run.objective import Call, Objective
from pytest_dlcheck.run.parts import instead, optimizers_of, placed, schedulers_of
from pytest_dlcheck.run.stream import ExhaustedError, Stream
from pytest_dlcheck.run.tensors.compare import relative_change
from pytest_dlcheck.run.tensors.tree import batch_size, copied, take, tensors
from pytest_dlcheck.run.world.seeding import same_draws

_AGREEMENT = 0.05
"""Relative difference up to which float64 and the model's own precision, bfloat16 included, agree."""
_FEW = 2
"""Samples that tell whether they do."""
_MIXED = {"bf16-mixed": torch.bfloat16, "fp16-mixed": torch.float16}


class Rig:
    """A recipe set up on a device.

    Args:
        recipe: the facts, fresh from the factory.
        device: where to place a model that its factory left on the CPU.
        seed: the trial's seed, for draws that must repeat.

    Raises:
        RecipeError: a part of the recipe is not what it should be.
    """

    def __init__(self, recipe: Recipe, device: str, seed: int) -> None:
        self.recipe, self.seed = recipe, seed
        self.phase = "setting up"
        """What is being done, for the message of an error."""
        if not isinstance(recipe.model, nn.Module):
            raise RecipeError(instead("model=", recipe.model, "a torch.nn.Module"))
        self.optimizers = optimizers_of(recipe.optimizer)
        self.schedulers = schedulers_of(recipe.scheduler)
        self.model = recipe.model
        self.device = placed(self.model, torch.device(device))
        for optimizer in self.optimizers if self.device.type != "cpu" else ():
            optimizer.load_state_dict(optimizer.state_dict())  # its state follows its parameters
        self.loss_module = recipe.loss if isinstance(recipe.loss, nn.Module) else None
        if self.loss_module is not None:
            self.loss_module.to(self.device)
        self.objective = Objective(recipe, self.model)
        self.stream = Stream(recipe.train_data, "train_data", self.device)
        self.batch: Any = None
        """The first batch, held fixed for experiments; the stream gives it again first."""
        self.current: Any = None
        """The batch in flight, for the message of an error."""
        self._unread: list[tuple[Any, bool]] = []
        self._runs_in_double: bool | None = None
        self.first: Any = None
        """What the first pass of an inspection showed (a ``FirstPass``)."""
        self._recorded: Call | None = None
        self._answers: dict[str, Any] = {}
        self.epochs_ended = 0
        """How often a batch that was given was the last one of its epoch."""

    def open(self) -> None:
        """Read the first batch and make the model ready to train."""
        self.phase = "reading train_data"
        self._first = self.stream.next()
        self.batch = self.current = copied(self._first)
        self._unread.append((copied(self._first), self.stream.epoch_ended))
        self._materialize()
        self.phase = "setting up"
        self._enter_train_mode()
        self._modes = {module: module.training for module in self.model.modules()}

    # -- data ---------------------------------------------------------------------------------

    def renew_batch(self) -> None:
        """Give the first batch as it was read, whatever a step of the user's has done to it."""
        self.batch = copied(self._first)
        self.__dict__.pop("call", None)

    def next_batch(self) -> Any:
        """The next batch of the training stream.

        Raises:
            ExhaustedError: the data is a one-shot iterator and has ended.
        """
        if not self._unread:
            self._read_one()
        self.current, ended = self._unread.pop(0)
        self.epochs_ended += ended
        return self.current

    def look_ahead(self, count: int) -> list[Any]:
        """Up to ``count`` batches that the stream is about to give; it will still give them."""
        while len(self._unread) < count:
            try:
                self._read_one()
            except ExhaustedError:
                break
        return [batch for batch, _ in self._unread[:count]]

    def _read_one(self) -> None:
        batch = self.stream.next()
        self._unread.append((batch, self.stream.epoch_ended))

    @property
    def batch_size(self) -> int | None:
        """Samples in the first batch, or None where they cannot be taken out of it one by one."""
        dim = self.recipe.batch_dim
        return None if dim is None else batch_size(self.batch, dim)

    def samples_in(self, batch: Any) -> int:
        """How many samples a batch holds, by its targets where they lie end to end; else 1."""
        dim = self.recipe.batch_dim
        if dim is None:
            return 1
        return batch_size(batch, dim) or batch_size(self.objective.targets(batch), 0) or 1

    @property
    def input_batch_dim(self) -> int | None:
        """The axis of samples of the inputs: that of ``b`` in ``shapes``, else ``batch_dim``."""
        contract, dim = self.recipe.shape_contract, self.recipe.batch_dim
        if contract is None or dim is None:
            return dim
        return next((shape.dims.index("b") for shape in contract.inputs if "b" in shape.dims), dim)

    def samples(self, count: int) -> Any:
        """A batch of ``count`` samples, evenly spread over the first batch.

        Raises:
            CannotTellError: the batch cannot be taken apart into samples.
        """
        size, dim = self.batch_size, self.recipe.batch_dim
        if size is None or dim is None:
            raise CannotTellError("samples cannot be taken out of a batch one by one")
        indices = torch.linspace(0, size - 1, min(count, size)).round().long()
        return take(self.batch, indices, dim)

    # -- parameters ---------------------------------------------------------------------------

    @cached_property
    def parameters(self) -> dict[str, nn.Parameter]:
        """Every parameter that may train, by name: the model's, the loss's, the optimizers' others."""
        named = dict(self.model.named_parameters())
        if self.loss_module is not None:
            named |= {f"loss.{name}": p for name, p in self.loss_module.named_parameters()}
        known = {id(p) for p in named.values()}
        for i, optimizer in enumerate(self.optimizers):
            for g, group in enumerate(optimizer.param_groups):
                for k, parameter in enumerate(group["params"]):
                    if id(parameter) not in known:
                        known.add(id(parameter))
                        place = f"[{i}]" if len(self.optimizers) > 1 else ""
                        named[f"optimizer{place}.param_groups[{g}].params[{k}]"] = parameter
        return named

    def is_frozen(self, name: str) -> bool:
        """Whether the recipe declares that this parameter or buffer must not train."""
        return any(
            fnmatchcase(name, pattern) or name.startswith(f"{pattern}.")
            for pattern in self.recipe.frozen
        )

    # -- calling the model --------------------------------------------------------------------

    @cached_property
    def call(self) -> Call:
        """The model's call on the first batch; raises CannotTellError where it cannot be repeated.

        A ``training_step`` is run once to find it, in the modes that it is made for.
        """
        if self.recipe.forward is not None or self.recipe.training_step is None:
            return self.objective.call(self.batch)  # which calls nothing yet
        if self._recorded is not None:
            inputs = self.batch if self._recorded.whole_step else copied(self._recorded.inputs)
            return replace(self._recorded, inputs=inputs)
        with self.undisturbed():
            for module, mode in self._modes.items():
                module.training = mode
            call = self.objective.call(self.batch)
        self._recorded = replace(call, inputs=None if call.whole_step else copied(call.inputs))
        return call

    def once(self, question: str, ask: Callable[[], Any]) -> Any:
        """The answer to a question that several experiments have; it is asked when first needed.

        Args:
            question: what tells it apart.
            ask: finds the answer, with the first batch and the model as they were at the beginning;
                what it raises is raised, and it is asked anew the next time.
        """
        if question not in self._answers:
            self._answers[question] = ask()
        return self._answers[question]

    def autocast(self) -> AbstractContextManager[Any]:
        """Mixed precision as the recipe declares it."""
        dtype = _MIXED.get(self.recipe.precision)
        return nullcontext() if dtype is None else torch.autocast(self.device.type, dtype)

    @contextmanager
    def undisturbed(self, *, training: bool | None = None) -> Iterator[None]:
        """Let the model be called without a trace: modes, buffers, gradients and draws are put back.

        Args:
            training: the mode for every module meanwhile; None leaves the modes as they are.
        """
        modules = [(module, module.training, _held(module)) for module in modules_of(self.model)]
        gradients = [(p, p.grad) for p in self.parameters.values()]
        try:
            if training is not None:
                self.model.train(training)
            with same_draws(self.seed):
                yield
        finally:
            with torch.no_grad():
                for module, mode, buffers in modules:
                    if module.training is not mode:  # setting it is slow, and there are hundreds
                        module.training = mode
                    if buffers:
                        _put_back(module, buffers)
            for parameter, gradient in gradients:
                parameter.grad = gradient

    @contextmanager
    def in_double(self, function: Callable[[Any], Any] | None = None) -> Iterator[Callable[[Any], Any]]:
        """Calls of the model in double precision, as far as it goes.

        Args:
            function: ``inputs -> outputs``, another way of calling the model; by default its own call.

        Yields:
            ``inputs -> outputs`` that casts floating inputs and runs in float64, or in the model's
            own precision where the model does not run in float64, or gives something else there
            (torch's attention, for one, misreads a float32 mask beside float64 queries).
        """
        plain, memory = function or self.call.function, Memory.of(self.model)
        if self.device.type == "mps" or memory.is_complex:
            yield plain
            return
        inputs, expected = (None, None) if self._runs_in_double is not None else self._few_answers()
        gradients = {p: p.grad for p in self.model.parameters()}
        for parameter in gradients:
            parameter.grad = None  # a cast would change them in place, whoever else holds them
        try:
            self.model.double()
            if self._runs_in_double is None:
                self._runs_in_double = self._agrees(inputs, expected)
            if not self._runs_in_double:
                memory.restore()
            yield double_inputs(plain) if self._runs_in_double else plain
        finally:
            memory.restore()
            for parameter, gradient in gradients.items():
                parameter.grad = gradient

    def _few_answers(self) -> tuple[Any, Any]:
        """A few samples and their outputs, or the whole batch where the model insists on it."""
        inputs, dim = self.call.inputs, self.input_batch_dim
        size = None if dim is None else batch_size(inputs, dim)
        with torch.no_grad(), same_draws(self.seed):
            if dim is not None and size is not None and size > _FEW:
                few = take(inputs, torch.arange(_FEW), dim)
                with suppress(Exception):
                    return few, self.call(few)
            return inputs, self.call()

    def _agrees(self, inputs: Any, expected: Any) -> bool:
        try:
            with torch.no_grad(), same_draws(self.seed):
                given = tensors(double_inputs(self.call.function)(inputs))
        except Exception:  # noqa: BLE001  the user's model may refuse float64 in any way
            return False
        pairs = zip(tensors(expected), given, strict=False)
        return all(relative_change(a, b) <= _AGREEMENT for a, b in pairs if a.is_floating_point())

    def _enter_train_mode(self) -> None:
        """As a user's loop does, but modes that the factory set stay.

        Modules with a ``train`` of their own (a frozen backbone that goes back to eval) have it called.
        """
        if not self.model.training:
            self.model.train()
            return
        for module in self.model.modules():
            if type(module).train is not nn.Module.train:
                module.train(module.training)

    def _materialize(self) -> None:
        lazy = any(is_lazy(p) for p in self.model.parameters())
        if not lazy:
            return
        self.phase = "the first forward, which materialises lazy modules"
        modes = {module: module.training for module in self.model.modules()}
        with torch.no_grad():
            self.model.eval()
            self.objective.call(self.batch)()
        for module, mode in modes.items():
            module.training = mode


def _held(module: nn.Module) -> dict[str, Tensor]:
    """Copies of a module's own buffers."""
    own = module._buffers  # noqa: SLF001  the public way walks all modules for each of them
    return {name: b.detach().clone() for name, b in own.items() if b is not None} if own else {}


def _put_back(module: nn.Module, buffers: dict[str, Tensor]) -> None:
    for name, buffer in module._buffers.items():  # noqa: SLF001
        if buffer is not None and name in buffers and buffers[name].shape == buffer.shape:
            buffer.copy_(buffers[name])
