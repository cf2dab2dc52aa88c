"""Loops whose losses are written out: the same faults as with torch's, and what resembles them."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from .data import diabetes, digits, tumours
from .faults import fault
from .healthy import Net, mlp


def squares(out, y):
    return ((out - y) ** 2).mean()


def huber(out, y):
    off = (y - out).abs()
    return torch.where(off < 1, 0.5 * off * off, off - 0.5).mean()


def likelihood(out, y):
    return -out.log_softmax(1).gather(1, y[:, None]).mean()


def picked(out, y):
    return (out.logsumexp(1) - out[torch.arange(len(y)), y]).mean()


def one_hot(out, y):
    return -(F.one_hot(y, 10) * (out.softmax(1) + 1e-8).log()).sum(1).mean()


def entropy(out, y):
    p = out[:, 0].sigmoid().clamp(1e-6, 1 - 1e-6)
    return -(y * p.log() + (1 - y) * (1 - p).log()).mean()


def _train(data, model, loss, *, pair=lambda _before, batch: batch, epochs=3):
    loader = DataLoader(TensorDataset(*data), 32, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(epochs):
        before = None
        for batch in loader:
            x, y = pair(before or batch, batch)
            before = batch
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()


def _quantities(loss, **how):
    _train(diabetes(), mlp(10, 32, 1), loss, **how)


def _digits(loss, **how):
    _train([part[:1000] for part in digits()], Net(), loss, **how)


def squared():
    _quantities(squares)


def robust():
    _quantities(huber)


def chosen():
    _digits(likelihood)


def chosen_by_index():
    _digits(picked)


def multiplied():
    _digits(one_hot)


def two_classes():
    _train(tumours(), mlp(30, 16, 1), entropy)


def _of_the_batch_before(before, batch):
    rows = min(len(batch[0]), len(before[1]))
    return batch[0][:rows], before[1][:rows]


def _of_others(_, batch):
    return batch[0], batch[1].roll(1, 0)


_LATE = ("batch before", "batches older", "earlier batch")


@fault(squared, "targets_are_aligned", words=_LATE)
def squares_of_the_batch_before():
    _quantities(squares, pair=_of_the_batch_before)


@fault(chosen, "targets_are_aligned", words=_LATE)
def labels_of_the_batch_before_gathered():
    _digits(likelihood, pair=_of_the_batch_before)


@fault(robust, "targets_are_aligned", words=("in another order",))
def quantities_of_others():
    _quantities(huber, pair=_of_others)


@fault(chosen_by_index, "targets_are_aligned", words=("in another order",))
def digits_of_others():
    _digits(picked, pair=_of_others)


@fault(multiplied, "targets_are_aligned", words=("in another order",))
def digits_of_others_one_hot():
    _digits(one_hot, pair=_of_others)


@fault(two_classes, "targets_are_aligned", words=("in another order",))
def tumours_of_others():
    _train(tumours(), mlp(30, 16, 1), entropy, pair=_of_others)


@fault(chosen, "loss_is_sound", words=("softmax",))
def softmax_before_a_gathered_logarithm():
    _digits(lambda out, y: likelihood(out.softmax(1), y))


@fault(two_classes, "loss_is_sound", words=("sigmoid",))
def sigmoid_twice_before_logarithms():
    _train(tumours(), mlp(30, 16, 1), lambda out, y: entropy(out.sigmoid(), y))


@fault(squared, "loss_is_sound", words=("relu", "cannot", "negative"))
def squares_of_what_cannot_be_negative():
    _quantities(lambda out, y: squares(out.relu(), y))


# -- healthy neighbours ---------------------------------------------------------------------------


def rewarded_by_chance():
    """Actions that are drawn anew for the same states, and weighed by what they earned."""
    states, digit = digits()[0][:256], digits()[1][:256]
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(6):
        for rows in torch.randperm(256).split(64):
            logarithms = model(states[rows]).log_softmax(1)
            acts = torch.distributions.Categorical(logits=logarithms.detach()).sample()
            earned = (acts == digit[rows]).float() - 0.1
            optimizer.zero_grad()
            (-logarithms.gather(1, acts[:, None])[:, 0] * earned).mean().backward()
            optimizer.step()


def imitated_by_chance():
    """An expert who does one of two things in each state, as it comes."""
    rows, label = digits()[0][:256], digits()[1][:256]
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(8):
        for chosen_rows in torch.randperm(256).split(64):
            acts = (label[chosen_rows] + torch.randint(2, (len(chosen_rows),))) % 10
            optimizer.zero_grad()
            likelihood(model(rows[chosen_rows]), acts).backward()
            optimizer.step()


def noise_is_predicted():
    """Another target for each sample at every step, which the inputs hold."""
    rows = tumours()[0]
    model = mlp(30, 128, 30)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(6):
        for chosen_rows in torch.randperm(len(rows)).split(64):
            noise = torch.randn(len(chosen_rows), 30)
            optimizer.zero_grad()
            squares(model(0.3 * rows[chosen_rows] + noise), noise).backward()
            optimizer.step()


def values_are_bootstrapped():
    """The values of the next states, which change as the network does, for states that come again."""
    states = F.one_hot(torch.arange(16), 16).float()
    model = mlp(16, 32, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(80):
        now = torch.randint(15, (32,))
        with torch.no_grad():
            ends = (now == 14).float()[:, None]
            goal = ends + 0.9 * (1 - ends) * model(states[now + 1])
        optimizer.zero_grad()
        squares(model(states[now]), goal).backward()
        optimizer.step()


def mixed_labels():
    """Soft targets between a sample's own and another's."""

    def pair(_, batch):
        x, y = batch
        part, order = 0.5 + 0.5 * torch.rand(len(x), 1), torch.randperm(len(x))
        soft = F.one_hot(y, 10).float()
        mixed = part * soft + (1 - part) * soft[order]
        return part[..., None, None] * x + (1 - part[..., None, None]) * x[order], mixed

    _digits(lambda out, soft: -(soft * out.log_softmax(1)).sum(1).mean(), pair=pair)


def gaussian():
    """Means and widths, by the formula."""

    def loss(out, y):
        mean, log_width = out[:, :1], out[:, 1:].clamp(-4, 4)
        off = (y - mean) / log_width.exp()
        return (0.5 * off**2 + log_width + 0.5 * math.log(2 * math.pi)).mean()

    _train(diabetes(), mlp(10, 32, 2), loss)


QUIET = [
    rewarded_by_chance,
    imitated_by_chance,
    noise_is_predicted,
    values_are_bootstrapped,
    mixed_labels,
    gaussian,
]
