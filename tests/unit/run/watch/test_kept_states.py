"""Hidden states that a model keeps from one batch to the next, and those that it may well keep."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from pytest_dlcheck import watch

WALKS = torch.randn(256, 6, 3, generator=torch.Generator().manual_seed(5))


class Kept(nn.Module):
    """A recurrent net that goes on from where it ended."""

    def __init__(self, layer, keep, call=lambda layer, x, state: layer(x, state)):
        super().__init__()
        self.layer, self.head, self.keep, self.state = layer, nn.Linear(8, 3), keep, None
        self.call = call

    def forward(self, x):
        out, state = self.call(self.layer, x, self.state)
        self.state = self.keep(state)
        return self.head(out[:, -1])


class Stream(Dataset):
    """Lanes of one long walk, read on whatever number is asked for."""

    def __init__(self, lanes):
        self.lanes, self.place = WALKS.reshape(lanes, -1, 6, 3), 0

    def __len__(self):
        return len(WALKS)

    def __getitem__(self, index):
        lanes, steps = self.lanes.shape[:2]
        lane, step = self.place % lanes, self.place // lanes
        self.place += 1
        walk = self.lanes[lane, step % steps]
        return walk, walk.sum(0)


def detached(state):
    return tuple(each.detach() for each in state) if isinstance(state, tuple) else state.detach()


def cloned(state):
    return state.detach().clone()


def dropped(state):
    return None


def trained(model, *, shuffle=True, chunks=1, reset=False, data=None):
    data = data or TensorDataset(WALKS, WALKS.sum(1))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    with watch() as run:
        for x, y in DataLoader(data, 32, shuffle=shuffle, drop_last=True):
            if reset:
                model.state = None
            for part in x.chunk(chunks, 1):
                optimizer.zero_grad()
                (model(part) - y).pow(2).mean().backward()
                optimizer.step()
    return run


def kept_in(run):
    return [r for r in run.trace.rows("axes") if r.text("kind") == "state" and r.integer("turned")]


@pytest.mark.parametrize(
    ("layer", "keep"), [(nn.GRU, detached), (nn.GRU, cloned), (nn.RNN, detached), (nn.LSTM, detached)]
)
def test_a_state_that_is_kept_over_shuffled_batches_fails(layer, keep):
    run = trained(Kept(layer(3, 8, batch_first=True), keep))
    (fault,) = [f for f in run.failures if not f.because_of]
    assert fault.verdict.check == "samples_stay_apart"
    assert "hidden state is carried" in fault.verdict.cause
    assert [s.site for s in fault.verdict.suspects] == ["layer"]


@pytest.mark.parametrize(
    ("keep", "how"),
    [
        (dropped, {}),
        (detached, {"shuffle": False}),
        (detached, {"chunks": 3, "reset": True}),
    ],
)
def test_others_are_quiet(keep, how):
    run = trained(Kept(nn.GRU(3, 8, batch_first=True), keep), **how)
    assert not kept_in(run)
    assert not run.failures


@pytest.mark.parametrize(
    "call",
    [
        lambda layer, x, state: layer(x, hx=state),
        lambda layer, x, state: layer(input=x, hx=state),
    ],
)
def test_a_state_that_is_given_by_its_name_fails_too(call):
    run = trained(Kept(nn.GRU(3, 8, batch_first=True), detached, call))
    (fault,) = [f for f in run.failures if not f.because_of]
    assert "hidden state is carried" in fault.verdict.cause
    assert not trained(Kept(nn.GRU(3, 8, batch_first=True), dropped, call)).failures


def test_a_data_set_that_reads_on_whatever_it_is_asked_for_is_quiet():
    assert not trained(Kept(nn.GRU(3, 8, batch_first=True), detached), data=Stream(32)).failures


def test_a_stream_beside_a_loader_that_shuffles_is_quiet():
    model, other = Kept(nn.GRU(3, 8, batch_first=True), detached), nn.Linear(5, 1)
    optimizer = torch.optim.Adam([*model.parameters(), *other.parameters()], 1e-2)
    stream = DataLoader(TensorDataset(WALKS, WALKS.sum(1)), 32)
    mixed = DataLoader(TensorDataset(torch.randn(256, 5)), 32, shuffle=True)
    with watch() as run:
        for (x, y), (rows,) in zip(stream, mixed, strict=True):
            optimizer.zero_grad()
            ((model(x) - y).pow(2).mean() + (other(rows) - 1).pow(2).mean()).backward()
            optimizer.step()
    assert not run.failures
