"""What a loss compares: which batch its targets are from, and their shape beside the outputs'.

Read from the autograd graph of a few losses, so that a loop pays nothing for it in between.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from pytest_dlcheck.run.losses.graphs.advantages import of_a_critic
from pytest_dlcheck.run.losses.graphs.clipped_ratio import optimistic
from pytest_dlcheck.run.losses.graphs.crossed import crossed
from pytest_dlcheck.run.losses.graphs.crossed_by_hand import crossed_by_hand
from pytest_dlcheck.run.losses.graphs.crossed_within import crossed_within
from pytest_dlcheck.run.losses.graphs.cuts import cut_apart
from pytest_dlcheck.run.losses.graphs.divergences import divergences
from pytest_dlcheck.run.losses.graphs.given import (
    what_diverges,
    what_is_given,
    what_is_weighed,
    what_is_written,
)
from pytest_dlcheck.run.losses.graphs.guessing import guess_of
from pytest_dlcheck.run.losses.graphs.joined import joined
from pytest_dlcheck.run.losses.graphs.masked import averaged_away, came_late
from pytest_dlcheck.run.losses.graphs.mixed import what_is_mixed
from pytest_dlcheck.run.losses.graphs.moving import moves, target_moves, teachers_move
from pytest_dlcheck.run.losses.graphs.near import Near
from pytest_dlcheck.run.losses.graphs.one_label import labels_of as labels_in
from pytest_dlcheck.run.losses.graphs.opposite import among_the_inputs, is_its_own, turned
from pytest_dlcheck.run.losses.graphs.outputs import made_here
from pytest_dlcheck.run.losses.graphs.padding import counted
from pytest_dlcheck.run.losses.graphs.terms import of_terms
from pytest_dlcheck.run.losses.graphs.undivided import divided_by, undivided
from pytest_dlcheck.run.losses.graphs.written import Written, weightless, written
from pytest_dlcheck.run.tensors.tree import is_plain, tensors
from pytest_dlcheck.run.watch.batches.class_order import is_among, labels_in_order
from pytest_dlcheck.run.watch.batches.loaded import KEPT, Loaded, weighed
from pytest_dlcheck.run.watch.batches.new_classes import labels_of
from pytest_dlcheck.run.watch.guard import Guard
from pytest_dlcheck.run.watch.losses.beyond_ends import ends
from pytest_dlcheck.run.watch.losses.carried import Carried
from pytest_dlcheck.run.watch.losses.compared import Compared
from pytest_dlcheck.run.watch.losses.held_rows import HeldRows
from pytest_dlcheck.run.watch.losses.maps import masks_beside
from pytest_dlcheck.run.watch.losses.orders import pairing
from pytest_dlcheck.run.watch.losses.partners import Couples
from pytest_dlcheck.run.watch.losses.policies import Policies
from pytest_dlcheck.run.watch.losses.same_rows import SameRows
from pytest_dlcheck.run.watch.losses.unlabelled import unlabelled
from pytest_dlcheck.run.watch.models.answers import Answers
from pytest_dlcheck.run.watch.taps.once import Once
from pytest_dlcheck.trace import Row

FIRST = 24
"""Backward passes that are looked at in any case, and"""
AGAIN = 4
"""so many from each power of 4 on."""
LIKELIHOODS = ("ExpBackward", "LogBackward", "Log1PBackward", "LgammaBackward")
"""What the graphs of likelihoods hold, written out or torch's: Poisson, Gaussian, divergences."""


