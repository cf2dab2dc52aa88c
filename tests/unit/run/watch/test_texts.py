"""A held-out text that is trained on is told from one that repeats what is."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch

from pytest_dlcheck.run.watch.batches.texts import LOOKS, Texts
from pytest_dlcheck.run.watch.batches.windows import windows_of

STEPS = 24


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def _drawn(text, count=64):
    begins = torch.randint(0, len(text) - STEPS, (count,))
    return torch.stack([text[i : i + STEPS] for i in begins])


def _trained(text):
    return [SimpleNamespace(windows=windows_of(_drawn(text))) for _ in range(12)]


def _looked(trained, asked, **variables):
    """What is told where a function has these variables."""
    texts, made = Texts(), "".join(f"    {name} = given['{name}']\n" for name in variables)
    space = {"sys": sys}
    exec(f"def loop(given):\n{made}    return look(sys._getframe())", space)

    def look(frame):
        for _ in range(LOOKS[0]):
            texts.is_evaluated(frame, asked, trained)
        return texts.row()

    space["look"] = look
    return space["loop"](variables)


def _text(words=3000, kinds=40):
    return torch.randint(0, kinds, (words,))


def test_windows_of_the_whole_text_are_told():
    ids = _text()
    row = _looked(_trained(ids), _drawn(ids[2500:]), ids=ids, val_ids=ids[2500:].clone())
    assert row.text("text") == "val_ids"
    assert row.integer("text_windows") == 768
    assert 80 < row.integer("text_only") < 180


def test_windows_of_the_other_part_are_none():
    ids = _text()
    train, val = ids[:2500], ids[2500:]
    row = _looked(_trained(train), _drawn(val), ids=ids, train=train, val=val)
    assert row.text("text") == "val"
    assert row.integer("text_only") == 0


def test_a_text_that_repeats_itself_is_none():
    """Half of what is trained on stands in the held-out part too, in another order or again."""
    val = _text(1600)
    parts = val.split(200)
    for train in (torch.cat([*parts[::-1], _text(1600)]), torch.cat([val, val, _text(3200)])):
        row = _looked(_trained(train), _drawn(val), train=train, val=val)
        assert row.text("text") == "val"
        assert row.integer("text_only") == 0


def test_where_the_training_text_is_not_seen_nothing_is_told():
    """The held-out part repeats some of it."""
    ids = _text()
    trained, asked, val = _trained(ids), _drawn(ids[:900]), ids[:900].clone()
    del ids
    assert not _looked(trained, asked, val=val).text("text")


@pytest.mark.parametrize("asked", [torch.rand(8, STEPS), torch.ones(8, 4, dtype=torch.long), None])
def test_what_are_no_words_is_not_looked_up(asked):
    ids = _text()
    assert not _looked(_trained(ids), asked, ids=ids, val=ids[2500:].clone()).text("text")
