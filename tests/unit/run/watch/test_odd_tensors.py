"""Tensors that cannot be read as others are do not end the loop that is watched."""

import copy

import pytest
import torch
from torch import nn

from pytest_dlcheck import watch


def batched(model):
    return torch.func.vmap(model)(torch.randn(4, 8)).mean()


def nested(model):
    rows = torch.nested.nested_tensor([torch.randn(3, 8), torch.randn(5, 8)])
    return torch.nested.to_padded_tensor(model(rows), 0.0).mean()


def jagged(model):
    rows = [torch.randn(3, 8), torch.randn(5, 8)]
    return model(torch.nested.nested_tensor(rows, layout=torch.jagged)).values().mean()


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
@pytest.mark.parametrize("loss_of", [batched, nested, jagged])
def test_a_loop_runs_through(loss_of):
    model = nn.Linear(8, 4)
    assert steps_of(model, lambda: loss_of(model)) == 6


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_a_scripted_model_is_trained():
    model = torch.jit.script(nn.Linear(8, 4))
    assert steps_of(model, lambda: model(torch.randn(3, 8)).mean()) == 6


@pytest.mark.filterwarnings("ignore:`torch.jit.*` is deprecated")
@pytest.mark.parametrize("steps", [1, 60])
def test_a_model_is_scripted_while_it_is_heard(steps):
    model, calls = nn.Sequential(nn.Linear(8, 4), torch.jit.script(nn.Linear(4, 2))), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch():
        for _ in range(steps):
            optimizer.zero_grad()
            model(torch.randn(3, 8)).mean().backward()
            optimizer.step()
        model.register_forward_pre_hook(lambda *_: calls.append(1))
        heard = list(model._forward_pre_hooks.values())  # noqa: SLF001  there is no public way to them
        with pytest.raises((NotImplementedError, RuntimeError, OSError)):
            torch.jit.script(model)  # a hook of the user's that cannot be compiled is torch's to refuse
        assert list(model._forward_pre_hooks.values()) == heard  # noqa: SLF001  as above
        model._forward_pre_hooks.popitem()  # noqa: SLF001  as above
        assert torch.equal(torch.jit.script(model)(torch.ones(1, 8)), model(torch.ones(1, 8)))
    assert not model._forward_pre_hooks  # noqa: SLF001  as above


def steps_of(model, loss_of):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch() as run:
        for _ in range(6):
            optimizer.zero_grad()
            loss_of().backward()
            optimizer.step()
    return run.trace.trial.steps


class Waves(nn.Module):
    """Weighs the first frequencies of a series, more of them as it grows."""

    def __init__(self, count):
        super().__init__()
        self.weights = nn.Parameter(torch.randn(count, 16, dtype=torch.cfloat))

    def forward(self, spectra):
        return (spectra[:, : len(self.weights)] @ self.weights).abs().mean(1)


@pytest.mark.filterwarnings("error")
def test_complex_numbers_are_read_without_a_warning():
    """Of inputs, of an average, and of weights that others replace."""
    model = Waves(6)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    average = copy.deepcopy(model).eval()
    with watch() as run:
        for step in range(60):
            spectra = torch.fft.rfft(torch.randn(32, 20))
            optimizer.zero_grad()
            model(spectra).sub(1).square().mean().backward()
            optimizer.step()
            with torch.no_grad():
                average.weights.lerp_(model.weights[:6], 0.1)
                average(spectra)
            if step == 30:
                model.weights = nn.Parameter(torch.cat([model.weights, torch.zeros(2, 16)]).detach())
                optimizer.add_param_group({"params": [model.weights]})
    assert run.fault == ""


def test_a_model_without_its_shapes_stands_beside_one_that_is_left_out():
    """Both are of one type; a step finds no gradient where a layer is dropped at random."""
    later, model, skip = (nn.Sequential(layer) for layer in (nn.LazyLinear(1), *_two()))
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.1) for m in (model, skip)]
    with watch() as run:
        for step in range(30):
            rows = torch.randn(8, 4)
            for optimizer in optimizers:
                optimizer.zero_grad()
            (skip(rows) + model(rows) if step < 3 else skip(rows)).square().mean().backward()
            for optimizer in optimizers:
                optimizer.step()
    assert run.fault == ""
    assert nn.parameter.is_lazy(later[0].weight)


def _two():
    return nn.Linear(4, 1), nn.Linear(4, 1)


def test_a_table_grows_in_its_own_parameter():
    table = nn.Embedding(40, 8)
    optimizer = torch.optim.SGD(table.parameters(), lr=0.1)
    with watch() as run:
        for step in range(20):
            if step == 2:
                table.weight.data, table.weight.grad = torch.randn(60, 8), None
            optimizer.zero_grad()
            table(torch.randint(40, (16,))).square().mean().backward()
            optimizer.step()
    assert run.fault == ""
