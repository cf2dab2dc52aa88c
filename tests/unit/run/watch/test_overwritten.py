"""Models that overwrite what every module has."""

import torch
from torch import nn

from pytest_dlcheck import watch


class Weights(nn.Module):
    """Its weights stand in a list, and are applied by hand, those of an inner step too."""

    def __init__(self):
        super().__init__()
        self.listed = nn.ParameterList(
            [
                nn.Parameter(0.3 * torch.randn(16, 4)),
                nn.Parameter(torch.zeros(16)),
                nn.Parameter(0.3 * torch.randn(3, 16)),
                nn.Parameter(torch.zeros(3)),
            ]
        )
        self.seen = nn.Parameter(torch.zeros(16), requires_grad=False)

    def parameters(self):
        return self.listed

    def forward(self, inputs, weights=None):
        first, bias, second, last = self.listed if weights is None else weights
        hidden = torch.relu(nn.functional.linear(inputs, first, bias))
        return nn.functional.linear(hidden, second, last)


def trained(*, keeps=False):
    torch.manual_seed(0)
    model = Weights()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with watch() as run:
        for _ in range(40):
            inputs = torch.randn(32, 4)
            labels = inputs[:, :3].argmax(1)
            inner = nn.functional.cross_entropy(model(inputs[:16]), labels[:16])
            slopes = torch.autograd.grad(inner, [*model.parameters()], create_graph=True)
            moved = [p - 0.1 * slope for p, slope in zip(model.parameters(), slopes, strict=True)]
            loss = nn.functional.cross_entropy(model(inputs[16:], moved), labels[16:])
            if not keeps:
                optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return run


def test_parameters_that_take_no_argument_are_read_all_the_same():
    run = trained()
    assert not run.fault
    assert not run.failures


def test_a_fault_of_such_a_loop_is_found():
    failed = {finding.verdict.check for finding in trained(keeps=True).failures}
    assert "steps_are_in_order" in failed
