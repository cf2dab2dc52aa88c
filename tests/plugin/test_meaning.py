"""Whether two versions of a test file say the same of one recipe."""

from __future__ import annotations

import pytest

from pytest_dlcheck.plugin.meaning import names_in, reads_otherwise

FILE = '''\
"""A file."""
import pytest
from toy import Net
from toy import helpers

RATE = 0.1
OTHER = 3

def optimizer(model):
    return helpers.sgd(model, lr=RATE)

@pytest.fixture
def data():
    return 1

@recipe
@pytest.mark.dlcheck(steps=3)
def small(data):
    """A recipe."""
    model = Net()
    return model, optimizer(model)

def test_other():
    assert OTHER
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("steps=3", "steps=4, accuracy=0.9"),
        ("OTHER = 3", "OTHER = 4"),
        ("assert OTHER", "assert not OTHER"),
        ("A recipe.", "Another."),
        ("A file.", "A longer text."),
        ("RATE = 0.1", "RATE = 0.1  # as it was"),
        ("OTHER = 3", "pytestmark = pytest.mark.dlcheck(seeds=3)"),
        ("import pytest\n", "import pytest\nimport os\n"),
        ("def test_other", "def test_more():\n    pass\n\ndef test_other"),
    ],
)
def test_what_the_recipe_does_not_use_says_nothing(tmp_path, old, new):
    assert not differ(tmp_path, FILE, FILE.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("RATE = 0.1", "RATE = 0.2"),
        ("lr=RATE", "lr=2 * RATE"),
        ("return 1", "return 2"),
        ("Net()", "Net(3)"),
        ("from toy import Net", "from toy import Other as Net"),
        ("RATE = 0.1", "RATE = 0.1\nhelpers.warm_up()"),
        ("RATE = 0.1", "RATE, UNUSED = 0.1, 0"),
    ],
)
def test_what_it_uses_over_any_number_of_steps_does(tmp_path, old, new):
    assert differ(tmp_path, FILE, FILE.replace(old, new))


def test_a_fixture_may_have_a_name_of_its_own(tmp_path):
    named = FILE.replace("fixture\ndef data", "fixture(name='data')\ndef _made")
    assert differ(tmp_path, named, named.replace("return 1", "return 2"))


@pytest.mark.parametrize(
    ("test", "call"),
    [("from test_kit import build as made", "made()"), ("import test_kit", "test_kit.build()")],
)
def test_names_are_followed_into_another_test_file(tmp_path, test, call):
    file = tmp_path / "test_it.py"
    file.write_text(f"{test}\n@recipe\ndef small():\n    return {call}\n")
    assert "build" in names_in(file, ["small"])


@pytest.mark.parametrize("other", [None, "def ("])
def test_a_file_that_is_new_or_cannot_be_read_differs_in_nothing(tmp_path, other):
    assert not differ(tmp_path, FILE, other)


def test_names_are_those_that_a_file_uses_for_it(tmp_path):
    file = tmp_path / "test_it.py"
    file.write_text(FILE)
    assert {"small", "data", "Net", "optimizer", "helpers", "RATE"} <= names_in(file, ["small"])
    assert not {"OTHER", "test_other"} & names_in(file, ["small"])


def differ(folder, text, other):
    one, two = folder / "one.py", folder / "two.py"
    one.write_text(text)
    if other is not None:
        two.write_text(other)
    return reads_otherwise(one, two, ["small"])
