"""Loops whose losses are written out: the same faults as with torch's, and what resembles them."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn
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


def focal(out, y):
    logarithms = out.log_softmax(1)
    return -((1 - logarithms.exp()) ** 2 * logarithms).gather(1, y[:, None]).mean()


def of_the_batch(out, y):
    return -(out - out.logsumexp(0, keepdim=True))[torch.arange(len(y)), y].mean()


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


def focused():
    _digits(focal)


def _epochs_of_their_own(*, shuffled_together):
    x, y = (part[:1000] for part in digits())
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(4):
        order = torch.randperm(len(y))
        y = y[order]
        x = x[order] if shuffled_together else x
        for inputs, labels in zip(x.split(50), y.split(50), strict=True):
            optimizer.zero_grad()
            focal(model(inputs), labels).backward()
            optimizer.step()


def both_shuffled_each_epoch():
    _epochs_of_their_own(shuffled_together=True)


@fault(both_shuffled_each_epoch, "targets_are_aligned", words=("belonged to other inputs",))
def labels_shuffled_each_epoch():
    _epochs_of_their_own(shuffled_together=False)


@fault(chosen_by_index, "loss_is_sound", words=("over the batch",))
def normalised_over_the_batch():
    _digits(of_the_batch)


class Beginner(nn.Module):
    """Reads an image row by row, and may begin with a state."""

    def __init__(self):
        super().__init__()
        self.rows, self.head = nn.LSTM(8, 24, batch_first=True), nn.Linear(24, 10)

    def forward(self, x, state=None):
        seen, state = self.rows(x.squeeze(1), state)
        return self.head(seen[:, -1]), state


def _read(*, keeps, shuffle=True):
    train = TensorDataset(*(part[:960] for part in digits()))
    model = Beginner()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    state = None
    for _ in range(2):
        for x, y in DataLoader(train, 32, shuffle=shuffle):
            out, state = model(x, state)
            state = tuple(part.detach() for part in state) if keeps else None
            optimizer.zero_grad()
            likelihood(out, y).backward()
            optimizer.step()


def begins_afresh():
    _read(keeps=False)


def goes_on_in_order():
    """A stream: each row of a batch goes on where it was."""
    _read(keeps=True, shuffle=False)


@fault(begins_afresh, "samples_stay_apart", words=("hidden state is carried",))
def state_of_other_samples():
    _read(keeps=True)


def _act(*, detaches):
    states, digit = digits()[0][:512].flatten(1), digits()[1][:512]
    actor, critic = mlp(64, 32, 10), mlp(64, 32, 1)
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=3e-3)
    for _ in range(5):
        for rows in torch.randperm(512).split(64):
            chances = torch.distributions.Categorical(logits=actor(states[rows]))
            acts = chances.sample()
            earned = (acts == digit[rows]).float()
            better = earned - critic(states[rows])[:, 0]
            weight = better.detach() if detaches else better
            loss = -(chances.log_prob(acts) * weight).mean() + better.pow(2).mean()
            optimizer.zero_grad()
            (loss - 0.01 * chances.entropy().mean()).backward()
            optimizer.step()


def acts():
    _act(detaches=True)


@fault(acts, "targets_are_aligned", words=("advantage is not detached",))
def advantage_with_gradients():
    _act(detaches=False)


def _squeezed(weigh):
    model = mlp(30, 24, 30)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(60):
        x = tumours()[0][torch.randperm(569)[:64]]
        code = model[0](x)
        loss = squares(model[1:](code), x) + weigh(step) * code.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def weight_that_grows():
    _squeezed(lambda step: 0.1 * min(1.0, step / 20))


@fault(weight_that_grows, "targets_are_aligned", words=("multiplied by 0",), advice=True)
def weight_that_never_grows():
    _squeezed(lambda step: 0.1 * min(1, step // 1000))


def _add_up(divide):
    model = mlp(10, 32, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    loader = DataLoader(TensorDataset(*diabetes()), 16, shuffle=True, drop_last=True)
    for _ in range(8):
        for number, (x, y) in enumerate(loader, 1):
            off = model(x) - y
            divide((off + F.softplus(-2 * off) - math.log(2)).mean()).backward()
            if number % 3 == 0:
                optimizer.step()
                optimizer.zero_grad()


def adds_up_a_mean():
    _add_up(lambda loss: loss / 3)


@fault(adds_up_a_mean, "steps_are_in_order", words=("add up undivided",), advice=True)
def adds_up_undivided():
    _add_up(lambda loss: loss)


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


def experts_are_weighed():
    """What one expert's likelihood counts is learned, too."""

    def loss(out, y):
        gate, mean = out[:, :2].softmax(1), out[:, 2:]
        return ((gate * (mean - y) ** 2).sum(1) + 0.1 * (gate * gate.log()).sum(1)).mean()

    _train(diabetes(), mlp(10, 32, 4), loss)


