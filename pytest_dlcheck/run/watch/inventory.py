"""What a watched training is made of: parameters, buffers, modules, and what it changed of them."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_dlcheck.run.probes.structure import StructureProbe
from pytest_dlcheck.trace import Row


class InventoryProbe(StructureProbe):
    """Fills ``parameters``, ``buffers`` and ``modules``: as of a recipe, but without a recipe."""

    channels = frozenset({"parameters", "buffers", "modules"})

    def filled(self) -> Mapping[str, tuple[Row, ...]]:
        """The facts."""
        return self.inventory()
