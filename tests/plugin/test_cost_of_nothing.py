"""Without ``--dlcheck`` the plugin loads nothing that is heavy."""

from __future__ import annotations

HEAVY = ("torch", "numpy", "scipy", "rich", "click")
TELL = """
import sys

def pytest_unconfigure():
    print("LOADED:", *sorted({name.partition('.')[0] for name in sys.modules} & set(HEAVY)))
"""
SUITE = "def test_ordinary():\n    pass\n"


def loaded(pytester, *args: str) -> set[str]:
    """The heavy packages that a pytest in a process of its own has loaded at its end."""
    pytester.makeconftest(f"HEAVY = {HEAVY}\n{TELL}")
    result = pytester.runpytest_subprocess("-s", *args)
    assert result.ret == 0, result.stdout.str()
    (line,) = (line for line in result.outlines if line.startswith("LOADED:"))
    return set(line.split()[1:])


def test_a_suite_without_recipes_loads_none_of_it(pytester):
    pytester.makepyfile(SUITE)
    others = loaded(pytester, "-p", "no:dlcheck", "-p", "no:randomly")
    assert loaded(pytester, "-p", "no:randomly") == others == set()


def test_declaring_recipes_without_dlcheck_loads_none_of_it(pytester):
    pytester.makepyfile(
        "from pytest_dlcheck import recipe\n\n@recipe\ndef mine():\n    pass\n\n" + SUITE
    )
    assert loaded(pytester, "-p", "no:randomly") == set()


def test_what_is_loaded_is_found_out(pytester):
    pytester.makepyfile(f"import numpy, rich, torch\n\n{SUITE}")
    assert {"numpy", "rich", "torch"} <= loaded(pytester)
