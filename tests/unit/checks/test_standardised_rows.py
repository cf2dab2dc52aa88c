"""What data_is_sound says of tables whose rows were standardised in place of their columns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from torch import nn
from torch.utils.data import TensorDataset

from pytest_dlcheck.policy import Policy
from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.session import Examination, Subject
from pytest_dlcheck.verdict import Outcome


def advice_on(table):
    def recipe():
        inputs = torch.as_tensor(table).float()
        model = nn.Linear(inputs.size(1), 2)
        return Recipe(
            model=model,
            train_data=TensorDataset(inputs, torch.arange(len(inputs)) % 2),
            loss=nn.CrossEntropyLoss(),
            optimizer=torch.optim.SGD(model.parameters(), 0.01),
        )

    subject = Subject("recipe", Policy(steps=20, device="cpu"), ("data_is_sound",))
    verdict = Examination(subject).judge("data_is_sound", recipe)
    assert verdict.outcome is Outcome.PASSED
    return [line for line in verdict.advice if "by columns (axis=0)" in line]


def standardised(values, axis, ddof=0):
    return (values - values.mean(axis, keepdims=True)) / values.std(axis, keepdims=True, ddof=ddof)


@pytest.mark.parametrize("load", [load_wine, load_breast_cancer, load_iris])
@pytest.mark.parametrize("ddof", [0, 1])
def test_rows_of_a_table_that_are_standardised_each_are_advice(load, ddof):
    assert advice_on(standardised(load().data, 1, ddof))


@pytest.mark.parametrize("load", [load_wine, load_breast_cancer, load_iris])
def test_columns_that_are_standardised_are_silent(load):
    assert not advice_on(standardised(load().data, 0))


RNG = np.random.default_rng(1)
STEPS = np.arange(48)
SERIES = {
    "noise": RNG.normal(size=(200, 16)),
    "windows of walks": RNG.normal(size=(200, 24)).cumsum(1),
    "beats": np.exp(-((STEPS - 20) ** 2) / 30) + 0.1 * RNG.normal(size=(200, 48)),
    "spectra": np.sin(STEPS / 6) + STEPS / 20 + 0.3 * RNG.normal(size=(200, 1)) * np.cos(STEPS / 9),
}


@pytest.mark.parametrize("name", SERIES)
def test_series_that_are_standardised_each_are_silent(name):
    assert not advice_on(standardised(SERIES[name], 1))


def test_rows_of_three_numbers_are_silent():
    assert not advice_on(standardised(np.sort(RNG.normal(size=(200, 3))), 1))
