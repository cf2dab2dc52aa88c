"""A model is tried aside only where its code tells that nothing outside would notice."""

from __future__ import annotations

import enum
import logging
import math
import random
import warnings
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import pytest_dlcheck
from pytest_dlcheck.run.watch.tried.effects import has_effects
from pytest_dlcheck.run.watch.tried.standing_copies import may_be_tried

X, Y = torch.randn(64, 8, 4), torch.randn(64)
STEPS = 12
GENERATOR = torch.Generator()
SEEN: list[int] = []
SCALE = 2.0
SHAPE = (1, 2)


def _loop(model, *given):
    """Trains long enough that samples are known to lie along the first axis."""
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    for _ in range(STEPS):
        i = torch.randint(0, len(X), (32,))
        optimizer.zero_grad()
        F.mse_loss(model(X[i], *given).squeeze(-1), Y[i]).backward()
        optimizer.step()


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(32, 1)

    def forward(self, x):
        return self.head(x.flatten(1))


class CountsInClass(Base):
    calls = 0

    def forward(self, x):
        CountsInClass.calls += 1
        return super().forward(x)


class CountsInItsClass(Base):
    calls = 0

    def forward(self, x):
        type(self).calls += 1
        return super().forward(x)


class KeepsInClass(Base):
    kept: list[int] = []  # noqa: RUF012

    def forward(self, x):
        self.kept.append(1)
        return super().forward(x)


class CountsInDefault(Base):
    def forward(self, x, seen=[]):  # noqa: B006
        seen.append(1)
        return super().forward(x)


class AppendsToGlobal(Base):
    def forward(self, x):
        SEEN.append(1)
        return super().forward(x)


class DrawsFromGlobal(Base):
    def forward(self, x):
        return super().forward(x + torch.randn(x.shape, generator=GENERATOR))


class Writes(Base):
    def forward(self, x):
        with open("log.txt", "a") as file:  # noqa: PTH123
            file.write("x")
        return super().forward(x)


class WritesByPath(Base):
    def forward(self, x):
        Path("log.txt").write_text("x")
        return super().forward(x)


class Logs(Base):
    def forward(self, x):
        logging.getLogger("m").info("called")
        return super().forward(x)


class Warns(Base):
    def forward(self, x):
        warnings.warn("called", stacklevel=1)
        return super().forward(x)


class Prints(Base):
    def forward(self, x):
        print("called")  # noqa: T201
        return super().forward(x)


class DrawsFromPython(Base):
    def forward(self, x):
        return super().forward(x) + random.random()


class Seeds(Base):
    def forward(self, x):
        torch.manual_seed(0)
        return super().forward(x)


def _count():
    SEEN.append(1)


def _count_by_way():
    _count()


class CountsByHelpers(Base):
    def forward(self, x):
        return self._inner(x)

    def _inner(self, x):
        _count_by_way()
        return super().forward(x)


class CountsByName(Base):
    def forward(self, x):
        return getattr(self, "_in" + "ner")(x)

    def _inner(self, x):
        _count()
        return super().forward(x)


class CountsInMode(Base):
    def train(self, mode=True):  # noqa: FBT002
        _count()
        return super().train(mode)


class Copied(Base):
    def __deepcopy__(self, memo):
        raise SystemExit


