"""What a function makes of a variable but its number is found in its source."""

import inspect

import pytest

from pytest_dlcheck.run.code.read_as_numbers import is_only_read


def read(total, history):
    history.append(total.item())
    print(f"{total:.3f}", float(total))  # noqa: T201  as loops do
    if total < 1:
        total.detach()
    return inspect.currentframe()


def propagated_at_times(total, early):
    if not early:
        total.backward()
    return inspect.currentframe()


def handed_on(total, history):
    history.append(total)
    return inspect.currentframe()


def chosen(total, part):
    _ = total if part is None else part
    return inspect.currentframe()


def seen_from_within(total, part):
    def later():
        total.backward()

    return inspect.currentframe() if part is not None else later


def read_by_no_name(total, part):
    locals()[part] = 1
    return inspect.currentframe()


def added(total, part):
    _ = part + 2 * total
    return inspect.currentframe()


def test_numbers_are_told():
    assert is_only_read(read(FakeNumber(), []), "total")
    assert is_only_read(added(1, 1), "total", or_added=True)
    assert is_only_read(handed_on(1, []), "not there")


@pytest.mark.parametrize(
    "function", [propagated_at_times, handed_on, chosen, seen_from_within, read_by_no_name, added]
)
def test_anything_else_may_be_made_of_it(function):
    given = [] if function is handed_on else "x" if function is read_by_no_name else 1
    assert not is_only_read(function(1, given), "total")


def test_a_source_that_is_not_there_tells_nothing():
    known = {}
    exec("import inspect\ntotal = 1\nframe = inspect.currentframe()", known)
    assert not is_only_read(known["frame"], "total")


class FakeNumber(float):
    def item(self):
        return 0.0

    def detach(self):
        return self
