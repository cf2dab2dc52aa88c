"""One recipe built several times over, so that no single layout of memory stands for all of them.

Where tensors come to lie decides which of them drive each other out of the caches, for as long as a
process lives (Mytkowicz et al. 2009; Curtsinger and Berger 2013). On two shared cores the ratio of two
processes that ran the same small network in turns had a standard deviation of 7 % from pair to pair,
and of 2.3 % where each process went round five copies of it (10 pairs each, interleaved).
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from pytest_dlcheck.run.bench.memory import WARM, resident_bytes
from pytest_dlcheck.run.bench.surroundings import compilations
from pytest_dlcheck.run.bench.timing import Step

MOST = 5
"""Copies of the recipe, the first one included."""
SECONDS = 3.0
"""That building further ones may take: as long as timing takes."""
BYTES = 256 << 20
"""Growth of the process from one copy to the next beyond which there is none after it: of so much memory
little lies in the caches anyway."""


def several(first: Step, another: Callable[[], Step]) -> list[Step]:
    """The step, and the same step of further copies of the recipe, as many as are cheap.

    There are none where something was compiled, which would be done again for each of them.

    Args:
        first: of the copy that there is, warm.
        another: builds one more copy, and returns its step.

    Returns:
        At least the first; all of them warm.
    """
    steps, began = [first], perf_counter()
    while len(steps) < MOST and not compilations():
        before, begun = resident_bytes(), perf_counter()
        try:
            step = another()
            for _ in range(WARM):
                step()
        except Exception:  # noqa: BLE001  a recipe that can be built only once is timed as it is
            break
        steps.append(step)
        after, now = resident_bytes(), perf_counter()
        grown = 0 if before is None or after is None else after - before
        if grown > BYTES or (now - began) + (now - begun) > SECONDS:
            break
    return steps
