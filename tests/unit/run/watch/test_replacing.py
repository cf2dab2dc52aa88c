"""Functions that were replaced are put back, in whatever order those who replaced them end."""

import threading
from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from pytest_dlcheck import watch
from pytest_dlcheck.run.watch.replacing import replaced


def original():
    return "original"


def over(inner, word):
    return lambda: f"{word} {inner()}"


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_all_are_gone_in_whatever_order_they_end(order):
    place, layers = SimpleNamespace(ask=original), []
    for word in "abc":
        layers.append(replaced(place, "ask", over(place.ask, word)))
        layers[-1].__enter__()
    assert place.ask() == "c b a original"
    for which in order:
        layers[which].__exit__(None, None, None)
    assert place.ask is original


def test_what_someone_else_puts_there_stays():
    place = SimpleNamespace(ask=original)
    with replaced(place, "ask", over(original, "a")):
        place.ask = other = over(place.ask, "other")
    assert place.ask is other


def test_one_function_may_stand_in_two_places():
    here, there = SimpleNamespace(ask=original), SimpleNamespace(ask=original)
    first, second = over(original, "a"), over(original, "b")
    layers = [replaced(place, "ask", each) for each in (first, second) for place in (here, there)]
    for layer in layers:
        layer.__enter__()
    for layer in layers:
        layer.__exit__(None, None, None)
    assert here.ask is there.ask is original


def places():
    seeds = [np.random.set_state, np.random.seed, torch.manual_seed, torch.random.manual_seed]
    return [*seeds, torch.autograd.backward, nn.Module.eval, nn.Module.load_state_dict]


def test_watches_that_end_in_another_order_leave_nothing_behind():
    before = places()
    began, ended = threading.Event(), threading.Event()

    def first():
        with watch():
            began.set()
            ended.wait(10)

    thread = threading.Thread(target=first)
    thread.start()
    began.wait(10)
    with watch():
        ended.set()
        thread.join()
    assert places() == before
