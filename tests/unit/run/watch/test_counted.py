"""What is called an epoch is told by a variable's name, and what has a model of its own by another's."""

import inspect

import pytest

from pytest_dlcheck.run.watch.counted import Counted


def of(**variables):
    """What is counted in a function that has these variables."""
    code = "def step(ask, {}):\n    return ask()".format(", ".join(variables))
    room = {}
    exec(code, room)
    return room["step"](lambda: Counted.of(inspect.currentframe()), **variables)


@pytest.mark.parametrize(
    "name", ["epoch", "_epoch", "ep", "epoch_idx", "current_epoch", "curEpoch", "iepoch"]
)
def test_an_epoch_is_followed_by_the_next(name):
    assert of(**{name: 4}).is_epoch_after(of(**{name: 3}))
    assert not of(**{name: 3}).is_epoch_after(of(**{name: 3}))
    assert not of(**{name: 5}).is_epoch_after(of(**{name: 3}))


@pytest.mark.parametrize(
    "name", ["epochs", "num_epochs", "best_epoch", "start_epoch", "i", "step", "episode"]
)
def test_other_counters_are_no_epochs(name):
    assert not of(**{name: 4}).is_epoch_after(of(**{name: 3}))


@pytest.mark.parametrize("name", ["seed", "fold_id", "n_trial", "roundIndex", "client", "member"])
def test_beside_what_has_a_model_of_its_own_it_says_nothing(name):
    assert not of(**{"epoch": 4, name: 2}).is_epoch_after(of(**{"epoch": 3, name: 1}))
    assert of(**{"epoch": 4, name: 2}).is_epoch_after(of(**{"epoch": 3, name: 2}))


def test_all_that_are_called_so_must_go_on():
    assert not of(epoch=1, current_epoch=0).is_epoch_after(of(epoch=0, current_epoch=0))
    assert not of(epoch=True).is_epoch_after(of(epoch=False))
