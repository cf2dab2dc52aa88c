"""What a clinical case is: a planted fault, its healthy twin, and who must find it where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from pytest_dlcheck import Recipe

Factory = Callable[[], Recipe]
Finding = Literal["failure", "advice"]


@dataclass(frozen=True)
class Case:
    """A planted fault.

    Attributes:
        name: what is wrong, as a phrase.
        healthy: the factory without the fault.
        sick: the factory with the fault and no other difference.
        checks: the checks of which one must name the fault as a first cause.
        site: part of the place that must be named, in a suspect's site or finding or in the cause.
        steps: steps of the ``train`` trial; fewer than the example's own where the fault shows early.
        finding: ``advice`` where the same could be on purpose, so that failing would be a false alarm.
    """

    name: str
    healthy: Factory
    sick: Factory
    checks: tuple[str, ...]
    site: str
    steps: int
    finding: Finding

    @property
    def split(self) -> Literal["dev", "test"]:
        """``dev`` cases may be looked at while tuning; ``test`` cases are only measured."""
        return "dev" if int.from_bytes(sha256(self.name.encode()).digest()[:2]) % 2 else "test"


def fault(
    healthy: Factory, *checks: str, site: str, steps: int = 50, finding: Finding = "failure"
) -> Callable[[Callable[[Recipe], Recipe]], Case]:
    """Make a case of a function that plants a fault in a healthy recipe.

    Args:
        healthy: the factory of the healthy recipe.
        checks: who may find it.
        site: part of the place that must be named.
        steps: steps of the ``train`` trial.
        finding: what is to be raised.
    """

    def case(plant: Callable[[Recipe], Recipe]) -> Case:
        name = plant.__name__.replace("_", " ")
        return Case(name, healthy, lambda: plant(healthy()), checks, site, steps, finding)

    return case
