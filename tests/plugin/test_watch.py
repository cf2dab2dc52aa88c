"""The marker on an ordinary test, and the fixture's `watch`: what it trains is watched and judged."""

LOOP = """
import pytest
import torch
from torch import nn

def train(*, reset=True, steps=20):
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(steps):
        x = torch.randn(8, 4)
        if reset:
            optimizer.zero_grad()
        (model(x) - x.sum(1, keepdim=True)).pow(2).mean().backward()
        optimizer.step()
    return model
"""


def test_the_marker_and_the_fixture_watch_what_ordinary_tests_train(pytester):
    pytester.makepyfile(
        LOOP
        + """
@pytest.mark.dlcheck
def test_healthy():
    train()

@pytest.mark.dlcheck
def test_sick():
    train(reset=False)

@pytest.mark.dlcheck(ignore={"steps_are_in_order": "on purpose"})
def test_ignored():
    train(reset=False)

@pytest.mark.dlcheck(expected={"steps_are_in_order": "fixed in #41"})
def test_expected():
    train(reset=False)

@pytest.mark.dlcheck
def test_that_trains_nothing():
    torch.ones(2).sum()

@pytest.mark.dlcheck
def test_that_raises():
    train(reset=False)
    raise KeyError("mine")

def test_without_the_marker():
    train(reset=False)

def test_block(dlcheck):
    with dlcheck.watch() as run:
        train()
    assert len(run.trace["loss"]) == 20
    run.check()

def test_sick_block(dlcheck):
    with dlcheck.watch() as run:
        train(reset=False)
    run.check("gradients_flow")
    with pytest.raises(AssertionError, match="zero_grad is missing"):
        run.check("loop")

def test_empty_block(dlcheck):
    with dlcheck.watch() as run:
        pass
    with pytest.raises(ValueError, match="nothing was trained here"):
        run.check()

@pytest.mark.dlcheck
def test_in_a_thread():
    import threading
    worker = threading.Thread(target=train)
    worker.start()
    worker.join()

class TestInherited:
    pytestmark = pytest.mark.dlcheck(steps=5)

    def test_policy_only(self):
        train(reset=False)
"""
    )
    result = pytester.runpytest_subprocess("-p", "no:randomly")
    result.assert_outcomes(passed=9, failed=3)
    result.stdout.fnmatch_lines(
        [
            "test_sick::steps_are_in_order FAILED",
            "  19 of 20 steps apply gradients that the step before had applied already*",
            "  likely cause   zero_grad is missing*",
            "*nothing was trained here*",
            "*KeyError: 'mine'*",
            "*Captured dlcheck call*",
            "test_that_raises::steps_are_in_order FAILED",
        ]
    )
    result.stdout.no_fnmatch_line("*All traceback entries are hidden*")
