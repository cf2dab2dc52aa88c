"""What stands in the brackets behind a name is told from bytecode; what is worked out there is not."""

import dis

import pytest

from pytest_dlcheck.run.code.subscripts import picked_by, stored_in


def local(y, mask):
    return y[mask] == 1


def attributes(self):
    return self.data.y[self.data.val_mask]


def word(y, parts):
    return y[parts["valid"]] + 1


def several(found, y, parts):
    return [found[each] == y[each] for each in parts]


def written(y, mask):
    y[mask] = 0
    return y


def worked_out(y, mask):
    return y[~mask], y[mask.nonzero()], y[3], mask[y]


def codes(function):
    yield function.__code__
    yield from (each for each in function.__code__.co_consts if hasattr(each, "co_code"))


@pytest.mark.parametrize(
    ("function", "picked"),
    [
        (local, ["mask"]),
        (attributes, ["val_mask"]),
        (word, ["valid"]),
        (several, ["each"]),
        (written, []),
        (worked_out, []),
    ],
)
def test_names_and_words_in_brackets(function, picked):
    lines = [line for code in codes(function) for line in dis.get_instructions(code)]
    assert list(picked_by(lines, "y")) == picked


def unpacked(found):
    y, mask = found
    return y[mask]


@pytest.mark.parametrize(("function", "expected"), [(unpacked, True), (local, False), (written, False)])
def test_a_name_is_assigned_to_or_what_it_holds_is_written_to(function, expected):
    lines = list(dis.get_instructions(function))
    assert stored_in(lines, "y") is expected
