"""Recipes for a model of the user's own, ``package.module:Model``: what is not known is asked for."""

from __future__ import annotations

import inspect
import pkgutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from pytest_dlcheck.scaffold.drafts import TODO, Draft, ScaffoldError, identifier, nearest, todo

_DATA = "train_data: a DataLoader, a Dataset or a tuple of tensors; a batch is (inputs, targets)"
_LOSS = "loss: loss(outputs, targets) gives one number, for example torch.nn.CrossEntropyLoss()"
_LIT_DATA = "data: your LightningDataModule, or a training DataLoader"
_HF_DATA = "dataset: dicts of input_ids, labels and what else the model takes"
_HERE = (
    "{} was found beside the current directory: pytest finds it when it is installed, or with "
    'pythonpath = [".", "src"] in its settings'
)

_PLAIN = '''\
"""How {name} is trained, checked by: pytest --dlcheck"""

import torch
from pytest_dlcheck import Recipe, recipe

from {module} import {name}


@recipe
def {slug}():
    model = {call}
    return Recipe(
        model=model,
        train_data={data},
        loss={loss},
        # The optimizer that you train with, its learning rate and schedule:
        optimizer=torch.optim.AdamW(model.parameters(), lr=1e-3),
    )
'''
_FRAMEWORK = '''\
"""How {name} is trained, checked by: pytest --dlcheck"""

from pytest_dlcheck import Recipe, recipe

from {module} import {name}


@recipe
def {slug}():
    model = {call}
    return Recipe.{maker}(model{data})
'''


def draft(module: str, name: str) -> Draft:
    """A recipe for a class, or a function that builds a model.

    Raises:
        ScaffoldError: it cannot be imported, is not there, or makes no ``nn.Module``.
    """
    if not all(part.isidentifier() for part in (*module.split("."), name)):
        raise ScaffoldError(f"{module}:{name} is no package.module:Model")
    top = module.partition(".")[0]
    installed = top in sys.modules or find_spec(top) is not None
    with _working_directory():
        found = _imported(module)
    notes = () if installed else (_HERE.format(top),)
    maker = _model(found, name)
    slug = identifier(name, taken={name})
    lightning, hugging_face = _is(maker, "LightningModule"), _is(maker, "PreTrainedModel")
    call, missing = (f"{name}({name}.config_class())", []) if hugging_face else _call(name, maker)
    parts = {"name": name, "module": module, "slug": slug, "call": call}
    if lightning and hasattr(maker, "train_dataloader") and _own(maker, "train_dataloader"):
        text = _FRAMEWORK.format(**parts, maker="from_lightning", data="")
    elif lightning:
        missing.append(_LIT_DATA)
        text = _FRAMEWORK.format(**parts, maker="from_lightning", data=f", {todo(_LIT_DATA)}")
    elif hugging_face:
        missing.append(_HF_DATA)
        text = _FRAMEWORK.format(**parts, maker="from_transformers", data=f", {todo(_HF_DATA)}")
    else:
        missing += [_DATA, _LOSS]
        text = _PLAIN.format(**parts, data=todo(_DATA), loss=todo(_LOSS))
    return Draft(slug, text + (TODO if missing else ""), tuple(missing), notes)


@contextmanager
def _working_directory() -> Iterator[None]:
    """With the current directory, and its ``src``, importable as for ``python -m``."""
    before = list(sys.path)
    sys.path[:0] = [str(Path.cwd()), str(Path.cwd() / "src")]
    try:
        yield
    finally:
        sys.path[:] = before


def _imported(module: str) -> ModuleType:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise ScaffoldError(_failed(module, error)) from None
        parent, _, last = error.name.rpartition(".")
        place = f" in {parent!r}" if parent else ""
        said = nearest(f"there is no module {last!r}{place}", last, _modules(parent))
        raise ScaffoldError(said) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001  the user's module may raise anything
        raise ScaffoldError(_failed(module, error)) from None


def _failed(module: str, error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "importlib" not in f.filename and f.filename != __file__]
    place = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    return f"{module!r} cannot be imported: {type(error).__name__}: {error}{place}"


def _modules(parent: str) -> list[str]:
    path = getattr(sys.modules.get(parent), "__path__", ()) if parent else None
    return [info.name for info in pkgutil.iter_modules(path)]


def _model(found: ModuleType, name: str) -> Any:
    """The class or function, if it makes a model."""
    maker = getattr(found, name, None)
    models = [key for key, value in vars(found).items() if _is(value, "Module")]
    if maker is None:
        raise ScaffoldError(nearest(f"{found.__name__!r} has no {name!r}", name, models))
    if inspect.isclass(maker) and not _is(maker, "Module"):
        raise ScaffoldError(nearest(f"{name} of {found.__name__!r} is no torch.nn.Module", name, models))
    if not callable(maker) or _is(type(maker), "Module"):
        raise ScaffoldError(
            f"{name} of {found.__name__!r} is a {type(maker).__name__}, not a class or a function that "
            "builds a model: each trial needs a fresh one"
        )
    return maker


def _is(kind: Any, base: str) -> bool:
    """Whether a class has this base of torch's or a framework's; told by name, without an import."""
    homes = {"Module": {"torch"}, "PreTrainedModel": {"transformers"}}
    home = homes.get(base, {"lightning", "pytorch_lightning"})
    return inspect.isclass(kind) and any(
        part.__name__ == base and part.__module__.partition(".")[0] in home for part in kind.__mro__
    )


def _own(kind: Any, method: str) -> bool:
    home = getattr(getattr(kind, method), "__module__", "")
    return home.partition(".")[0] not in {"lightning", "pytorch_lightning"}


def _call(name: str, maker: Any) -> tuple[str, list[str]]:
    """The call that builds the model, and what is missing for it."""
    try:
        parameters = inspect.signature(maker).parameters.values()
    except (TypeError, ValueError):
        return f"{name}()", []
    needed = [
        p for p in parameters if p.default is p.empty and p.kind not in {p.VAR_POSITIONAL, p.VAR_KEYWORD}
    ]
    wanted = [f"{name}'s argument {_described(p)}" for p in needed]
    named = ["" if p.kind is p.POSITIONAL_ONLY else f"{p.name}=" for p in needed]
    if not needed:
        return f"{name}()", []
    lines = "".join(f"        {n}{todo(what)},\n" for n, what in zip(named, wanted, strict=True))
    return f"{name}(\n{lines}    )", wanted


def _described(parameter: inspect.Parameter) -> str:
    if parameter.annotation is parameter.empty:
        return parameter.name
    annotation = parameter.annotation
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return f"{parameter.name} ({text})"
