"""What losses reach besides what optimizers step: forgotten modules, or nothing. No judgement."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.tensors.sampled import sample_of
from pytest_dlcheck.run.watch.models.visits import Visits
from pytest_dlcheck.run.watch.scene import parameters_of, root_of
from pytest_dlcheck.run.watch.steps.of_nobody import of_nobody
from pytest_dlcheck.run.watch.steps.woven import met
from pytest_dlcheck.trace import Row

MOST = 256
"""Parameters that are remembered."""
TWICE = 2
"""Looks at which a parameter must have been reached."""


@dataclass(frozen=True)
class Host:
    """A model that calls a module which is none of its own.

    Attributes:
        name: its type.
        keys: its parameters, by identity.
        gives_a_loss: whether its forward ends in a loss.
        recurs: whether the module is recurrent: its state is fed back, as a reservoir's is.
    """

    name: str
    keys: frozenset[int]
    gives_a_loss: bool
    recurs: bool


@dataclass
class _Outsider:
    parameter: weakref.ref[nn.Parameter]
    before: Tensor
    row: Row
    comes_first: bool
    looks: int = 0
    is_held: bool = False
    """Whether an optimizer holds it, or something has moved it."""
    host: Host | None = None
    """The model inside of whose forward it is called, although no module of that holds it, and"""
    is_layer: bool = False
    """whether it is evidently one of that model's layers."""


class Outsiders:
    """The leaves of a few losses, while optimizers step.

    Attributes:
        looked: losses that were looked at, and
        rootless: those of them that no parameter is behind.
    """

    def __init__(self, visits: Visits) -> None:
        self._visits = visits
        self._found: dict[int, _Outsider] = {}
        self.looked = self.rootless = 0

    def look(
        self, leaves: Sequence[Tensor], stepped: set[int], *, confused: bool = False
    ) -> list[nn.Parameter]:
        """Look at what a loss is made of; returns the parameters that nobody steps.

        Args:
            leaves: what a backward reaches.
            stepped: what optimizers step, by identity.
            confused: whether several optimizers step what one of them should, so that a loss that
                nothing else is behind may be that of one of these.
        """
        self.looked += 1
        known = any(id(leaf) in stepped for leaf in leaves)
        others = [p for p in leaves if isinstance(p, nn.Parameter) and id(p) not in stepped]
        self.rootless += not known and not others
        return others if known or confused else []

    def note(
        self,
        others: Sequence[nn.Parameter],
        modules: Sequence[nn.Module],
        optimizers: Iterable[torch.optim.Optimizer],
        model: nn.Module,
    ) -> None:
        """Remember them, with their names.

        Args:
            others: the parameters that nobody steps.
            modules: all that live.
            optimizers: all that live.
            model: what is trained.
        """
        held = {id(p) for optimizer in optimizers for p in parameters_of(optimizer)}
        fresh = {id(p): p for p in others[:MOST] if not self._is_known(p)}
        while fresh:
            root = root_of(set(fresh), modules)
            own = {id(p): name for name, p in root.named_parameters() if id(p) in fresh}
            if not own:
                break
            comes_first = self._visits.is_before(root, model)
            host = self._host_of(root)
            for key, name in own.items():
                p = fresh.pop(key)
                row = of_nobody(f"{type(root).__name__}.{name}", p, "another model")
                self._found[key] = _Outsider(
                    weakref.ref(p), sample_of(p).clone(), row, comes_first, host=host
                )
        for p in others[:MOST]:
            if (outsider := self._found.get(id(p))) is not None:
                moved = not torch.equal(sample_of(p), outsider.before)
                outsider.looks += 1
                outsider.is_held |= id(p) in held or moved

    def tie(self, losses: Sequence[Tensor], stepped: set[int]) -> None:
        """Find out which of them are layers of the model that calls them.

        A layer of it is one whose results a trained layer works on. One that works on a trained layer's
        results is, too, where the model ends with it, and not with a loss: what judges a model's output
        within it, such as a discriminator, is none. Nor is a reservoir that the data enter as they are.

        Args:
            losses: what backward is called on.
            stepped: what optimizers step, by identity.
        """
        hosted = {key: o.host for key, o in self._found.items() if o.host and o.host.keys & stepped}
        if not hosted or all(self._found[key].is_layer for key in hosted):
            return
        goes_on, is_given = met(losses, set(hosted), stepped), bool(met(losses, stepped, set(hosted)))
        for key, host in hosted.items():
            is_last = is_given and not host.gives_a_loss
            is_between = key in goes_on and (is_given or not host.recurs)
            self._found[key].is_layer |= is_last or is_between

    def rows(self, known: set[int], *, confused: bool) -> tuple[Row, ...]:
        """A row each; whether one is untrained is told where it should not be.

        Args:
            known: what is stepped, and what belongs to a model of which that is told.
            confused: whether several optimizers step what one of them should.
        """
        return tuple(
            _told(o, confused=confused)
            for key, o in self._found.items()
            if o.looks >= TWICE and not o.is_held and key not in known
        )

    def _host_of(self, root: nn.Module) -> Host | None:
        host = self._visits.host_of(root)
        if host is None:
            return None
        often = self._visits.of(host)[0]
        recurs = any(
            isinstance(part, nn.RNNBase | nn.RNNCellBase) or self._visits.of(part)[0] > often
            for part in root.modules()
        )
        keys = frozenset(map(id, host.parameters()))
        return Host(type(host).__name__, keys, self._visits.gives_a_loss(host), recurs)

    def _is_known(self, parameter: nn.Parameter) -> bool:
        outsider = self._found.get(id(parameter))
        return outsider is not None and outsider.parameter() is parameter


def _told(outsider: _Outsider, *, confused: bool) -> Row:
    if outsider.is_layer and outsider.host is not None:
        return Row(outsider.row, within=outsider.host.name)
    if confused or outsider.comes_first:
        return outsider.row
    return Row(outsider.row, untrained=None)