class Within(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = CountsByHelpers()

    def forward(self, x):
        return self.first(x)


class HoldsFunction(Base):
    def __init__(self):
        super().__init__()
        self.act = lambda x: SEEN.append(1) or x

    def forward(self, x):
        return super().forward(self.act(x))


def _closure_counter():
    calls: list[int] = []

    class Model(Base):
        def forward(self, x):
            calls.append(1)
            return super().forward(x)

    return Model()


def _nonlocal_counter():
    calls = 0

    class Model(Base):
        def forward(self, x):
            nonlocal calls
            calls += 1
            return super().forward(x)

    return Model()


def _closure_generator():
    drawing = random.Random(0)

    class Model(Base):
        def forward(self, x):
            return super().forward(x + drawing.random())

    return Model()


def _decorated():
    class Model(Base):
        @torch.autocast("cpu", enabled=False)
        def forward(self, x):
            _count()
            return Base.forward(self, x)

    return Model()


LOUD = [
    *(CountsInClass, CountsInItsClass, KeepsInClass, CountsInDefault, AppendsToGlobal),
    *(
        DrawsFromGlobal,
        Writes,
        WritesByPath,
        Logs,
        Warns,
        Prints,
        DrawsFromPython,
        Seeds,
        CountsByHelpers,
    ),
    *(CountsByName, CountsInMode, Copied, Within, HoldsFunction, _closure_counter, _nonlocal_counter),
    *(_closure_generator, _decorated),
]


@pytest.mark.parametrize("make", LOUD, ids=lambda make: make.__name__)
def test_what_would_be_noticed_is_not_tried(make):
    model = make()
    assert has_effects(model)
    assert not may_be_tried(model)


def test_patched_methods_and_functions_are_not_called():
    with mock.patch.object(Base, "forward", autospec=True, side_effect=Base.forward):
        assert has_effects(Base())
    with mock.patch.object(F, "gelu"):
        assert has_effects(Helped())
    with mock.patch.object(nn.Linear, "forward"):
        assert has_effects(Base())


# -- those that are tried --------------------------------------------------------------------------


class Kind(enum.Enum):
    GELU = 1


@dataclass
class Config:
    width: int = 32
    kind: Kind = Kind.GELU


def _scaled(x, by=SCALE):
    return x * by / math.sqrt(x.shape[-1])


class Swap(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.scale = 2.0
        return x * 1.0

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.scale


class Helped(Base):
    widths = (32,)

    def __init__(self):
        super().__init__()
        self.config, self.calls, self.shapes = Config(), 0, []
        self.act = lambda x: x.relu()
        self.register_buffer("mean", torch.zeros(1))

    @property
    def width(self):
        return self.config.width * len(self.widths)

    @staticmethod
    def _half(x):
        return x / SHAPE[1]

    @torch.no_grad()
    def _track(self, x):
        self.mean = self.mean * 0.9 + x.mean() * 0.1

    def forward(self, x):
        self.calls += 1
        self.last = x.shape
        self.shapes.append(x.shape)
        if self.config.kind is Kind.GELU and isinstance(self.head, nn.Linear):
            x = F.gelu(_scaled(self.act(x)))
        if self.training:
            self._track(x)
        out = torch.zeros(len(x), self.width)
        out[:, : self.width] = Swap.apply(x.flatten(1))
        return self.head(self._half(torch.cat([part - self.mean for part in out.chunk(2, 1)], 1)))


QUIET = [
    *(Base, Helped, lambda: nn.Sequential(nn.Flatten(), nn.Linear(32, 8), nn.GELU(), nn.Linear(8, 1))),
    *(lambda: nn.TransformerEncoderLayer(8, 2, activation=F.gelu), lambda: nn.LSTM(4, 8)),
    lambda: nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)),
]


@pytest.mark.parametrize("make", QUIET)
def test_ordinary_models_are_tried(make):
    assert not has_effects(make())


# -- whole watches ---------------------------------------------------------------------------------


class Notes(Base):
    def forward(self, x, notes):
        notes.append(1)
        return super().forward(x)


class Normed(Base):
    def forward(self, x, norm):
        return super().forward(norm(x))


def test_arguments_are_not_written_to():
    class Own(list):
        pass

    notes, norm = Own(), nn.BatchNorm1d(8)
    for model, given in ((Notes(), notes), (Normed(), norm)):
        with pytest_dlcheck.watch("a"):
            _loop(model, given)
    assert len(notes) == STEPS
    assert int(norm.num_batches_tracked) == STEPS


class Leaves(Base):
    def forward(self, x):
        if not self.training:
            raise SystemExit
        return super().forward(x)


def test_what_ends_a_process_is_kept_in():
    model = Leaves()
    assert not has_effects(model)
    with pytest_dlcheck.watch("a") as watched:
        _loop(model)
    assert not watched.fault


def _asked(monkeypatch):
    asked = []
    place = "pytest_dlcheck.run.watch.ensemble.tried"
    monkeypatch.setattr(place, lambda *given: asked.append(given) or {})
    return asked


def _raises_in_the_end():
    with pytest_dlcheck.watch("a"):
        _loop(Base())
        raise ValueError("own")


def test_nothing_is_tried_after_an_exception(monkeypatch):
    asked = _asked(monkeypatch)
    with pytest.raises(ValueError, match="own"):
        _raises_in_the_end()
    assert not asked


def test_it_is_tried_where_the_loop_has_ended(monkeypatch):
    asked = _asked(monkeypatch)
    with pytest_dlcheck.watch("a"):
        _loop(Base())
    assert asked
