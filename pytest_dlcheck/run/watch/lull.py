"""The time in which one optimizer trains and nothing is due: what is heard is then for it alone."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from pytest_dlcheck.run.watch.strand import Strand


@dataclass(frozen=True, slots=True)
class Lull:
    """Between two looks, as long as the loop does nothing but train one model as before.

    Attributes:
        strand: what trains.
        model: its root.
        since: the number of backward passes when it began.
        until: the number of backward passes at which somebody wants to look again.
    """

    strand: Strand
    model: nn.Module
    since: int
    until: int
