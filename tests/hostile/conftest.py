"""A bad recipe beside a healthy one: the bad one is told in words, the healthy one goes on."""

from __future__ import annotations

import re
from textwrap import indent

import pytest


class Patient:
    """A project with one bad recipe, ``bad``, between two healthy ones."""

    def __init__(self, project):
        self.project = project

    def error(self, body: str, *args: str) -> str:
        """What is said of a recipe that cannot be run: once in full, else as a consequence.

        Args:
            body: the factory's body.
            args: options for pytest.
        """
        result = self.examined(body, *args)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        first, *rest = re.split(r"^_+ bad::\w+ _+$", failures(result), flags=re.MULTILINE)[1:]
        told = r"\nthe recipe itself does not run, as told at \w+: "
        assert all(re.match(told, other) for other in rest), rest
        return first.strip()

    def trained(self, body: str, *args: str) -> pytest.RunResult:
        """A recipe that must train: nothing may fail."""
        result = self.examined(body, *args)
        assert result.ret == 0, result.stdout.str()
        return result

    def examined(self, body: str, *args: str) -> pytest.RunResult:
        """Run all three recipes; the healthy ones must pass by all checks."""
        self.project.recipes(
            "@recipe\ndef before():\n    return made()\n\n"
            f"@recipe\ndef bad():\n{indent(body, '    ')}\n\n"
            "@recipe\ndef behind():\n    return made()\n"
        )
        result = self.project.check("-v", *args)
        text = result.stdout.str()
        assert "INTERNALERROR" not in text
        assert "pytest_dlcheck/" not in text.replace(str(self.project.path), ""), text
        for name in ("before", "behind"):
            assert len(re.findall(rf"::{name}::\w+ PASSED", text)) == 4, text
        return result


def failures(result: pytest.RunResult) -> str:
    """The section of the failures."""
    text = result.stdout.str()
    return text.partition("= FAILURES =")[2].partition("= dlcheck =")[0]


@pytest.fixture
def patient(project):
    """A project to put a bad recipe into."""
    return Patient(project)
