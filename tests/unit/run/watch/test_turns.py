"""A loader's name is told from the variables around its read, and a measure from that of a number."""

import inspect
import types

import pytest
import torch
from torch.utils.data import DataLoader

from pytest_dlcheck.run.watch.batches.names import held_out_name, measured

LOADER = DataLoader(torch.arange(6), 2)


def named(**variables):
    """The name of the loader in a function whose caller has these variables."""
    return in_a_call(lambda: held_out_name(inspect.currentframe(), LOADER.batch_sampler), variables)


def found(loader="val_loader", **variables):
    return in_a_call(lambda: measured(inspect.currentframe(), loader), variables)


def in_a_call(ask, variables):
    code = "def call(ask, {}):\n    return ask()".format(", ".join(variables))
    room = {}
    exec(code, room)
    return room["call"](ask, **variables)


@pytest.mark.parametrize(
    "name", ["val_loader", "validation_dl", "valid", "test_loader", "heldout_loader", "valLoader"]
)
def test_a_held_out_loader_is_told_by_whole_words(name):
    assert named(**{name: LOADER}) == name


@pytest.mark.parametrize(
    "name", ["loader", "value_loader", "train_val_loader", "latest", "unlabeled_test"]
)
def test_other_names_say_nothing(name):
    assert named(**{name: LOADER}) == ""


def test_a_loader_in_a_dictionary_or_an_object_has_its_name_there():
    assert named(loaders={"val": LOADER}) == "val"
    assert named(self=types.SimpleNamespace(val_loader=LOADER)) == "val_loader"


def test_one_loader_of_two_names_is_none_that_is_held_out():
    assert named(train_loader=LOADER, val_loader=LOADER) == ""


def test_another_loader_is_not_taken_for_it():
    assert named(val_loader=DataLoader(torch.arange(6), 2)) == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [("val_loss", 0.5), ("va_acc", torch.tensor(0.5)), ("validation_losses", [0.5]), ("valid_f1", 1)],
)
def test_a_number_of_its_family_is_a_measure(name, value):
    assert list(found(**{name: value})) == [name]
    assert found("test_loader", **{name: value}) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [("val_loss", []), ("val_loss", torch.nn.MSELoss()), ("train_loss", 0.5), ("val_size", 3)],
)
def test_others_are_no_measures(name, value):
    assert found(**{name: value}) == {}


def test_a_history_has_its_measures_by_their_keys():
    assert found(history={"val_loss": [0.7, 0.5]}) == {"val_loss": (2, 0.5)}


def test_a_part_alone_is_a_measure_beside_the_training_s():
    assert found(tr=0.4, va=0.5) == {"va": (1, 0.5)}
    assert found(logs={"train": 0.4, "val": 0.5}) == {"val": (1, 0.5)}
    assert found(key=1.0, val=0.5) == found(train=400, val=100) == found(tr=0.4, va=3) == {}
