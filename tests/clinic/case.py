"""What a clinical case is: a planted fault, its healthy twin, and who must find it where."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

from pytest_dlcheck import Recipe

Factory = Callable[[], Recipe]
Plant = Callable[[Recipe], Recipe]
Finding = Literal["failure", "advice", "either", "invisible"]


@dataclass(frozen=True)
class Case:
    """A planted fault.

    Attributes:
        name: what is wrong, as a phrase.
        sees: what people see who have it.
        healthy: the factory without the fault.
        sick: the factory with the fault and no other difference.
        checks: the checks of which one must name the fault as a first cause.
        site: places or words of which one must stand in the diagnosis.
        steps: steps of the ``train`` trial; fewer than the example's own where the fault shows early.
        finding: what is to be raised. ``advice``: the same could be on purpose, so that failing would
            be a false alarm. ``either``: a fault of degree, which may be advised on or fail.
            ``invisible``: no fault at all, or one that only a long training shows; nothing must fail.
        first_day: whether it was there, and was looked at, while the first checks were written.
    """

    name: str
    sees: str
    healthy: Factory
    sick: Factory
    checks: tuple[str, ...]
    site: tuple[str, ...]
    steps: int
    finding: Finding
    first_day: bool

    @property
    def split(self) -> Literal["dev", "test"]:
        """``dev`` cases may be looked at while tuning; ``test`` cases are only measured."""
        return "dev" if int.from_bytes(sha256(self.name.encode()).digest()[:2]) % 2 else "test"

    def names(self, text: str) -> bool:
        """Whether a diagnosis names the place or the cause."""
        return any(re.search(rf"(?<!\w){re.escape(s)}", text, re.IGNORECASE) for s in self.site)


FIRST_DAY = {"faults_contract", "faults_data", "faults_gradients", "faults_numbers"}


def fault(
    healthy: Factory,
    *checks: str,
    site: str | tuple[str, ...],
    sees: str = "",
    steps: int = 50,
    finding: Finding = "failure",
) -> Callable[[Plant], Case]:
    """Make a case of a function that plants a fault in a healthy recipe.

    Args:
        healthy: the factory of the healthy recipe.
        checks: who may find it.
        site: places or words of which one must be named.
        sees: what people see who have it.
        steps: steps of the ``train`` trial.
        finding: what is to be raised.
    """

    def case(plant: Plant) -> Case:
        name = plant.__name__.replace("_", " ")
        first_day = plant.__module__.rpartition(".")[2] in FIRST_DAY
        sites = (site,) if isinstance(site, str) else site
        return Case(
            name, sees, healthy, lambda: plant(healthy()), checks, sites, steps, finding, first_day
        )

    return case


@dataclass(frozen=True)
class Kind:
    """What a twin is: its architecture and its task."""

    architecture: str
    task: str


KINDS: dict[str, Kind] = {}
"""What each healthy twin is, by the name of its factory."""


def twin(architecture: str, task: str) -> Callable[[Factory], Factory]:
    """Say what a healthy recipe's factory builds."""

    def tell(factory: Factory) -> Factory:
        KINDS[factory.__name__] = Kind(architecture, task)
        return factory

    return tell


def become(model: Any, sick: type) -> None:
    """Make an object one of a subclass in which a line differs, with the parameters it has."""
    assert issubclass(sick, type(model))
    model.__class__ = sick
