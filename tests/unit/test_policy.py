"""The policy: merged key by key, the nearest wins, and errors that teach."""

from __future__ import annotations

import pytest

from pytest_dlcheck.policy import Policy, PolicyError, merge


def test_nothing_said_is_the_default():
    assert merge([], {}) == Policy()


def test_the_nearest_wins_key_by_key_and_the_command_line_over_all():
    nearest, middle, farthest = {"steps": 1}, {"steps": 2, "seeds": 2}, {"steps": 3, "timeout": 3}
    merged = merge([nearest, middle, farthest], {})
    assert (merged.steps, merged.seeds, merged.timeout) == (1, 2, 3.0)
    assert merge([nearest, middle], {"steps": 9}).steps == 9


def test_one_name_may_stand_alone():
    assert merge([{"select": "dynamics"}], {}).select == ("dynamics",)


def test_none_takes_a_limit_away():
    assert merge([{"timeout": None, "select": None}, {"timeout": 3, "select": ["a"]}], {}) == Policy()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"step": 3}, "unknown policy 'step', did you mean 'steps'"),
        ({"qqqq": 3}, r"unknown policy 'qqqq' \(valid: steps, seeds"),
        ({"steps": 0}, "steps=0"),
        ({"steps": 1.5}, "steps=1.5"),
        ({"seeds": False}, "seeds=False"),
        ({"timeout": 0}, "timeout=0"),
        ({"timeout": float("nan")}, "timeout=nan"),
        ({"timeout": True}, "timeout=True"),
        ({"select": [1]}, r"select=\[1\]"),
        ({"ignore": ["a"]}, "lacks its reasons"),
        ({"ignore": {"a": None}}, "wants its reason"),
        ({"expected": {"a": "  "}}, "wants its reason"),
        ({"on_inconclusive": True}, "neither"),
        ({"device": None}, "no name of a device"),
        ({"throughput": 3}, "throughput gates are not available yet"),
    ],
)
def test_what_is_impossible_is_said(wrong, said):
    with pytest.raises(PolicyError, match=said):
        merge([wrong], {})
