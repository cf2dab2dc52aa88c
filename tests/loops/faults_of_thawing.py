"""Parts that are thawed under way, and still run without gradients, beside healthy ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .data import digits
from .faults import fault


class Ranker(nn.Module):
    """Columns of an image read in turn; the reader may be left out of the graph."""

    def __init__(self):
        super().__init__()
        self.reader, self.score = nn.GRU(8, 24, batch_first=True), nn.Linear(24, 10)
        self.reader.requires_grad_(requires_grad=False)
        self.reads_without_gradients = True

    def forward(self, images):
        with torch.set_grad_enabled(not self.reads_without_gradients):
            _, state = self.reader(images.squeeze(1))
        return self.score(state[0])

    def thaw(self):
        self.reader.requires_grad_()


def fit(model, steps, optimizer=None):
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = optimizer or torch.optim.AdamW(trained, lr=3e-3)
    images, labels = digits()
    for _ in range(steps):
        chosen = torch.randint(0, 1000, (32,))
        optimizer.zero_grad()
        F.cross_entropy(model(images[chosen]), labels[chosen]).backward()
        optimizer.step()
    return optimizer


def thawed_for_a_second_training():
    model = Ranker()
    fit(model, 40)
    model.thaw()
    model.reads_without_gradients = False
    fit(model, 100)


def thawed_as_another_group():
    model = Ranker()
    optimizer = fit(model, 40)
    model.thaw()
    model.reads_without_gradients = False
    optimizer.add_param_group({"params": model.reader.parameters(), "lr": 1e-3})
    fit(model, 100, optimizer)


def thawed_when_all_is_over():
    model = Ranker()
    fit(model, 100)
    model.thaw()


def thawed_and_left_out_of_the_optimizer():
    """Frozen by hand: nobody steps it, and a later user may."""
    model = Ranker()
    optimizer = fit(model, 40)
    model.thaw()
    fit(model, 100, optimizer)


def thawed_at_a_rate_of_zero():
    """Its rate is to be raised later, in a longer training."""
    model = Ranker()
    model.reads_without_gradients = False
    rates = [{"params": model.reader.parameters(), "lr": 0.0}, {"params": model.score.parameters()}]
    optimizer = fit(model, 40, torch.optim.Adam(rates, lr=3e-3))
    model.thaw()
    fit(model, 100, optimizer)


NAMED = ("is called under torch.no_grad(), at faults_of_thawing",)


@fault(thawed_for_a_second_training, "gradients_flow", words=NAMED)
def thawed_under_no_grad():
    model = Ranker()
    fit(model, 40)
    model.thaw()
    fit(model, 100)


@fault(thawed_as_another_group, "gradients_flow", words=NAMED)
def thawed_as_another_group_under_no_grad():
    model = Ranker()
    optimizer = fit(model, 40)
    model.thaw()
    optimizer.add_param_group({"params": model.reader.parameters(), "lr": 1e-3})
    fit(model, 100, optimizer)


QUIET = (
    thawed_when_all_is_over,
    thawed_and_left_out_of_the_optimizer,
    thawed_at_a_rate_of_zero,
)
