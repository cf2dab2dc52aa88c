"""The tutorial shows what is printed: its recipe, broken as it says, is run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[1] / "docs" / "tutorial.md").read_text(encoding="utf-8")
CODE = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)[0]
FORWARD = "return self.head(self.encoder(images))"
ALL = "torch.optim.Adam(model.parameters(), lr=1e-3)"
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_python")]
pytest.importorskip("sklearn")


def shown(title: str) -> str:
    """What the tutorial says is printed, in a section."""
    section = TEXT.partition(f"\n## {title}")[2].partition("\n## ")[0]
    return _plain(re.findall(r"```\n(.*?)```", section, re.DOTALL)[0])


def printed(project, code: str) -> str:
    project.write({"test_it.py": code, "pytest.ini": "[pytest]\naddopts = -p no:randomly\n"})
    return _plain(project.check("-q").stdout.str())


def _plain(text: str) -> str:
    """Without line breaks, and without the fractions that another processor may round otherwise."""
    return re.sub(r"\d+\.\d+(e-\d+)?", "#", " ".join(text.split()))


def test_the_healthy_recipe_has_the_outcomes_that_are_shown(real_project):
    told = re.search(r"^([s.]+) +\[100%\]\n(\d+ passed, \d+ skipped)$", TEXT, re.MULTILINE)
    assert told is not None
    out = printed(real_project, CODE)
    assert f" {told[1]} [100%]" in f" {out}"
    assert told[2] in out


@pytest.mark.parametrize(
    ("title", "old", "new"),
    [
        ("Fault 1", FORWARD, "return self.head(self.encoder(images).detach())"),
        ("Fault 2", FORWARD, "return self.head(self.encoder(images)).softmax(1)"),
        ("Fault 3", ALL, "torch.optim.Adam(model.encoder.parameters(), lr=1e-3)"),
    ],
)
def test_each_fault_is_told_as_it_is_shown(real_project, title, old, new):
    assert new in TEXT
    assert old in CODE
    out = printed(real_project, CODE.replace(old, new))
    for part in shown(title).split(" ... "):
        name, _, told = part.partition(" ")
        assert name in out
        assert told in out
