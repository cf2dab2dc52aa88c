"""Loops where a result is handed on without its graph, or not propagated at all, beside healthy ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .data import digits
from .faults import fault
from .healthy import mlp


def _batches(steps, size=32):
    images, labels = digits()
    for _ in range(steps):
        chosen = torch.randint(0, 1000, (size,))
        yield images[chosen].flatten(1), labels[chosen]


def _fit(loss_of, *parts, steps=40, lr=3e-3):
    """One optimizer over all parts."""
    optimizer = torch.optim.Adam(nn.ModuleList(parts).parameters(), lr=lr)
    for step, (x, y) in enumerate(_batches(steps)):
        optimizer.zero_grad()
        loss_of(step, x, y).backward()
        optimizer.step()


# -- a part without gradients ---------------------------------------------------------------------


def _encoder_and_head(*, gradients=lambda _: True, detach=False):
    encoder, head = mlp(64, 32, 16), nn.Linear(16, 10)

    def loss_of(step, x, y):
        with torch.set_grad_enabled(gradients(step)):
            code = encoder(x)
        code = torch.tanh(code)
        return F.cross_entropy(head(code.detach() if detach else code), y)

    _fit(loss_of, encoder, head)


def encoder_and_head():
    _encoder_and_head()


@fault(
    encoder_and_head, "gradients_flow", words=("is called under torch.no_grad(), at faults_of_flows",)
)
def encoder_without_gradients():
    _encoder_and_head(gradients=lambda _: False)


@fault(encoder_and_head, "gradients_flow", words=("is detached before it goes into `Linear`",))
def encoder_detached():
    _encoder_and_head(detach=True)


class _Coded(nn.Module):
    def __init__(self, *, detach):
        super().__init__()
        self.body, self.head, self.detach = mlp(64, 32, 16), nn.Linear(16, 10), detach

    def forward(self, x):
        code = self.body(x).relu()
        return self.head(code.detach() if self.detach else code)


def body_and_head(*, detach=False):
    model = _Coded(detach=detach)
    _fit(lambda _, x, y: F.cross_entropy(model(x), y), model)


@fault(body_and_head, "gradients_flow", words=("what `body` returns is detached",))
def body_detached():
    body_and_head(detach=True)


def encoder_that_joins_later():
    _encoder_and_head(gradients=lambda step: step >= 20)


def probe_on_detached_features():
    encoder, decoder, probe = mlp(64, 32, 16), nn.Linear(16, 64), nn.Linear(16, 10)

    def loss_of(_, x, y):
        code = encoder(x)
        return F.mse_loss(decoder(code), x) + F.cross_entropy(probe(code.detach()), y)

    _fit(loss_of, encoder, decoder, probe)


def teacher_held_and_not_asked():
    """The optimizer holds the teacher too, which gives targets without gradients."""
    pair = nn.ModuleDict({"teacher": mlp(64, 32, 10), "student": mlp(64, 16, 10)})

    def loss_of(_, x, __):
        with torch.no_grad():
            wanted = pair["teacher"](x).softmax(1)
        return F.kl_div(pair["student"](x).log_softmax(1), wanted, reduction="batchmean")

    _fit(loss_of, pair)


# -- a generator and its critic -------------------------------------------------------------------


def _gan(*, turn=lambda _: True, learns_from_fakes=True, steps=110, also=lambda *_: None):
    generator, critic = mlp(8, 32, 64), mlp(64, 32, 1)
    of_generator, of_critic = (torch.optim.Adam(m.parameters(), lr=1e-3) for m in (generator, critic))
    for step, (x, _) in enumerate(_batches(steps)):
        of_critic.zero_grad()
        fakes = generator(torch.randn(32, 8))
        real, fake = F.softplus(-critic(x)).mean(), F.softplus(critic(fakes.detach())).mean()
        (real + fake if learns_from_fakes else real).backward()
        of_critic.step()
        also(critic, fakes)
        if turn(step):
            of_generator.zero_grad()
            F.softplus(-critic(fakes)).mean().backward()
            of_generator.step()


def gan():
    _gan(turn=lambda step: step % 5 == 4)


@fault(gan, "steps_are_in_order", words=("over Sequential never stepped and had no gradient",))
def generator_without_a_turn():
    _gan(turn=lambda step: step % 5 == 5)


@fault(gan, "steps_are_in_order", words=("is computed and never propagated",))
def critic_that_learns_from_data_alone():
    _gan(learns_from_fakes=False, steps=30)


def gan_after_a_hundred_steps():
    """As WGAN begins."""
    _gan(turn=lambda step: step >= 100)


def gan_that_logs_its_critic():
    _gan(steps=30, also=lambda critic, fakes: critic(fakes.detach()).mean().item())


def critic_alone():
    """A part of a training, and no fault for sure."""
    _gan(turn=lambda _: False, steps=50)


class _Value(nn.Module):
    """What an action is worth in a state."""

    def __init__(self):
        super().__init__()
        self.net = mlp(6, 32, 1)

    def forward(self, state, action):
        return self.net(torch.cat([state, action], 1))


def critic_that_is_its_own_target():
    """Actor and critic without target networks; targets are detached, not made under no_grad."""
    actor, critic = mlp(4, 32, 2), _Value()
    of_actor, of_critic = (torch.optim.Adam(m.parameters(), lr=1e-3) for m in (actor, critic))
    for _ in range(40):
        state, following, acted = torch.randn(32, 4), torch.randn(32, 4), torch.randn(32, 2)
        goal = torch.randn(32, 1) + 0.9 * critic(following, actor(following).detach()).detach()
        of_critic.zero_grad()
        F.mse_loss(critic(state, acted), goal).backward()
        of_critic.step()
        of_actor.zero_grad()
        (-critic(state, actor(state))).mean().backward()
        of_actor.step()


# -- a teacher that is trained along --------------------------------------------------------------


def _pretrained(width=96):
    net = mlp(64, width, 10)
    _fit(lambda _, x, y: F.cross_entropy(net(x), y), net, steps=60)
    return net


def _kl(wanted, scores):
    return F.kl_div(scores.log_softmax(1), wanted.softmax(1), reduction="batchmean")


def _distil(loss, *, detach=False, teacher=None, own=0.0):
    teacher, student = teacher or _pretrained(), mlp(64, 16, 10)

    def loss_of(_, x, y):
        wanted, scores = teacher(x), student(x)
        labels = own * F.cross_entropy(wanted, y) if own else 0.0
        return loss(wanted.detach() if detach else wanted, scores) + labels

    _fit(loss_of, nn.ModuleDict({"teacher": teacher, "student": student}))


def distilled_into_half_of_a_pair():
    _distil(_kl, detach=True)


@fault(distilled_into_half_of_a_pair, "targets_are_aligned", words=("pulled towards its student",))
def teacher_trained_by_its_divergence():
    _distil(_kl)


@fault(distilled_into_half_of_a_pair, "targets_are_aligned", words=("pulled towards its student",))
def teacher_trained_by_a_written_square():
    _distil(lambda wanted, scores: ((scores - wanted) ** 2).mean())


def two_that_learn_from_each_other():
    _distil(lambda a, b: _kl(a, b) + _kl(b, a), own=1.0)


def two_fresh_encoders_that_agree():
    _distil(_kl, teacher=mlp(64, 96, 10))


def variance_keeps_two_encoders_apart():
    def spread(codes):
        return F.relu(1 - (codes.var(0) + 1e-4).sqrt()).mean()

    _distil(lambda a, b: F.mse_loss(b, a) + spread(a) + spread(b))


def gate_of_experts():
    gate, experts = _pretrained(), nn.Linear(64, 100)

    def loss_of(_, x, y):
        each = experts(x).view(-1, 10, 10).log_softmax(2)
        chosen = each.gather(2, y.view(-1, 1, 1).expand(-1, 10, 1)).squeeze(2)
        return -(gate(x).softmax(1) * chosen).sum(1).mean()

    _fit(loss_of, gate, experts)


QUIET = [
    encoder_that_joins_later,
    probe_on_detached_features,
    teacher_held_and_not_asked,
    gan_after_a_hundred_steps,
    gan_that_logs_its_critic,
    critic_alone,
    critic_that_is_its_own_target,
    two_that_learn_from_each_other,
    two_fresh_encoders_that_agree,
    variance_keeps_two_encoders_apart,
    gate_of_experts,
]
"""None of them may raise an alarm."""
