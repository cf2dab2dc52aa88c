"""Modules whose ``requires_grad`` was set to False, an attribute that torch does not read."""

from __future__ import annotations

import dis
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import CodeType

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.code.bytecode import codes_of
from pytest_dlcheck.run.modules.walking import modules_of
from pytest_dlcheck.run.probe import Probe, read_in_bulk
from pytest_dlcheck.run.probes.inventory import weighed
from pytest_dlcheck.run.sampling import GRADIENTS, Due
from pytest_dlcheck.run.scene import Scene
from pytest_dlcheck.trace import Row
from pytest_dlcheck.trial import Trial

FLAG = "requires_grad"
"""What a parameter calls whether it is trained; a module's method has an underscore at its end."""


@dataclass
class _Flagged:
    name: str
    module: nn.Module
    before: dict[str, Tensor]
    after: dict[str, Tensor] = field(default_factory=dict)


class FrozenFlagProbe(Probe[Scene]):
    """Fills the fact ``frozen_flags``: a row per module that says so while all that is in it trains.

    Its parameters are compared from the step on at which the flag was first seen. A module whose class
    keeps such a flag of its own, or which is flagged at some steps only, is left alone.
    """

    channels = frozenset({"frozen_flags"})

    def begin(self, scene: Scene, trial: Trial) -> None:
        """Keep what may be flagged."""
        del trial
        self._scene = scene
        self._flagged: dict[int, _Flagged] = {}
        self._toggled: set[int] = set()
        self._is_due = Due(GRADIENTS)

    def before_update(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Look which modules are flagged though this step trains them."""
        if not self._is_due(step):
            return
        roots = {"": self._scene.model, **getattr(self._scene, "beside", {})}
        if not self._flagged and not any(map(_holds_a_flag, roots.values())):
            return
        modules = [(_joined(place, n), m) for place, r in roots.items() for n, m in r.named_modules()]
        said = [(name, module) for name, module in modules if FLAG in vars(module)]
        stepped = {
            id(p) for group in optimizer.param_groups for p in group["params"] if p.grad is not None
        }
        for each in [e for e in self._flagged.values() if not _is_flagged(e.module)]:
            if any(id(p) in stepped for p in each.module.parameters()):
                self._toggled.add(id(each.module))
                del self._flagged[id(each.module)]
        for name, module in said:
            if id(module) in self._flagged.keys() | self._toggled or not _is_flagged(module):
                continue
            named = dict(module.named_parameters())
            if all(p.requires_grad for p in named.values()) and not _keeps_flags(type(module)):
                moved = {n: p for n, p in named.items() if id(p) in stepped}
                if moved:
                    self._flagged[id(module)] = _Flagged(name, module, weighed(moved))

    def end(self) -> None:
        """Compare what is flagged still."""
        for each in self._flagged.values():
            named = dict(each.module.named_parameters())
            still = _is_flagged(each.module) and all(p.requires_grad for p in named.values())
            each.after = weighed({n: named[n] for n in each.before if n in named}) if still else {}

    def filled(self) -> Mapping[str, tuple[Row, ...]]:
        """The rows."""
        return {"frozen_flags": tuple(_row(each) for each in self._flagged.values() if each.after)}


def _row(flagged: _Flagged) -> Row:
    names = list(flagged.after)
    before, after = (
        read_in_bulk([prints[name] for name in names]) for prints in (flagged.before, flagged.after)
    )
    return Row(
        name=flagged.name,
        type=type(flagged.module).__name__,
        parameters=len(names),
        changed=sum(a != b for a, b in zip(before, after, strict=True)),
    )


def _joined(place: str, name: str) -> str:
    return ".".join(part for part in (place, name) if part)


def _holds_a_flag(root: nn.Module) -> bool:
    return any([FLAG in module.__dict__ for module in modules_of(root)])  # noqa: C419  quicker


def _is_flagged(module: nn.Module) -> bool:
    return vars(module).get(FLAG) is False


def _keeps_flags(kind: type[nn.Module]) -> bool:
    """Whether a class has, sets or reads an attribute of its own by this name."""
    own = [vars(each) for each in kind.__mro__ if each not in nn.Module.__mro__]
    return any(FLAG in names or any(map(_reads_its_own, names.values())) for names in own)


def _reads_its_own(member: object) -> bool:
    parts = (member, *(getattr(member, name, None) for name in ("__func__", "fget", "fset")))
    codes = [code for part in parts if isinstance(code := getattr(part, "__code__", None), CodeType)]
    return any(
        _names_the_flag(part, c.co_varnames[0]) for c in codes if c.co_argcount for part in codes_of(c)
    )


def _names_the_flag(code: CodeType, itself: str) -> bool:
    return FLAG in code.co_consts or any(_takes_it_of(itself, code))


def _takes_it_of(itself: str, code: CodeType) -> Iterator[bool]:
    loaded: object = None
    for instruction in dis.get_instructions(code):
        name = instruction.argval
        if instruction.opname in {"LOAD_ATTR", "STORE_ATTR"} and name == FLAG:
            yield loaded == itself
        loaded = name[-1] if isinstance(name, tuple) and name else name
