"""numpy's global generator: drawn from aside to the last number, and seen to draw."""

# ruff: noqa: NPY002, SLF001  it is the global generator that is tested

from __future__ import annotations

import pickle

import numpy as np
import pytest

from pytest_dlcheck.run.world import numpy_draws
from pytest_dlcheck.run.world.seeding import seeded


@pytest.fixture(params=["its own", "another kind"], autouse=True)
def generator(request):
    held = np.random.get_bit_generator(), np.random.get_state(legacy=False)
    if request.param == "another kind":
        np.random.set_bit_generator(np.random.PCG64(5))
    else:
        np.random.seed(5)
    yield
    np.random.set_bit_generator(held[0])
    np.random.set_state(held[1])


def numbers():
    return [*np.random.random(3), *np.random.normal(size=3), *np.random.randint(0, 1000, 3)]


def nothing():
    return None


def one_normal():
    return np.random.normal()  # the generator makes two, and keeps one of them


def kept_normal():
    """Uses the one that was kept, and draws nothing."""
    return np.random.normal()


BEFORE = [nothing, numbers, one_normal]


@pytest.mark.parametrize("begin", BEFORE)
@pytest.mark.parametrize("draw", [nothing, numbers, one_normal])
def test_what_is_drawn_aside_leaves_the_generator_where_it_stood(begin, draw):
    begin()
    held = np.random.get_state(legacy=False)
    expected = numbers()
    np.random.set_state(held)
    for _ in range(2):
        with numpy_draws.aside():
            numpy_draws.seed(1)
            draw()
            with numpy_draws.aside():
                numpy_draws.seed(2)
                draw()
    assert numbers() == expected


def test_aside_the_same_numbers_come_after_the_same_seed():
    found = []
    for _ in range(3):
        with numpy_draws.aside():
            numpy_draws.seed(7)
            found.append(numbers())
    if _is_own():
        np.random.seed(7)
        found.append(numbers())
    assert found == found[:1] * len(found)


def test_what_shares_numpys_generator_is_seeded_aside_and_goes_on_where_it_stood():
    sharing = np.random.Generator(np.random.get_bit_generator())
    np.random.normal()
    held = np.random.get_state(legacy=False)
    expected = sharing.random()
    np.random.set_state(held)
    found = []
    for _ in range(2):
        with numpy_draws.aside():
            numpy_draws.seed(7)
            found.append(sharing.random())
    assert found[0] == found[1] != expected
    assert sharing.random() == expected


def test_a_state_that_a_trial_sets_is_kept_with_its_normal_number():
    with seeded(3):
        one_normal()
        saved = np.random.get_state(legacy=False)
        expected = np.random.normal()
        numpy_draws.standing()
        np.random.set_state(saved)
        with numpy_draws.aside():
            np.random.normal()
        assert np.random.normal() == expected


@pytest.mark.parametrize("seed", [np.random.seed, np.random.mtrand._rand.seed])
def test_the_same_words_come_back_with_a_normal_number(seed):
    if not _is_own():
        pytest.skip("numpy seeds only its own kind")
    with seeded(3):
        seed(0)
        expected = np.random.normal(size=2)[1]
        with numpy_draws.aside():
            numpy_draws.seed(1)
        seed(0)
        np.random.normal()
        with numpy_draws.aside():
            numpy_draws.seed(1)
        assert np.random.normal() == expected


def test_a_kept_normal_number_at_words_that_kept_none_is_missed():
    if not _is_own():
        pytest.skip("numpy seeds only its own kind")
    np.random.seed(0)
    np.random.normal(size=2)
    numpy_draws.standing()
    np.random.seed(0)
    np.random.normal()
    stood = numpy_draws.standing()
    kept_normal()
    assert numpy_draws.standing() != stood


def test_what_sets_a_state_can_be_pickled_in_a_trial():
    with seeded(3):
        assert pickle.loads(pickle.dumps(np.random.set_state)) is not None


def test_nothing_is_written_where_other_words_lie(monkeypatch):
    held = np.random.get_state(legacy=False)
    expected = numbers()
    np.random.set_state(held)
    monkeypatch.setattr(numpy_draws, "_places", {})
    monkeypatch.setattr(numpy_draws, "_joined", lambda _words, _place: b"elsewhere")
    monkeypatch.setattr(numpy_draws.ctypes, "memmove", lambda *_: pytest.fail("written"))
    numpy_draws.seed(1)
    np.random.set_state(held)
    with numpy_draws.aside():
        numpy_draws.seed(1)
        with numpy_draws.aside():
            numbers()
    assert numbers() == expected


def test_after_an_error_too():
    held = numpy_draws.standing()
    with pytest.raises(ValueError, match="none"), numpy_draws.aside():
        np.random.normal("none")
    assert numpy_draws.standing() == held


@pytest.mark.parametrize("begin", [*BEFORE, lambda: numpy_draws.seed(3) if _is_own() else None])
@pytest.mark.parametrize("draw", [numbers, one_normal, np.random.random])
def test_what_draws_is_seen_and_what_does_not_is_not(begin, draw):
    begin()
    stood = numpy_draws.standing()
    assert numpy_draws.standing() == stood
    draw()
    assert numpy_draws.standing() != stood


def test_a_normal_number_that_was_kept_is_missed():
    one_normal()
    stood = numpy_draws.standing()
    kept_normal()
    assert numpy_draws.standing() != stood


def test_a_state_that_was_set_is_kept():
    one_normal()
    saved = np.random.get_state(legacy=False)
    expected = np.random.normal()
    numpy_draws.standing()
    np.random.mtrand._rand.set_state(saved)
    with numpy_draws.aside():
        np.random.normal()
    assert np.random.normal() == expected


def _is_own():
    return isinstance(np.random.get_bit_generator(), np.random.MT19937)


def test_it_reads_what_numpy_reads():
    if not _is_own():
        pytest.skip("only numpy's own kind is read")
    np.random.random(7)
    _, words, place, *_ = np.random.get_state()
    read = np.frombuffer(numpy_draws.standing(), np.uint32)
    assert (read[:-1] == words).all()
    assert read[-1] == place
