"""The ``inspect`` trial of a recipe with an own loop: its data, and its model as the loop calls it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from pytest_dlcheck.run.experiments import all_experiments
from pytest_dlcheck.run.functions.custom import custom_functions
from pytest_dlcheck.run.inspection import conduct
from pytest_dlcheck.run.modules.as_called import forward_of, nest_of
from pytest_dlcheck.run.own_loop.leash import Leash
from pytest_dlcheck.run.passes.first_pass import FirstPass
from pytest_dlcheck.run.record import Record
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.graph import leaves
from pytest_dlcheck.run.tensors.tree import copied, detached, tensors
from pytest_dlcheck.run.trials.loop import Limits
from pytest_dlcheck.run.watch.ending import EnoughSeen

SEEN_IN_THE_LOOP = frozenset({"coverage", "flow", "loss_soundness", "through_time"})
"""What the watched loop tells better than any inspection."""
OF_THE_LOSS = frozenset({"initial_loss", "custom_backward", "finite", "symmetry", "units", "signal"})
"""What cannot be found out without asking the loss, or the optimizer."""
NO_LOSS = "train= computes its loss itself: there is none that could be asked apart from it"
NO_DATA = "no train_data= is given beside train="
NO_CALL = (
    "train= never calls the model itself in a forward that trains, only parts of it or another model: "
    "declare forward=(model, batch) and train_data="
)
ALONE = "the loop's first forward that trains is of one sample: it has no neighbours"
NO_FORWARD = "the model has no forward of its own: forward=(model, batch) would say how it is called"
_Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def inspect_still(rig: Rig, loop: Callable[[], None], record: Record, wanted: frozenset[str]) -> None:
    """Run the experiments that need no loss: on the data, and on the model's first call.

    Args:
        rig: the recipe; its data are not read yet.
        loop: runs the user's loop from its beginning.
        record: gets what is found.
        wanted: the facts that are asked for.
    """
    has_data = rig.recipe.train_data is not None and not isinstance(rig.recipe.train_data, NoData)
    called = _as_called(rig, loop, has_data=has_data)
    if has_data:
        rig.open()
    for experiment in all_experiments():
        fact = experiment.fact
        if fact not in wanted or fact in SEEN_IN_THE_LOOP:
            continue
        if fact in OF_THE_LOSS:
            record.inapplicable[fact] = NO_LOSS
        elif not fact.startswith("data_"):
            if called is None and not _has_forward(rig.model):
                record.inapplicable[fact] = NO_FORWARD
            elif called is None:
                record.unobserved[fact] = NO_CALL
            elif fact == "neighbours" and called.batch_size == 1 and rig.recipe.forward is None:
                record.unobserved[fact] = ALONE
            else:
                conduct(experiment(), called, record)
        elif has_data:
            conduct(experiment(), rig, record)
        else:
            record.inapplicable[fact] = NO_DATA


class NoData(list[Any]):
    """In the place of ``train_data=`` where a recipe has none."""


def _as_called(rig: Rig, loop: Callable[[], None], *, has_data: bool) -> Rig | None:
    """The model with what it is called with, as a recipe that has nothing else; None if it is not."""
    recipe = rig.recipe
    if recipe.forward is not None and has_data:
        still = replace(recipe, train=None)
    else:
        rig.phase = "your own loop, up to its first forward"
        calls = _first_call(rig.model, loop)
        if not calls:
            return None
        args, kwargs = calls[0]
        data = [copied(detached(nest_of(args, kwargs)))]
        still = replace(
            recipe, train=None, train_data=data, val_data=None, forward=forward_of(args, kwargs)
        )
    called = Rig(still, str(rig.device), rig.seed)
    called.open()
    called.first = _first_pass(called)
    return called


def _has_forward(model: nn.Module) -> bool:
    return type(model).forward is not nn.Module.forward


def _first_call(model: nn.Module, loop: Callable[[], None]) -> list[_Arguments]:
    """What the loop calls the model with in its first forward that trains; it is ended there."""
    calls: list[_Arguments] = []
    leash = Leash(Limits(steps=0), None)

    def record(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            calls.append((args, kwargs))
            raise EnoughSeen(leash)

    handle = model.register_forward_pre_hook(record, with_kwargs=True)
    try:
        with leash.watching():
            loop()
    finally:
        handle.remove()
    return calls


def _first_pass(rig: Rig) -> FirstPass:
    """What the graph of the outputs shows; a model that does not run is told by every experiment."""
    seen = FirstPass()
    with suppress(Exception), rig.undisturbed(), torch.enable_grad():
        for output in tensors(rig.call()):
            if output.requires_grad:
                seen.reached.append((None, leaves(output)))
                seen.functions |= dict.fromkeys(custom_functions(output))
    return seen
