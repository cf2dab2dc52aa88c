"""The policy: merged key by key, the nearest wins, and errors that teach."""

from __future__ import annotations

import json

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
        ({"throughput": 0}, "throughput=0 is no number above 0"),
        ({"throughput": True, "latency": False}, "latency=False"),
        (
            {"throughput": {"floor": 3}},
            r"throughput=\{'floor': ...\} is unknown \(valid: at_least",
        ),
        ({"throughput": {"batch_size": [0]}}, "batch_size=0"),
        ({"accuracy": 95}, "accuracy=95 is no number above 0 and at most 1"),
        ({"accuracy": {"margin": 1}}, "accuracy margin=1 is no number from 0 to 1"),
        ({"accuracy": float("nan")}, "accuracy=nan"),
        ({"latency": float("inf")}, "latency=inf"),
        ({"peak_memory": "2 Gigs"}, "peak_memory='2 Gigs' is no size"),
        ({"metrics": {}}, "names no metric"),
        ({"metrics": ["f1"]}, "says no number to reach"),
        ({"metrics": {"f1": "about 3"}}, "write 0.8"),
        ({"metrics": {"f1": float("nan")}}, "metric f1=nan"),
        ({"epochs": 0}, "epochs=0"),
        ({"folds": 1.5}, "folds=1.5"),
        ({"full_steps": 3}, "unknown policy 'full_steps'"),
    ],
)
def test_what_is_impossible_is_said(wrong, said):
    with pytest.raises(PolicyError, match=said):
        merge([wrong], {})


@pytest.mark.parametrize(
    ("asked", "read"),
    [
        ({"accuracy": 0.95}, {"at_least": 0.95}),
        ({"accuracy": True}, {}),
        ({"accuracy": None}, None),
        ({"throughput": 5000}, {"at_least": 5000.0}),
        ({"throughput": {"batch_size": 8}}, {"batch_size": [8]}),
        (
            {"latency": {"at_most": 0.01, "precision": ["fp32", "bf16-mixed"]}},
            {"at_most": 0.01, "precision": ["fp32", "bf16-mixed"]},
        ),
        ({"peak_memory": "2 GiB"}, {"at_most": 2.0**31}),
        ({"peak_memory": "1.5MB"}, {"at_most": 1.5e6}),
        ({"peak_memory": 1000}, {"at_most": 1000.0}),
        (
            {"metrics": {"f1": 0.8, "mae": "<= 3.2", "auc": True}},
            {"f1": [">=", 0.8], "mae": ["<=", 3.2], "auc": True},
        ),
    ],
)
def test_what_a_gate_is_asked_for(asked, read):
    (name,) = asked
    assert getattr(merge([asked], {}), name) == read


def test_gates_are_those_that_are_asked_for():
    assert merge([{"throughput": True, "accuracy": 0.9}], {}).gates == ("accuracy", "throughput")
    assert merge([{"throughput": None}, {"throughput": 5}], {}).gates == ()


def test_the_policy_of_gates_survives_json():
    policy = merge(
        [{"metrics": {"mae": "<= 3"}, "folds": 5, "epochs": 2, "seeds": 3, "select": ["loop"]}], {}
    )
    assert Policy.from_json(json.loads(json.dumps(policy.to_json()))) == policy


def test_steps_that_the_command_line_lowers_are_remembered():
    assert merge([{"steps": 200}], {"steps": 50}).full_steps == 200
    assert merge([{"epochs": 3}], {"steps": 500}).full_steps == 100
    assert merge([{"steps": 200}], {"steps": 300}).full_steps is None
    assert merge([{"steps": 20}], {}).full_steps is None
