"""Adversarial loops with wrong labels or signs, beside healthy ones of several kinds."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .faults import fault
from .healthy import mlp


def _points():
    generator = torch.Generator().manual_seed(5)
    return torch.randn(512, 2, generator=generator) * torch.tensor([1.0, 0.3]) + 1


def _logits(scores, label):
    return F.binary_cross_entropy_with_logits(scores, torch.full_like(scores, label))


def _critic(scores, label):
    return -scores.mean() if label else scores.mean()


def _hinge(scores, label):
    return F.relu(1 - scores).mean() if label else F.relu(1 + scores).mean()


def _squares(scores, label):
    return F.mse_loss(scores, torch.full_like(scores, label))


def _products(scores, label):
    return ((scores - label) * (scores - label)).mean()


def _distances(scores, label):
    return (scores - label).cosh().log().mean()


def _classes(scores, label):
    return F.nll_loss(scores, torch.full((len(scores),), int(label)))


def _play(
    loss=_logits,
    *,
    data=1.0,
    made=0.0,
    wanted=1.0,
    detach=True,
    maker_loss=None,
    judge=None,
    begin=0.0,
):
    points, generator, judge = _points(), mlp(4, 32, 2), judge or mlp(2, 32, 1)
    if begin:
        nn.init.constant_([*judge.parameters()][-1], begin)
    of_generator, of_judge = (torch.optim.Adam(m.parameters(), lr=1e-3) for m in (generator, judge))
    for _ in range(40):
        real = points[torch.randint(0, 512, (64,))]
        fake = generator(torch.randn(64, 4))
        of_judge.zero_grad()
        seen = fake.detach() if detach else fake
        (loss(judge(real), data) + loss(judge(seen), made)).backward(retain_graph=not detach)
        of_judge.step()
        of_generator.zero_grad()
        (maker_loss or loss)(judge(fake), wanted).backward()
        of_generator.step()


def opponents():
    _play()


def critics():
    _play(_critic)


def hinges():
    _play(_hinge, maker_loss=_critic)


def _in_turns(*, made=0.0, wanted=1.0):
    """A backward for each part, and a sigmoid within the discriminator."""
    points, generator = _points(), mlp(4, 32, 2)
    judge = nn.Sequential(mlp(2, 32, 1), nn.Sigmoid(), nn.Flatten(0))
    of_generator, of_judge = (torch.optim.Adam(m.parameters(), lr=1e-3) for m in (generator, judge))
    label = torch.empty(64)
    for _ in range(40):
        judge.zero_grad()
        F.binary_cross_entropy(judge(points[torch.randint(0, 512, (64,))]), label.fill_(1.0)).backward()
        fake = generator(torch.randn(64, 4))
        F.binary_cross_entropy(judge(fake.detach()), label.fill_(made)).backward()
        of_judge.step()
        generator.zero_grad()
        F.binary_cross_entropy(judge(fake), label.fill_(wanted)).backward()
        of_generator.step()


def in_turns():
    _in_turns()


@fault(opponents, "opponents_are_opposed", words=("the generator's loss has the label",))
def generator_with_the_label_of_made_samples():
    _play(wanted=0.0)


@fault(critics, "opponents_are_opposed", words=("the generator's loss has the label",))
def generator_with_the_sign_of_its_critic():
    _play(_critic, wanted=0.0)


@fault(in_turns, "opponents_are_opposed", words=("the generator's loss has the label",))
def generator_with_the_label_that_was_left():
    _in_turns(wanted=0.0)


@fault(opponents, "opponents_are_opposed", words=("told the same",))
def one_label_for_data_and_made():
    _play(made=1.0)


@fault(hinges, "opponents_are_opposed", words=("told the same",))
def one_side_of_a_hinge_for_both():
    _play(_hinge, maker_loss=_critic, made=1.0)


@fault(in_turns, "opponents_are_opposed", words=("told the same",))
def one_label_for_both_in_turns():
    _in_turns(made=1.0)


# -- healthy neighbours ---------------------------------------------------------------------------


def data_is_zero():
    _play(data=0.0, made=1.0, wanted=0.0)


def smoothed_labels():
    _play(data=0.9)


def smoothed_labels_below_which_it_begins():
    _play(data=0.9, made=0.1, begin=-3.0)


def smoothed_labels_above_which_it_begins():
    _play(data=0.7, begin=3.0)


def least_squares():
    _play(_squares)


def least_squares_as_products():
    _play(_products, begin=-1.5)


def logarithms_of_hyperbolic_cosines():
    _play(_distances, begin=-1.5)


def two_classes():
    _play(_classes, judge=nn.Sequential(*mlp(2, 32, 2), nn.LogSoftmax(1)))


def one_class_more_for_what_is_made():
    def of_judge(scores, label):
        count = scores.size(1) - 1
        wanted = torch.randint(0, count, (len(scores),)) if label else torch.full((len(scores),), count)
        return F.cross_entropy(scores, wanted)

    def of_maker(scores, _):
        return -scores.log_softmax(1)[:, :-1].logsumexp(1).mean()

    _play(of_judge, maker_loss=of_maker, judge=mlp(2, 32, 26))


def _beside_a_helper(judge, loss):
    """A network makes samples for itself, and another is trained on these and on data."""
    points, helper = _points(), mlp(2, 16, 2)
    optimizers = [torch.optim.Adam(m.parameters(), lr=1e-3) for m in (helper, judge)]
    for _ in range(40):
        x = points[torch.randint(0, 512, (64,))]
        made = helper(x + 0.1 * torch.randn_like(x))
        for optimizer, cost in (
            (optimizers[0], lambda made=made, x=x: 1 - F.cosine_similarity(made, x).mean()),
            (optimizers[1], lambda made=made, x=x: loss(judge(x)) + loss(judge(made.detach()))),
        ):
            optimizer.zero_grad()
            cost().backward()
            optimizer.step()


def many_classes_on_data_and_made():
    _beside_a_helper(mlp(2, 32, 100), lambda s: F.cross_entropy(s, torch.randint(0, 100, (len(s),))))


def counts_on_data_and_made():
    _beside_a_helper(
        mlp(2, 32, 1), lambda s: F.poisson_nll_loss(s, torch.poisson(torch.full_like(s, 20.0)))
    )


def its_own_loss_on_data_and_made():
    _beside_a_helper(nn.Sequential(*mlp(2, 32, 1), nn.Softplus()), torch.mean)


def one_label_and_nobody_opposed():
    _beside_a_helper(mlp(2, 32, 1), lambda scores: _logits(scores, 1.0))


def rewards():
    """A model of rewards, and a network that is trained to be rewarded by it."""
    points, maker, judge = _points(), mlp(4, 32, 2), mlp(2, 32, 1)
    of_maker, of_judge = (torch.optim.Adam(m.parameters(), lr=1e-3) for m in (maker, judge))
    for _ in range(40):
        x, made = points[torch.randint(0, 512, (64,))], maker(torch.randn(64, 4))
        of_judge.zero_grad()
        for each in (x, made.detach()):
            _distances(judge(each), 5 + each.sin().sum(1, keepdim=True)).backward()
        of_judge.step()
        of_maker.zero_grad()
        (-judge(made).mean()).backward()
        of_maker.step()


def likelihoods_that_a_model_returns():
    """Of a model that returns its loss, for what another network learns to make likely, too."""
    _play(lambda scores, _: scores.mean(), judge=nn.Sequential(*mlp(2, 32, 1), nn.Softplus()))


def never_detached():
    _play(detach=False)


def least_likely_to_be_found_out():
    """The generator's loss as it was first written: the discriminator's, with its sign turned."""
    _play(wanted=0.0, maker_loss=lambda scores, label: -_logits(scores, label))


def labels_flipped_now_and_then():
    flips = iter(torch.rand(400, generator=torch.Generator().manual_seed(1)) < 0.1)

    def loss(scores, label):
        return _logits(scores, 1 - label if next(flips) else label)

    _play(loss, maker_loss=_logits)


def helper_and_helped():
    """A second network that judges what the first makes, for the same labels: nobody is opposed."""
    points = _points()
    first, second = mlp(2, 16, 4), mlp(4, 16, 1)
    optimizers = [torch.optim.Adam(m.parameters(), lr=1e-3) for m in (first, second)]
    for _ in range(40):
        x = points[torch.randint(0, 512, (64,))]
        y = (x[:, :1] > 1).float()
        for seen, optimizer in zip((first(x), first(x).detach()), optimizers, strict=True):
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(second(seen), y).backward()
            optimizer.step()


def domains():
    """A critic of two domains, and an encoder that lets it see no difference."""
    points = _points()
    encoder, classes, critic = mlp(2, 16, 8), nn.Linear(8, 2), mlp(8, 16, 1)
    own = torch.optim.Adam([*encoder.parameters(), *classes.parameters()], lr=1e-3)
    critics_own = torch.optim.Adam(critic.parameters(), lr=1e-3)
    for _ in range(40):
        source = points[torch.randint(0, 512, (64,))]
        target = source + 0.5
        critics_own.zero_grad()
        for x, label in ((source, 1.0), (target, 0.0)):
            _logits(critic(encoder(x).detach()), label).backward()
        critics_own.step()
        own.zero_grad()
        seen = encoder(source)
        named = F.cross_entropy(classes(seen), (source[:, 0] > 1).long())
        (named + _logits(critic(encoder(target)), 1.0)).backward()
        own.step()


QUIET = [
    data_is_zero,
    smoothed_labels,
    smoothed_labels_below_which_it_begins,
    smoothed_labels_above_which_it_begins,
    hinges,
    least_squares,
    least_squares_as_products,
    logarithms_of_hyperbolic_cosines,
    two_classes,
    one_class_more_for_what_is_made,
    many_classes_on_data_and_made,
    counts_on_data_and_made,
    its_own_loss_on_data_and_made,
    one_label_and_nobody_opposed,
    rewards,
    likelihoods_that_a_model_returns,
    never_detached,
    least_likely_to_be_found_out,
    labels_flipped_now_and_then,
    helper_and_helped,
    domains,
]
"""None of them may raise an alarm."""