class Targets:
    """Looks at losses, with the batches that were read for them.

    Args:
        guard: stands before what models call.
        answers: told what models give on the batches that are looked at.
    """

    def __init__(self, guard: Guard, answers: Answers) -> None:
        self._guard, self._answers = guard, answers
        self._loaded = Loaded()
        self._inputs: list[Tensor] = []
        self._further: list[Tensor] = []
        """What models were called on besides."""
        self._couples, self._carried, self._same = Couples(), Carried(), SameRows()
        self._policies, self._held_rows = Policies(), HeldRows()
        self._model: Callable[[], nn.Module | None] = lambda: None
        self._labels: Tensor | None = None
        self.compares_labels = False
        """Whether what a loader gives as labels was seen to be what a loss compares."""
        self._reading: weakref.ref[object] | None = None
        self._backwards = self.next = 0
        """The number of the next backward that is looked at, and how many there were."""

    def batch_is_read(self, batch: Any, reading: object = None) -> None:
        """A loader's iterator has given a batch."""
        if self._backwards >= self.next:
            self._loaded.add(tensors(batch), reading)
            self._labels = labels_of(batch)
            self._carried.batch_is_read(reading)
            self._reading = None if reading is None else weakref.ref(reading)

    def is_called(self, module: nn.Module, arguments: Any) -> None:
        """A root is called with gradients."""
        if self._backwards >= self.next:
            Once(module, self._guard(self._gives))
            self._model = weakref.ref(module)
            found = tensors(arguments)
            self._carried.is_called(found)
            given = [tensor for tensor in found if is_plain(tensor)]
            self._inputs = [*self._inputs, *given[:1]][-KEPT:]
            self._further = [*self._further, *given[1:KEPT]][-KEPT:]

    def _gives(self, output: object) -> None:
        """A model has given this; what its loss makes of it can be told from there."""
        found = tensors(output)
        for tensor in found[:KEPT]:
            made_here(tensor)
        self._carried.gives(found)
        self._same.gives(found)
        if self._labels is not None:
            self._answers.trained(output, self._labels)

    def skip(self, count: int) -> None:
        """So many backward passes that nobody needs to look at."""
        self._backwards += count
        self._loaded.clear()
        self._labels = None
        self._carried.forget()

    def look(self, losses: Sequence[Tensor]) -> Compared | None:
        """What a backward's loss compares; None where it is not looked at."""
        due = self._backwards >= self.next
        self._backwards += 1
        self.next = max(self.next, _following(self._backwards))
        inputs, self._inputs = self._inputs, []
        further, self._further = self._further, []
        if not due or len(losses) != 1 or losses[0].grad_fn is None or not _is_finite(losses[0]):
            self._loaded.clear()
            return None
        return self._compared(losses[0], inputs, further)

    def _compared(self, loss: Tensor, inputs: list[Tensor], further: list[Tensor]) -> Compared:
        """What is found in a loss.

        Args:
            loss: with its graph.
            inputs: the first tensors that models were called on since the backward before.
            further: the other ones.
        """
        near, batches = Near.of_loss(loss.grad_fn), self._loaded.batches
        by_hand = [] if near.targets else written(near.root, batches)
        found = [*near.targets.values(), *(each.target for each in by_hand)]
        moving = [node for node, target in near.targets.items() if moves(node, target)]
        still = [target for node, target in near.targets.items() if node not in moving]
        still += [each.target for each in by_hand]
        self._answers.maps.look(self._model(), near, self._latest[1:])
        aligned, age = self._loaded.aligned(inputs, found)
        pairs = pairing(
            near.root,
            batches,
            inputs,
            found,
            further=further,
            aligned=aligned,
            choosing=[each.node for each in by_hand],
        )
        if self._labels is not None and not self.compares_labels:
            self.compares_labels = is_among(self._labels, found)
        return Compared(
            aligned=aligned,
            moving=any(target_moves(near.root, node) for node in moving) or teachers_move(near),
            undivided=undivided(near),
            age=age,
            paired=any(len(batch) > 1 for batch in batches),
            given=self._scores(loss, near, by_hand),
            weighed=tuple(what_is_weighed(near)),
            pairing=pairs,
            labels=labels_in_order(self._reading, self._latest, found),
            exponential=bool(near.named(*LIKELIHOODS)),
            told=self._told(near, by_hand, inputs, further, still),
            partners=self._couples.look(
                near, inputs, further, still, by_hand=by_hand, remembers=_remembers(self._model())
            ),
            guess=guess_of(near, loss),
            labelled=labels_in(near),
            maps=None if aligned is False else masks_beside(near, inputs, still),
        )

    def _scores(self, loss: Tensor, near: Near, by_hand: Sequence[Written]) -> tuple[Row, ...]:
        """What the parts of a loss are given."""
        return (
            *what_is_given(near),
            *what_is_written(by_hand),
            *what_diverges(divergences(near, loss)),
            *what_is_mixed(near, by_hand, self._loaded.batches),
            *of_terms(loss),
        )

    def _told(
        self,
        near: Near,
        by_hand: Sequence[Written],
        inputs: list[Tensor],
        further: list[Tensor],
        still: list[Tensor],
    ) -> dict[str, str]:
        """What else is noticed, in words.

        Args:
            near: the nodes next to the loss.
            by_hand: what it compares where that is written out.
            inputs: the first tensors that models were called on.
            further: the other ones.
            still: the targets that no gradients flow into.
        """
        loaded = self._has_loaded(inputs)
        rows = {len(called) for called in inputs if called.dim()}
        return {
            "crossed": crossed(near) or crossed_by_hand(near, self._latest),
            "crossed_within": crossed_within(near),
            "cut": self._cut(inputs),
            "cut_targets": self._cut([each for each in still if each.dim() and len(each) in rows]),
            "cut_inside": cut_apart(near, still),
            "turned": turned(near, self._latest, [*inputs, *further]),
            "its_own": "z @ z.T" if is_its_own(near) else "",
            "given": among_the_inputs(inputs, still),
            "padding": counted(near, [*inputs, *further]),
            "masked": averaged_away(near.root),
            "masked_late": came_late(near.root),
            "advantage": of_a_critic(near.root),
            **self._policies.weighing(near, by_hand),
            "carried": self._carried.taken(),
            "partly": _partly(inputs, still),
            "one_sample": self._same.told(self._model(), inputs, further, still, loaded=loaded),
            "joined": "more than one term" if joined(near.root) else "",
            "labelled": self._labelled(inputs, still),
            "unlabelled": unlabelled(self._latest, still),
            "divided": divided_by(near),
            "weightless": "0" if weightless(near.root) else "",
            "each": self._told_apart(near, inputs),
            "held_rows": self._held_rows.look(near),
            "optimistic": optimistic(near),
            **ends(near, still),
        }

    def _told_apart(self, near: Near, inputs: list[Tensor]) -> str:
        """The shape of what a loader gave for each sample, where that is all that a loss compares."""
        targets, rows = list(near.targets.values()), [len(x) for x in inputs[:1] if x.dim()]
        if not targets or not rows or not rows[0] or is_its_own(near) or joined(near.root):
            return ""
        if any(not t.dim() or len(t) % rows[0] for t in targets):
            return ""
        sizes = {t.numel() for t in targets}
        given = [t for batch in self._loaded.batches for t in batch[1:] if t.numel() in sizes]
        return str(list(targets[0].shape)) if set(weighed(targets)) <= set(weighed(given)) else ""

    @property
    def _latest(self) -> Sequence[Tensor]:
        """What the last batch holds, inputs first."""
        return self._loaded.batches[-1] if self._loaded.batches else ()

    def _labelled(self, inputs: list[Tensor], still: list[Tensor]) -> str:
        """What a loader gave beside the inputs and the loss compares, where it is less than these."""
        fewer = [given for given in self._latest[1:] if inputs and given.numel() < inputs[0].numel()]
        return next((f"{list(given.shape)}" for given in fewer if is_among(given, still)), "")

    def _has_loaded(self, inputs: list[Tensor]) -> bool:
        """Whether a loader gave what looks like what the model was called on."""
        shapes = {given.shape for given in inputs}
        return any(batch[0].shape in shapes for batch in self._loaded.batches if batch)

    def _cut(self, taken: list[Tensor]) -> str:
        """Where one of these is a batch's inputs, viewed with other rows than samples."""
        for given in self._latest[:1]:
            for view in taken:
                if _cuts(given, view) and weighed([given]) == weighed([view]):
                    return f"{list(given.shape)} as {list(view.shape)}"
        return ""


