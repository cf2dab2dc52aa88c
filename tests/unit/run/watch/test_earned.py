"""Weights are known for what a loop calls earned, and for which way they follow it."""

import inspect

import pytest
import torch

from pytest_dlcheck.run.watch.losses import earned as room
from pytest_dlcheck.run.watch.losses.earned import earned

DRAWN = torch.randn(40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
FALLING = torch.linspace(1, 0, 40, dtype=torch.float64) ** 1.2


def frame_of_the_test():
    frame = inspect.currentframe()
    while frame.f_code.co_filename != "a loop":
        frame = frame.f_back
    return frame


@pytest.fixture(autouse=True)
def the_loop_is_here(monkeypatch):
    """Tests are no part of what is neither torch nor the watch, by their place."""
    monkeypatch.setattr(room, "frame_of_the_loop", frame_of_the_test)


def told(weights, surprises=(), **variables):
    """As a loop sees it whose variables these are."""
    code = compile("earned(weights, surprises)", "a loop", "eval")
    known = {**variables, "earned": earned, "weights": weights, "surprises": surprises}
    return eval(code, known)


@pytest.mark.parametrize(
    ("weights", "variables", "name", "follows"),
    [
        (DRAWN, {"rewards": DRAWN.tolist()}, "rewards", 1),
        (-2 * DRAWN + 3, {"rewards": DRAWN.numpy()}, "rewards", -1),
        (FALLING - 0.3, {"returns": FALLING}, "returns", 1),
        (FALLING, {"returns": FALLING.flip(0)}, "", 0),
        (-FALLING, {"returns": FALLING}, "", 0),
        (DRAWN, {"rewards": DRAWN[:20]}, "", 0),
        (DRAWN, {"rewards": torch.ones(40)}, "", 0),
        (DRAWN, {"neg_returns": DRAWN}, "", 0),
        (DRAWN + 0.01 * DRAWN.roll(1), {"rewards": DRAWN}, "", 0),
        (DRAWN, {"rewards": ["a"] * 40}, "", 0),
    ],
)
def test_the_way_is_that_of_the_variable(weights, variables, name, follows):
    found = told(weights, **variables)
    assert found.name == name
    assert (found.way > 0) - (found.way < 0) == follows


SAID = torch.randn(40, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
HEARD = (torch.arange(40) % 3 > 0).double()


@pytest.mark.parametrize(
    ("weights", "variables", "expected"),
    [
        (DRAWN - SAID, {"batch_returns": DRAWN, "values": SAID}, ("batch_returns", 1, "earned")),
        (SAID - DRAWN, {"returns": list(DRAWN.view(8, 5)), "v": SAID}, ("returns", -1, "earned")),
        (DRAWN - SAID, {"returns": DRAWN, "others": SAID}, ("", 0, "")),
        ((DRAWN - 0.2) * HEARD, {"reward_to_go": DRAWN.view(5, 8)}, ("reward_to_go", 1, "earned")),
        ((DRAWN - 0.2) * HEARD, {"returns": SAID}, ("", 0, "")),
        (DRAWN, {"G": DRAWN + 1, "adv": DRAWN}, ("G", 1, "earned")),
        (DRAWN, {"G": DRAWN + 1}, ("G", 1, "perhaps")),
        (DRAWN, {"G": -DRAWN, "adv": DRAWN}, ("G", -1, "perhaps")),
        (DRAWN, {"advantage": DRAWN}, ("advantage", 1, "perhaps")),
        (DRAWN, {"rewards": DRAWN, "tour_lengths": 2 * DRAWN}, ("tour_lengths", 1, "paid")),
        (DRAWN - SAID, {"costs": DRAWN, "values": SAID}, ("costs", 1, "paid")),
        (DRAWN, {"returns": DRAWN, "rewards": -DRAWN}, ("returns", 1, "perhaps")),
        (DRAWN, {"opponent_rewards": DRAWN, "reward": DRAWN}, ("reward", 1, "perhaps")),
    ],
)
def test_what_is_expected_masked_or_in_doubt_is_known(weights, variables, expected):
    assert told(weights, **variables)[:3] == expected


def test_a_critic_says_what_was_expected_where_its_target_is_what_was_earned():
    critic = [room.Surprise(DRAWN, SAID)]
    assert told(SAID - DRAWN, critic, returns=DRAWN)[:3] == ("returns", -1, "earned")
    assert told(SAID - DRAWN, critic, returns=DRAWN.roll(1)) == room.Known()


def test_what_the_loop_has_turned_itself_is_told_from_a_critic_the_wrong_way_round():
    assert told(1 - DRAWN, rewards=DRAWN).is_turned
    assert not told(DRAWN - 1, rewards=DRAWN).is_turned
    assert not told(SAID - DRAWN, returns=DRAWN, values=SAID).is_turned


ORDER = torch.randperm(100, generator=torch.Generator().manual_seed(1))[:40]
WHOLE = torch.randn(100, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@pytest.mark.parametrize(
    ("index", "way"),
    [
        (ORDER, -1),
        (ORDER.numpy(), -1),
        (torch.randint(100, (40,), generator=torch.Generator().manual_seed(3)), 0),
        (ORDER.float(), 0),
        (ORDER + 80, 0),
        (ORDER - 1, 0),
    ],
    ids=["tensor", "array", "the same again", "no index", "beyond the end", "before the start"],
)
def test_what_the_loop_picks_of_its_returns_by_an_index_is_known(index, way):
    assert told(-WHOLE[ORDER], returns=WHOLE, index=index).way == way
    assert told(-WHOLE[ORDER], returns=WHOLE.numpy(), index=index).way == way
