"""What can be heard of a foreign loop; the taps speak, the watcher listens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, SupportsFloat

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from pytest_dlcheck.run.watch.plain import Plain


class Listener(Protocol):
    """Hears what a loop does, in the order and in the thread in which it does it.

    Attributes:
        quick: hears plain steps, while there is nothing else to hear.
    """

    quick: Plain | None

    def called(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        """A module is called, from outside of any other.

        Args:
            module: which.
            arguments: all that it is given, in the order of its parameters; of a module's first call not
                what is given by name, of which torch tells hooks of all modules nothing.
        """

    def backward_begins(self, losses: Sequence[Tensor]) -> None:
        """``backward`` was called on these tensors."""

    def backward_ends(self) -> None:
        """The gradients of that backward have arrived."""

    def backward_fails(self) -> None:
        """That backward has raised."""

    def loss_is_scaled(self, loss: Tensor, scaled: Tensor) -> None:
        """A gradient scaler has made ``scaled`` of ``loss``."""

    def gradients_are_unscaled(self, optimizer: torch.optim.Optimizer) -> None:
        """A gradient scaler has divided this optimizer's gradients by its scale."""

    def step_begins(self, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer with a closure is about to step: backward comes inside the step."""

    def gradients_are_complete(self, optimizer: torch.optim.Optimizer) -> None:
        """The gradients that a step applies are there; without a closure, it begins here."""

    def step_ends(self, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer has stepped."""

    def values_are_clipped(self, parameters: Sequence[Tensor]) -> None:
        """The values of these parameters' gradients are about to be clipped."""

    def clipped(self, parameters: Sequence[Tensor], bound: float, norm: Tensor | None) -> None:
        """Gradients were clipped.

        Args:
            parameters: whose gradients.
            bound: the largest norm, or value, that was allowed.
            norm: their norm before, shape ``[]``; None where values were clipped.
        """

    def batch_is_read(self, loader: object, batch: object) -> None:
        """A DataLoader's iterator has given a batch."""

    def loader_ends(self, loader: object) -> None:
        """A DataLoader's iterator has no more batches."""

    def samples_are_wanted(self, fetcher: object, index: object) -> None:
        """A DataLoader is about to read samples of a map-style data set, in this process.

        Args:
            fetcher: reads them, for one pass.
            index: of one sample, or those of a batch.
        """

    def samples_are_fetched(self, fetcher: object, index: object, batch: object) -> None:
        """It has read them, and put them together."""

    def schedule_is_built(self, scheduler: LRScheduler) -> None:
        """A learning rate scheduler was made."""

    def schedule_steps(self, scheduler: LRScheduler, *, is_named: bool) -> None:
        """A learning rate scheduler has stepped, to an epoch that was named or to the next."""

    def plateau_steps(self, scheduler: ReduceLROnPlateau, metrics: SupportsFloat) -> None:
        """One that waits for a plateau was told this."""

    def called_aside(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        """A module is called that is followed aside, from inside of others, too."""

    def is_seeded(self, name: str, seed: object) -> None:
        """A global generator was set to some state.

        Args:
            name: of the function that seeds it.
            seed: what that was given; None where the state was set in another way.
        """

    def is_set_aside(self, module: nn.Module) -> None:
        """A module is put in eval mode, or none of its parameters is to ask for a gradient."""

    def weights_are_taken(self, state: Mapping[str, object]) -> None:
        """``state_dict()`` has made this of some module."""

    def weights_are_loaded(self, module: nn.Module, state: Mapping[str, object]) -> None:
        """``load_state_dict()`` is about to copy this into a module."""

    def weights_were_loaded(
        self, module: nn.Module, state: Mapping[str, object], missing: Sequence[str]
    ) -> None:
        """``load_state_dict()`` has copied this into a module, as far as it goes.

        Args:
            module: into which.
            state: what.
            missing: names of the module that were not found there.
        """

    def chosen_among_one(self, scores: Tensor, axis: int, *, gives_values: bool) -> None:
        """The largest of one was chosen: along an axis of size 1. Inside of torch's dispatcher.

        Args:
            scores: among which.
            axis: which has size 1.
            gives_values: whether the largest itself was asked for, beside its place.
        """