def _remembers(model: nn.Module | None) -> bool:
    """Whether a model may keep what it was called on: parts for sequences, or tensors of its own."""
    return model is None or any(map(_keeps, model.modules()))


def _keeps(module: nn.Module) -> bool:
    if isinstance(module, nn.RNNBase | nn.RNNCellBase):
        return True
    buffers = () if isinstance(module, _NormBase) else module.buffers(recurse=False)
    own = (value for name, value in vars(module).items() if not name.startswith("_"))
    return any(tensors(each) for each in (*own, *buffers) if not isinstance(each, nn.Module))


def _is_finite(loss: Tensor) -> bool:
    """Whether what it was made of tells anything; of broken numbers nothing is."""
    if loss.numel() == 1 and loss.is_floating_point():
        return math.isfinite(loss.item())  # many times quicker
    return bool(loss.detach().isfinite().all())


def _following(number: int) -> int:
    """The number of the first backward from here on that is looked at."""
    power = 1 << (number.bit_length() - 1 & ~1) if number else 0
    return number if number < FIRST or number - power < AGAIN else 4 * power


def _partly(inputs: Sequence[Tensor], targets: Sequence[Tensor]) -> str:
    """How few rows of the inputs have a target, in words; empty where all have."""
    sizes = [(t.size(0), x.size(0)) for t in targets for x in inputs[:1] if t.dim() and x.dim()]
    return next((f"{few} of {all_}" for few, all_ in sizes if few < all_), "")


def _cuts(given: Tensor, view: Tensor) -> bool:
    """Whether rows of other sizes than samples, or parts of them along whole axes, came of a view."""
    same = given.dim() > 2 and view.dim() > 1 and given.numel() == view.numel()  # noqa: PLR2004  images
    if not same or not given.numel() or view.shape[0] == given.shape[0]:
        return False
    parts = {given.shape[axis:].numel() for axis in range(1, given.dim() + 1)}
    return view.numel() // view.shape[0] not in parts
