"""What collecting recipes costs an item, beyond importing torch and the user's modules.

    python tests/benchmarks/collection.py [--recipes 100] [--rounds 5]

Two files are collected: one recipe with many parameters, and many recipes without. Counted is the time
in our part of pytest's collection (making a recipe's variants, and its collector's items), an item;
beside it the same for as many ordinary parametrised tests, which is pytest's own price, and the whole
collection an item, which holds what pytest and other plugins do with every item afterwards.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
from collections.abc import Generator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

import pytest

from pytest_dlcheck.plugin.collect import RecipeCollector
from pytest_dlcheck.recipe import recipe_tag

HEAD = "import pytest\nfrom pytest_dlcheck import recipe\n\n"
PARAMETRISED = (
    HEAD
    + """
@pytest.mark.dlcheck(steps=50)
@pytest.mark.parametrize("width", range({recipes}))
@recipe
def net(width):
    raise AssertionError("never built")
"""
)
PLAIN = (
    HEAD
    + """
@pytest.mark.parametrize("n", range({items}))
def test_plain(n):
    pass
"""
)


class Watch:
    """A pytest plugin that clocks collection."""

    def __init__(self) -> None:
        self.ours = self.whole = 0.0
        self.items = 0

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_pycollect_makeitem(self, name: str, obj: object) -> Generator[None, Any, Any]:
        """Variants of a recipe, or of the plain test."""
        if recipe_tag(obj) is None and name != "test_plain":
            return (yield)
        began = process_time()
        try:
            return (yield)
        finally:
            self.ours += process_time() - began

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Generator[None, Any, Any]:
        """The items of a recipe."""
        began = process_time()
        try:
            return (yield)
        finally:
            if isinstance(collector, RecipeCollector):
                self.ours += process_time() - began

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self) -> Generator[None, Any, Any]:
        """Everything."""
        began = perf_counter()
        try:
            return (yield)
        finally:
            self.whole = perf_counter() - began

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """How many there are."""
        self.items = len(session.items)


def collect(path: Path) -> Watch:
    """Collect one file."""
    watch = Watch()
    gc.collect()
    with contextlib.redirect_stdout(io.StringIO()) as output:
        code = pytest.main(
            [
                "--dlcheck",
                "--collect-only",
                "-qq",
                "-p",
                "no:cacheprovider",
                "-p",
                "no:randomly",
                str(path),
            ],
            plugins=[watch],
        )
    if code or not watch.items:
        raise SystemExit(output.getvalue()[-2_000:])
    return watch


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipes", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pytest.ini").write_text("[pytest]\n")
        first, second, third = (folder / f"test_{kind}.py" for kind in ("one", "many", "plain"))
        first.write_text(PARAMETRISED.format(recipes=options.recipes))
        recipes = "\n".join(
            f"@recipe\ndef net_{i}():\n    raise AssertionError\n" for i in range(options.recipes)
        )
        second.write_text(HEAD + recipes)
        third.write_text(PLAIN.format(items=collect(first).items))
        files = {
            f"one recipe, {options.recipes} parameters": first,
            f"{options.recipes} recipes": second,
            "ordinary parametrised test": third,
        }
        rounds = [{title: collect(path) for title, path in files.items()} for _ in range(options.rounds)]
    print("| collected | items | our part, an item (CPU) | all collection, an item (wall) |")
    print("|---|---|---|---|")
    for title in files:
        found = [watches[title] for watches in rounds]
        ours = median(w.ours / w.items for w in found)
        whole = median(w.whole / w.items for w in found)
        print(f"| {title} | {found[0].items} | {1e6 * ours:.0f} µs | {1e6 * whole:.0f} µs |")


if __name__ == "__main__":
    main()
