"""Compiled code is told where it may run in a watch; what is gone since does not count."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import nn

from pytest_dlcheck.run.watch.compiling import Compilation

pytestmark = pytest.mark.filterwarnings("ignore")


class Own(nn.Linear):
    """Older versions of torch compile none of their own modules by themselves."""

    def forward(self, x):
        return super().forward(x).relu()


def compiled_module():
    module = Own(2, 2)
    module.compile(backend="eager")
    return module


@pytest.mark.parametrize(
    "compiled",
    [
        lambda: torch.compile(nn.Linear(2, 2), backend="eager"),
        lambda: torch.compile(lambda given: given + 1, backend="eager"),
        compiled_module,
    ],
    ids=["a wrapped module", "a function", "a module in place"],
)
def test_it_counts_while_it_lives_or_where_it_is_made(compiled):
    before = Compilation()
    it = compiled()
    it(torch.ones(2))
    assert before.is_at_work
    assert Compilation().is_at_work
    del it
    gc.collect()
    assert not Compilation().is_at_work


def test_nothing_is_at_work_where_nothing_was_compiled():
    assert not Compilation().is_at_work
