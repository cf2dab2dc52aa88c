"""A walk past a few cages: healthy models of different kinds raise no alarm. `measure.py` visits all."""

from __future__ import annotations

import pytest

from pytest_dlcheck.policy import Policy
from pytest_dlcheck.session import Examination, Subject, default_checks

from .menagerie import menagerie, split

SLICE = (
    "log_softmax_and_nll",
    "multi_task_dict_outputs",
    "actor_critic",
    "logistic_regression",
    "byol",
    "vae",
    "lora",
    "fp16_mixed",
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SLICE)
def test_a_healthy_model_raises_no_alarm(name):
    subject = Subject(name, Policy(steps=40, device="cpu"), default_checks())
    diagnosis = Examination(subject).conclude(menagerie()[name])
    assert [f"{v.check}: {v.because}" for v in diagnosis.causes] == []


def test_both_halves_are_populated():
    halves = [split(name) for name in menagerie()]
    assert min(halves.count("dev"), halves.count("test")) > 40
