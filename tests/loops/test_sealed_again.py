"""A second set of loops by somebody who had seen no check, and no other loop of these: 48, 27 healthy.

    pytest -m slow tests/loops/test_sealed_again.py

When they were first watched, 31 of the 48 failed, 30 by a sentence that has one of their author's words;
8 more were told as advice that has one. None of the 48 twins and none of the 27 healthy ones raised an
alarm. Since then five more were made to fail by name, and one to be advice; ``UNFOUND`` has what is
still missed. They are open now: what is made for them is to be measured on others.
"""

from __future__ import annotations

import pytest
import torch

from pytest_dlcheck import watch
from pytest_dlcheck.verdict import Outcome

from .sealed_again.faults import FAULTS
from .sealed_again.healthy import HEALTHY

ADVISED = {
    "autoencoder_digits",
    "cancer_bn_mlp",
    "cancer_two_loaders",
    "inverted_digits",
    "iris_mlp",
    "mixer_digits",
    "rows_as_sequence",
    "wine_multitask",
}
"""Told as advice, by name."""
UNFOUND = {
    "coordinate_network",  # inputs shuffled without their targets
    "corridor_reinforce",  # a policy's sign
    "digits_vae",  # a term of the loss that is only logged
    "silu_student",  # an average of another model, which no loader's batch is given to
    "transformer_lm",  # no causal mask
}
"""Not told, or by another name."""
WORDS = {loop.__name__: words for loop, words, _ in FAULTS}
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def watched(loop, **given):
    torch.manual_seed(0)
    with watch(loop.__name__) as run:
        loop(**given)
    return run


def failures(run):
    bad = {Outcome.FAILED, Outcome.ERRORED}
    return [f.verdict.because for f in run.findings if f.verdict.outcome in bad]


@pytest.mark.parametrize("loop", [loop for loop, _, _ in FAULTS], ids=lambda loop: loop.__name__)
def test_what_was_named_is_named(loop):
    if loop.__name__ in UNFOUND:
        pytest.xfail("not told, or by another name")
    run, words = watched(loop, mistake=True), WORDS[loop.__name__]
    causes = [f.verdict for f in run.failures if not f.because_of][:1]
    said = [f"{v.check}: {v.because} {v.cause} {[s.finding for s in v.suspects]}" for v in causes]
    if loop.__name__ in ADVISED:
        assert not causes
        said = [advice for verdict in run.verdicts for advice in verdict.advice]
    assert any(word in sentence.lower() for word in words for sentence in said), said


@pytest.mark.parametrize("loop", [loop for loop, _, _ in FAULTS], ids=lambda loop: loop.__name__)
def test_its_twin_raises_no_alarm(loop):
    assert failures(watched(loop, mistake=False)) == []


@pytest.mark.parametrize("loop", HEALTHY, ids=lambda loop: loop.__name__)
def test_a_healthy_one_raises_no_alarm(loop):
    assert failures(watched(loop)) == []
