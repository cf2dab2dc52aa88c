"""Dropout that runs although the model that is evaluated is in eval mode throughout. No judgement."""

from __future__ import annotations

import sys
import weakref
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from torch import Tensor, nn
from torch.jit import ScriptModule
from torch.nn.modules.activation import MultiheadAttention
from torch.nn.modules.transformer import TransformerEncoder, TransformerEncoderLayer
from torch.overrides import TorchFunctionMode, _get_current_function_mode, _pop_mode, _push_mode

from pytest_dlcheck.run.code.frames import variables
from pytest_dlcheck.run.code.lines import line_of_the_loop
from pytest_dlcheck.run.watch.batches.few import Few, first_plain
from pytest_dlcheck.run.watch.compiling import Compilation
from pytest_dlcheck.run.watch.guard import Guard
from pytest_dlcheck.run.watch.taps.once import Once
from pytest_dlcheck.trace import Row

HEARD = 3
"""Evaluations of a model (count) in which its operations are heard: the first ones."""
MODELS = 16
"""Models that are told apart."""
COMPARED = 512
"""Later evaluations in the same row that are compared with the first."""
_ATTENTION = "scaled_dot_product_attention"
_NAMES = frozenset(
    {
        *("dropout", "dropout_", "dropout1d", "dropout2d", "dropout3d", "feature_dropout"),
        *("alpha_dropout", "feature_alpha_dropout", "native_dropout"),
    }
)
_BY_ANOTHER_WAY = (MultiheadAttention, TransformerEncoder, TransformerEncoderLayer)
"""They compute by another way, rounded otherwise, while operations are heard."""


@dataclass
class _Model:
    """What is known of one that is evaluated."""

    model: weakref.ref[nn.Module]
    name: str
    keys: frozenset[int]
    heard: int = 0
    dropping: int = 0
    operation: str = ""
    line: str = ""
    culprit: str = ""
    beside: str = ""
    """The class of a layer that the model calls, and that none of its modules holds."""
    row: int = -1
    first: Few | None = None
    answers: int = 0
    most_answers: int = 0
    compared: int = 0
    hearing: list[TorchFunctionMode] = field(default_factory=list)

    def end(self) -> None:
        """Hear it no more."""
        while self.hearing:
            _take_off(self.hearing.pop())


class LiveDropout:
    """Hears the first few evaluations of trained models, by a mode for torch's functions within them.

    Args:
        guard: stands before what torch's functions call.
        compilation: during which nothing is heard.
    """

    def __init__(self, guard: Guard, compilation: Compilation) -> None:
        self._guard, self._compilation = guard, compilation
        self._known: dict[int, _Model] = {}

    def called(self, module: nn.Module, arguments: tuple[Any, ...], row: int) -> None:
        """A trained model in eval mode is about to be called, without gradients.

        Args:
            module: which.
            arguments: on what.
            row: the row of evaluations that the call is a part of.
        """
        known = self._of(module)
        if known is None:
            return
        known.end()  # what an interruption has left there: it tells no hook
        if known.heard < HEARD and not self._compilation.is_at_work and _can_be_heard(module):
            known.heard += 1
            _note(known, arguments, row)
            mode = _Hearing(known, self._guard)
            _push_mode(mode)  # type: ignore[no-untyped-call]
            known.hearing.append(mode)
            Once(module, ended=known.end)
        elif known.dropping and known.row == row and known.compared < COMPARED:
            _note(known, arguments, row)

    def close(self) -> None:
        """Hear nothing any more."""
        for known in self._known.values():
            known.first = None
            known.end()

    def rows(self, keys: set[int]) -> tuple[Row, ...]:
        """A row per model that was heard and holds some of these parameters, given by identity."""
        return tuple(
            Row(
                model=known.name,
                calls=known.heard,
                dropping=known.dropping,
                answers=known.most_answers,
                operation=known.operation,
                line=known.line,
                culprit=known.culprit,
                beside=known.beside,
            )
            for known in self._known.values()
            if known.heard and known.keys & keys
        )

    def _of(self, module: nn.Module) -> _Model | None:
        known = self._known.get(id(module))
        if known is not None and known.model() is module:
            return known
        if len(self._known) >= MODELS or isinstance(module, ScriptModule):
            return None
        keys = frozenset(map(id, module.parameters()))
        known = self._known[id(module)] = _Model(weakref.ref(module), type(module).__name__, keys)
        return known