def _read_with(reset):
    train = TensorDataset(*(part[:640] for part in digits()))
    model = Beginner()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    state = None
    for _ in range(2):
        for x, y in DataLoader(train, 32, shuffle=True):
            out, state = model(x, state)
            optimizer.zero_grad()
            likelihood(out, y).backward()
            optimizer.step()
            state = reset(state)


def state_reset_in_its_place():
    _read_with(lambda state: tuple(part.detach().zero_() for part in state))


def focal_by_hand():
    """What is chosen weighs itself, by what is left to one."""

    def loss(out, y):
        right = out.log_softmax(1).gather(1, y[:, None])[:, 0]
        return -((torch.ones(len(y)) - right.exp()) * right).mean()

    _digits(loss)


def two_answers_of_one_layer():
    def loss(out, y):
        mean, log_width = out.chunk(2, -1)
        return ((y - mean) ** 2 * (-log_width).exp() + log_width).mean()

    _train(diabetes(), mlp(10, 32, 2), loss)


def sometimes_nothing_to_compare():
    """Distances where there is something, as a detector has them; some batches have nothing."""

    def loss(out, y):
        is_there = y[:, 0] > 2.3
        return ((out[is_there] - y[is_there]) ** 2).sum() + 0.1 * squares(out, y)

    _quantities(loss)


class Sub(torch.autograd.Function):
    """The user's own, named like torch's."""

    @staticmethod
    def forward(ctx, out, y):
        return out - y

    @staticmethod
    def backward(ctx, slope):
        return slope, None


def differences_of_ones_own():
    _quantities(lambda out, y: (Sub.apply(out, y) ** 2).mean())


def labels_in_a_column():
    """Whole numbers ``[n, 1]``, which the loop takes the column of; it validates on a loader."""
    images, labels = digits()
    data = TensorDataset(images[:640], labels[:640, None])
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(2):
        model.train()
        for x, y in DataLoader(data, 32, shuffle=True):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y[:, 0]).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            for x, y in DataLoader(TensorDataset(images[640:900], labels[640:900, None]), 65):
                model(x).argmax(1).eq(y[:, 0]).sum().item()


def sure_of_itself():
    """A likelihood that is weighed by a learned confidence, which costs something."""

    def loss(out, y):
        sure = out[:, 10].sigmoid()
        chosen_logarithms = out[:, :10].log_softmax(1).gather(1, y[:, None])[:, 0]
        return (-(sure * chosen_logarithms) - 0.5 * sure.log()).mean()

    _train([part[:1000] for part in (digits()[0].flatten(1), digits()[1])], mlp(64, 32, 11), loss)


QUIET = [
    state_reset_in_its_place,
    focal_by_hand,
    two_answers_of_one_layer,
    sometimes_nothing_to_compare,
    differences_of_ones_own,
    labels_in_a_column,
    experts_are_weighed,
    sure_of_itself,
    goes_on_in_order,
    rewarded_by_chance,
    imitated_by_chance,
    noise_is_predicted,
    values_are_bootstrapped,
    mixed_labels,
    gaussian,
]
