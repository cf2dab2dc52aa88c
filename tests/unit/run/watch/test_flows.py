"""Where results go on without their graph, and which of them no backward goes through."""

import torch
from torch import nn

from pytest_dlcheck.run.watch.models.flows import Flows
from pytest_dlcheck.run.watch.models.unheard import Unheard


def pair():
    return nn.Linear(8, 4), nn.Linear(4, 2)


def called(flows, module, batch):
    giver = flows.is_called(module, (batch,), outermost=True)
    output = module(batch)
    flows.returns(module, (batch,), output, outermost=True)
    return output, giver


def test_a_detached_result_is_told_with_whom_it_was_given_to():
    flows, (maker, taker) = Flows(), pair()
    code, _ = called(flows, maker, torch.randn(5, 8))
    _, giver = called(flows, taker, code.detach().view(5, 2, 2).flatten(1))
    flow = flows.of(nn.Sequential(maker))
    assert (flow.detached, flow.without, list(flow.into())) == (1, 0, [taker])
    assert giver is maker


def test_one_made_without_gradients_is_told_with_its_line():
    flows, (maker, taker) = Flows(), pair()
    with torch.no_grad():
        code, _ = called(flows, maker, torch.randn(5, 8))
    called(flows, taker, code)
    flow = flows.of(maker)
    assert (flow.detached, flow.without) == (0, 1)
    assert flow.line.startswith("test_flows.py:")


def test_a_result_with_its_graph_is_not():
    flows, (maker, taker) = Flows(), pair()
    code, _ = called(flows, maker, torch.randn(5, 8))
    called(flows, taker, code)
    assert flows.of(maker) is None


def test_what_a_module_was_given_is_not_its_result():
    class Both(nn.Linear):
        def forward(self, x):
            return x, super().forward(x)

    flows, batch = Flows(), torch.randn(5, 8)
    maker, taker = Both(8, 4), nn.Linear(8, 2)
    called(flows, maker, batch)
    called(flows, taker, batch)
    assert flows.of(maker) is None


def test_what_has_no_parameters_hands_a_result_on():
    flows, (maker, taker) = Flows(), pair()
    with torch.no_grad():
        code, _ = called(flows, maker, torch.randn(5, 8))
    rectified, _ = called(flows, nn.ReLU(), code)
    called(flows, taker, rectified)
    assert list(flows.of(maker).into()) == [taker]


def test_a_mean_of_a_result_is_told_by_its_shape_and_the_inputs_are_not():
    flows, taker = Flows(), nn.Linear(4, 2)
    maker, student = nn.Conv2d(1, 4, 3), nn.Conv2d(1, 2, 3)
    images = torch.randn(5, 1, 8, 8)
    with torch.no_grad():
        maps, _ = called(flows, maker, images)
    called(flows, student, images + 0.1)
    assert flows.of(maker) is None
    called(flows, taker, maps.mean((2, 3)))
    assert list(flows.of(maker).into()) == [taker]


# -- what no backward goes through ----------------------------------------------------------------


def told(*, also=lambda *_: (), detached=True):
    """What is found of a critic, after one step."""
    unheard, critic, generator = Unheard(), nn.Linear(4, 1), nn.Linear(2, 4)
    fakes, data = generator(torch.randn(3, 2)), torch.randn(3, 4)
    real, fake = critic(data), critic(fakes.detach() if detached else fakes)
    unheard.returns(critic, None, (data,), real)
    unheard.returns(critic, generator if detached else None, (fakes.detach(),), fake)
    unheard.backward_begins([sum((real.mean(), *also(unheard, critic, fake)))])
    keys = {id(p) for p in (*critic.parameters(), *generator.parameters())}
    return [(one.module, one.maker, one.calls, one.weighed) for one in unheard.told(keys)]


def test_a_loss_on_anothers_results_that_is_not_propagated_is_told():
    assert told() == [("Linear", "Linear", 1, False)]


def test_one_that_is_propagated_is_not():
    assert told(also=lambda _, __, fake: [fake.mean()]) == []


def test_nor_where_data_and_results_may_be_in_one_batch():
    def both(unheard, critic, _):
        batch = torch.randn(6, 4)
        scores = critic(batch)
        unheard.returns(critic, None, (batch,), scores)
        return [scores.mean()]

    assert told(also=both) == []


def test_what_may_be_targets_is_told_apart():
    def squared(_, critic, fake):
        return [(critic(torch.randn(3, 4)) - fake.detach()).pow(2).mean()]

    assert told(also=squared) == [("Linear", "Linear", 1, True)]