class _Hearing(TorchFunctionMode):
    """Lets everything run as it does, and notes dropout that drops."""

    def __init__(self, known: _Model, guard: Guard) -> None:
        super().__init__()
        self._known, self._has_dropped = known, False
        self._heard = guard(self._hear)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        options = kwargs or {}
        self._heard(func, args, options)
        return func(*args, **options)

    def _hear(self, func: Any, args: Any, options: dict[str, Any]) -> None:
        name = getattr(func, "__name__", "")
        if not ((name in _NAMES or name == _ATTENTION) and _drops(name, args, options)):
            return
        known, model = self._known, self._known.model()
        known.dropping += not self._has_dropped
        self._has_dropped = True
        if not known.operation and model is not None:
            known.operation, known.line = name, line_of_the_loop()
            around = sys._getframe(3)  # noqa: SLF001  documented
            known.culprit, known.beside = _module_of(around, model)


def _can_be_heard(module: nn.Module) -> bool:
    """Whether hearing disturbs nothing, and whatever runs in train mode is not meant to."""
    return not any(part.training or isinstance(part, _BY_ANOTHER_WAY) for part in module.modules())


def _take_off(mode: TorchFunctionMode) -> None:
    """Take this one off the stack, wherever it is."""
    others = []
    while _get_current_function_mode() is not None:  # type: ignore[no-untyped-call]
        top = _pop_mode()  # type: ignore[no-untyped-call]
        if top is mode:
            break
        others.append(top)
    for other in reversed(others):
        _push_mode(other)  # type: ignore[no-untyped-call]


def _drops(name: str, args: tuple[Any, ...], options: dict[str, Any]) -> bool:
    if name == _ATTENTION:
        return _is_positive(options.get("dropout_p", args[4] if len(args) > 4 else 0.0))  # noqa: PLR2004
    default = args[2] if len(args) > 2 else True  # noqa: PLR2004  (input, p, training)
    is_on = options.get("training", options.get("train", default))
    return bool(is_on) and _is_positive(options.get("p", args[1] if len(args) > 1 else 0.5))


def _is_positive(probability: object) -> bool:
    return isinstance(probability, int | float) and probability > 0


def _module_of(frame: FrameType | None, root: nn.Module) -> tuple[str, str]:
    """In whose method this happens.

    Returns:
        The name of the innermost of the root's modules, empty for itself; and the class of the layer
        that this one calls although no module holds it, empty where it calls none.
    """
    names = {id(module): name for name, module in root.named_modules()}
    beside = ""
    while frame is not None:
        module = variables(frame).get("self")
        name: str | None = names.get(id(module))
        if name is not None:
            return name, beside
        beside = type(module).__name__ if isinstance(module, nn.Module) else beside
        frame = frame.f_back
    return "", ""


def _note(known: _Model, arguments: tuple[Any, ...], row: int) -> None:
    """Count how often the first input of a row of evaluations comes, in several calls or within one."""
    given = first_plain(arguments)
    if given is None:
        return
    few = Few.of(given)
    if known.row != row or known.first is None:
        known.row, known.first, known.answers, known.compared = row, few, _alike(given), 0
    else:
        known.compared += 1
        known.answers += few.is_as(known.first)
    known.most_answers = max(known.most_answers, known.answers)


def _alike(batch: Tensor) -> int:
    """How many of its samples are as the first one."""
    if batch.dim() < 2:  # noqa: PLR2004  a sample is no batch
        return 1
    samples = batch.detach().reshape(len(batch), -1)
    return int((samples == samples[:1]).all(dim=1).sum())
