"""Losses whose terms are weighed: by masks, by what actions earned, by teachers, by soft labels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from .data import diabetes, digits, tumours
from .faults import fault
from .healthy import Net, mlp


def _trained(data, model, loss, *, epochs=3, rate=3e-3, optimizer=torch.optim.Adam):
    optimizer = optimizer(model.parameters(), rate)
    for _ in range(epochs):
        for x, y in DataLoader(TensorDataset(*data), 32, shuffle=True):
            optimizer.zero_grad()
            loss(model, x, y).backward()
            optimizer.step()


# -- masks ------------------------------------------------------------------------------------------


def _filled_in(mean):
    def loss(model, x, _):
        hidden = (torch.rand_like(x) < 0.15).float()
        return mean((model(x * (1 - hidden)) - x) ** 2 * hidden, hidden)

    rows = tumours()[0]
    _trained((rows, rows), mlp(30, 32, 30), loss, epochs=4)


def over_what_is_hidden():
    _filled_in(lambda off, hidden: off.sum() / hidden.sum())


@fault(over_what_is_hidden, "targets_are_aligned", words=("the mean is over all",), advice=True)
def over_all_places():
    _filled_in(lambda off, _: off.mean())


def sure_samples_only():
    """A weight for each sample, and the mean over all, as in FixMatch."""

    def loss(model, x, _):
        with torch.no_grad():
            surest, label = model(x).softmax(1).max(1)
        return (F.cross_entropy(model(x), label, reduction="none") * (surest > 0.2).float()).mean()

    _trained([part[:1000] for part in digits()], Net(), loss)


def few_inputs_at_a_time():
    """Masks of the inputs are none of the loss."""
    _trained(
        diabetes(),
        mlp(10, 32, 1),
        lambda model, x, y: F.mse_loss(model(x * (torch.rand_like(x) < 0.8)), y),
    )


def chosen_by_factors():
    """Zeros and ones that choose a term: of a class, of a margin."""

    def loss(model, x, y):
        scores = model(x)
        chosen = F.one_hot(y, 10).float()
        margins = 1 - scores * (2 * chosen - 1)
        return -(chosen * scores.log_softmax(1)).mean() + ((margins > 0).float() * margins).mean()

    _trained([part[:1000] for part in digits()], Net(), loss)


# -- what actions earned ------------------------------------------------------------------------------


class Actor(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.policy, self.value = mlp(64, 32, 32), nn.Linear(32, 10), nn.Linear(32, 1)

    def forward(self, x):
        seen = self.body(x).relu()
        return self.policy(seen), self.value(seen)[:, 0]


def _acts(sign, *, earns=lambda right: right, weigh=lambda earned, _: earned, critic=False):
    images, digit = digits()[0][:640].flatten(1), digits()[1][:640]
    model = Actor()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(4):
        for rows in torch.randperm(640).split(64):
            logits, value = model(images[rows])
            chances = torch.distributions.Categorical(logits=logits)
            act = chances.sample()
            earned = earns((act == digit[rows]).float() + 0.1 * torch.rand(len(rows)))
            loss = sign * (chances.log_prob(act) * weigh(earned, value.detach())).mean()
            if critic:
                loss = loss + 0.5 * F.mse_loss(value, earned)
            optimizer.zero_grad()
            (loss - 0.01 * chances.entropy().mean()).backward()
            optimizer.step()


def better(earned, value):
    return (earned - value) / (earned - value).std()


def earns_more():
    _acts(-1)


def earns_more_than_expected():
    _acts(-1, weigh=better, critic=True)


def turned_twice():
    _acts(1, weigh=lambda earned, value: -better(earned, value), critic=True)


def discounted():
    """Weights that are turned by a factor of many numbers."""
    _acts(1, weigh=lambda earned, _: -earned * torch.linspace(1, 0.5, len(earned)))


def pays_less():
    _acts(1, earns=lambda right: -right)


def pays_less_than_expected():
    _acts(1, earns=lambda right: 1 - right, weigh=better, critic=True)


_SIGN = ("wrong sign",)


@fault(earns_more, "targets_are_aligned", words=_SIGN, advice=True)
def earns_less():
    _acts(1)


@fault(earns_more_than_expected, "targets_are_aligned", words=_SIGN, advice=True)
def earns_less_than_expected():
    _acts(1, weigh=better, critic=True)


# -- teachers -----------------------------------------------------------------------------------------


class Exits(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.early, self.late = mlp(64, 32, 32), nn.Linear(32, 10), mlp(32, 32, 10)

    def forward(self, x):
        seen = self.body(x.flatten(1)).relu()
        return self.early(seen), self.late(seen)


def _divergence(student, teacher):
    return F.kl_div(F.log_softmax(student / 2, 1), F.softmax(teacher / 2, 1), reduction="batchmean")


def _taught(divergence):
    def loss(model, x, y):
        early, late = model(x)
        return F.cross_entropy(late, y) + F.cross_entropy(early, y) + divergence(early, late)

    _trained([part[:1000] for part in digits()], Exits(), loss)


def taught_by_the_last_exit():
    _taught(lambda early, late: _divergence(early, late.detach()))


@fault(taught_by_the_last_exit, "loss_is_sound", words=("kl_div is given probabilities",))
def taught_by_probabilities():
    def divergence(early, late):
        chances = (early.softmax(1), late.detach().softmax(1))
        return 0.5 * F.kl_div(*chances, reduction="batchmean")

    _taught(divergence)


@fault(taught_by_the_last_exit, "loss_is_sound", words=("targets of kl_div are probabilities",))
def taught_by_what_is_taken_for_logarithms():
    def divergence(early, late):
        wanted = late.detach().softmax(1)
        return F.kl_div(early.log_softmax(1), wanted, reduction="batchmean", log_target=True)

    _taught(divergence)


def taught_by_each_other():
    _taught(lambda early, late: _divergence(early, late) + _divergence(late, early))


def sure_of_itself():
    """An entropy weighs logarithms by their own probabilities."""
    _taught(lambda early, _: -0.1 * (early.softmax(1) * early.log_softmax(1)).sum(1).mean())


def robust():
    """Two views of a sample by one model, as in TRADES: both sides move."""

    def loss(model, x, y):
        shaken = model(x + 0.1 * torch.randn_like(x))
        return F.cross_entropy(model(x), y) + _divergence(shaken, model(x))

    _trained([part[:1000] for part in digits()], Net(), loss)


@fault(taught_by_the_last_exit, "targets_are_aligned", words=("into the targets",), advice=True)
def teacher_with_gradients():
    _taught(_divergence)


def _written_out(student, teacher):
    chances = teacher.softmax(1)
    return (chances * (chances.clamp_min(1e-8).log() - student.log_softmax(1))).sum(1).mean()


def taught_in_a_written_divergence():
    _taught(lambda early, late: _written_out(early, late.detach()))


@fault(taught_in_a_written_divergence, "targets_are_aligned", words=("into the targets",), advice=True)
def written_teacher_with_gradients():
    _taught(_written_out)


# -- soft labels --------------------------------------------------------------------------------------


def _smoothed(axis):
    def loss(model, x, y):
        logarithms = model(x).log_softmax(axis)
        soft = torch.full_like(logarithms, 0.01).scatter_(1, y[:, None], 0.91)
        return (-soft * logarithms).sum(1).mean()

    _trained([part[:960] for part in digits()], Net(), loss)


def matched():
    """Samples against samples: each is to find its partner, and each partner its sample."""

    def loss(model, x, _):
        one, other = (F.normalize(model(x + 0.1 * torch.randn_like(x)), dim=1) for _ in range(2))
        scores = one @ other.T * 5
        soft = 0.9 * torch.eye(len(x)) + 0.1 * (other @ other.T).detach().softmax(1)
        rows, columns = scores.log_softmax(1), scores.log_softmax(0)
        return -(soft * rows).sum(1).mean() - (soft * columns).sum(0).mean()

    _trained([part[:960] for part in digits()], Net(), loss)


def smoothed():
    _smoothed(1)


@fault(smoothed, "loss_is_sound", words=("over the batch",))
def smoothed_over_the_batch():
    _smoothed(0)


# -- accumulation -------------------------------------------------------------------------------------


def _adds_up(divide, rate):
    model = mlp(10, 32, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    for _ in range(30):
        loader = DataLoader(TensorDataset(*diabetes()), 16, shuffle=True, drop_last=True)
        for number, (x, y) in enumerate(loader, 1):
            divide(F.smooth_l1_loss(model(x), y)).backward()
            if number % 9 == 0:
                optimizer.step()
                optimizer.zero_grad()


def large_but_divided():
    _adds_up(lambda loss: loss / 9, 0.3)


@fault(large_but_divided, "parameters_update", words=("9 micro-batches add up undivided",))
def large_and_undivided():
    _adds_up(lambda loss: loss, 0.3)


QUIET = [
    over_what_is_hidden,
    sure_samples_only,
    few_inputs_at_a_time,
    chosen_by_factors,
    discounted,
    robust,
    matched,
    earns_more,
    earns_more_than_expected,
    turned_twice,
    pays_less,
    taught_by_the_last_exit,
    taught_by_each_other,
    taught_in_a_written_divergence,
    sure_of_itself,
    smoothed,
    large_but_divided,
]
"""None of them may raise an alarm, nor be advised of a mask, a sign or a teacher."""
COSTS = [pays_less_than_expected]
"""What is paid cannot be told from what is earned: advice says so."""
