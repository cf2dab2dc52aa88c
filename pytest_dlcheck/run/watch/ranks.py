"""Whether the processes of a distributed training keep the same parameters."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.probes.batches import fingerprint
from pytest_dlcheck.run.sampling import TENSORS
from pytest_dlcheck.trace import Row

WITNESSES = 8
"""Parameters that are compared."""
ALIKE = 1e-5
"""Relative difference (ratio) up to which sums over the same numbers may differ."""

Prints = dict[int, tuple[Tensor, Tensor]]


class Rank:
    """Fingerprints of one optimizer's parameters and gradients, before sampled steps.

    Args:
        parameters: the optimizer's.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        trained = [p for p in parameters if p.requires_grad]
        self._witnesses = trained[:: max(1, len(trained) // WITNESSES)][:WITNESSES]
        self._shapes = [list(p.shape) for p in trained]
        self._is_sharded = any(map(_is_sharded, trained))
        self._prints: Prints = {}

    def before_step(self, step: int) -> None:
        """Weigh parameters and gradients."""
        if step in TENSORS and not self._is_sharded:
            self._weigh(step)

    def end(self, step: int) -> None:
        """Weigh once more, and let the parameters go."""
        if self._witnesses and not self._is_sharded:
            self._weigh(step)
        self._witnesses = []

    def notes(self) -> dict[str, Any]:
        """What is left for the others, as JSON."""
        prints = {
            str(step): [parameters.tolist(), gradients.tolist()]
            for step, (parameters, gradients) in self._prints.items()
        }
        return {"shapes": self._shapes, "sharded": self._is_sharded, "prints": prints}

    def _weigh(self, step: int) -> None:
        none = torch.zeros(())
        weights = [fingerprint(p).cpu() for p in self._witnesses]
        grads = [none if p.grad is None else fingerprint(p.grad).cpu() for p in self._witnesses]
        if weights:
            self._prints[step] = torch.stack(weights), torch.stack(grads)


def compared(own: Mapping[str, Any], others: Sequence[Any], *, replicated: bool, asked: int) -> Row:
    """How the ranks' notes on one optimizer differ.

    Args:
        own: rank 0's.
        others: those of other ranks.
        replicated: whether DistributedDataParallel holds the parameters.
        asked: ranks that there are.
    """
    alike = [notes for notes in others if isinstance(notes, dict) and _is_comparable(own, notes)]
    steps = sorted(int(step) for step in own["prints"] if all(step in n["prints"] for n in alike))
    drifted = [s for s in steps if any(_differ(own, notes, s, 0) for notes in alike)]
    same = [s for s in steps[:-1] if not any(_differ(own, notes, s, 1) for notes in alike)]
    return Row(
        asked=asked,
        ranks=1 + len(alike),
        sharded=bool(own["sharded"]),
        replicated=replicated,
        compared=len(steps) if alike else 0,
        drifted=len(drifted) if alike else 0,
        drifted_first=drifted[0] if drifted else None,
        drifted_last=bool(drifted) and drifted[-1] == steps[-1],
        gradients_alike=len(same) if alike else 0,
    )


def is_replicated(parameters: set[int], modules: Sequence[nn.Module]) -> bool:
    """Whether a DistributedDataParallel holds any of these parameters."""
    found = sys.modules.get("torch.nn.parallel.distributed")
    kind = getattr(found, "DistributedDataParallel", None)
    return kind is not None and any(
        isinstance(module, kind) and any(id(p) in parameters for p in module.parameters())
        for module in modules
    )


def _is_comparable(own: Mapping[str, Any], notes: Mapping[str, Any]) -> bool:
    return notes.get("shapes") == own["shapes"] and not notes.get("sharded")


def _differ(own: Mapping[str, Any], notes: Mapping[str, Any], step: int, which: int) -> bool:
    pairs = zip(own["prints"][str(step)][which], notes["prints"][str(step)][which], strict=True)
    return not all(math.isclose(a, b, rel_tol=ALIKE, abs_tol=1e-7) for a, b in pairs)


def _is_sharded(parameter: nn.Parameter) -> bool:
    found = sys.modules.get("torch.distributed.tensor")
    kind = getattr(found, "DTensor", None)
    return (kind is not None and isinstance(parameter.data, kind)) or hasattr(
        parameter, "_is_flat_param"
    )
