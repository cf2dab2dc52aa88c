"""Loops that hold their data in tensors, cut them by hand and evaluate a copy that stands still."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from .data import diabetes, digits, tumours
from .faults import fault
from .healthy import Net, mlp

EPOCHS = 6


def _fit(model, after_epoch, *, follow=None, data=None, epochs=EPOCHS, compare=F.cross_entropy):
    """Train on slices; ``follow`` runs after every step, ``after_epoch`` under no_grad."""
    x, y = data or (digits()[0][:800], digits()[1][:800])
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(epochs):
        model.train()
        for i in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            compare(model(x[i]), y[i]).backward()
            optimizer.step()
            if follow:
                with torch.no_grad():
                    follow()
        with torch.no_grad():
            after_epoch(epoch)


def _mixes(copied, model, decay):
    def follow():
        for a, b in zip(copied.parameters(), model.parameters(), strict=True):
            a.lerp_(b, 1 - decay)

    return follow


def _held_out():
    images, labels = digits()
    return images[1000:1400], labels[1000:1400]


def _score(model, x, y):
    model.eval()
    return F.cross_entropy(model(x), y).item()


def _averaged(decay=0.9, source=None, make=copy.deepcopy, model=None):
    model = model or nn.Sequential(nn.Flatten(), mlp(64, 48, 10))
    average = make(model).requires_grad_(False)
    follow = _mixes(average, model if source is None else source(average), decay)
    x, y = _held_out()
    _fit(model, lambda _: _score(average, x, y), follow=follow)


def average_of_slices():
    _averaged()


@fault(average_of_slices, "validated_model_is_trained", words=("never updated",))
def average_of_itself_on_slices():
    _averaged(source=lambda average: average)


@fault(average_of_slices, "validated_model_is_trained", words=("never updated",))
def average_forgotten_and_scored_in_chunks():
    rows, labels = tumours()
    model = mlp(30, 32, 16, 1)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))

    def scored(_):
        average.eval()
        torch.cat([average(chunk) for chunk in rows[400:].split(50)])

    data = rows[:400], labels[:400, None]
    _fit(model, scored, data=data, compare=F.binary_cross_entropy_with_logits)


@fault(average_of_slices, "validated_model_is_trained", words=("never updated",))
def another_model_is_scored():
    """It is built anew, and the trained one only after the training."""
    rows, target = diabetes()
    model, scored = mlp(10, 64, 1), mlp(10, 64, 1)
    _fit(model, lambda _: scored.eval()(rows[300:]), data=(rows[:300], target[:300]), compare=F.mse_loss)
    model.eval()
    with torch.no_grad():
        model(rows[300:])


@fault(average_of_slices, "validated_model_is_trained", words=("is untrained",), advice=True)
def still_average_scored_beside_the_model():
    model = nn.Sequential(nn.Flatten(), mlp(64, 48, 10))
    average = copy.deepcopy(model)
    x, y = _held_out()
    _fit(model, lambda _: (_score(model, x, y), _score(average, x, y)))


# -- target networks ------------------------------------------------------------------------------


def _bootstrap(sync, *, often=1, steps=230, reference=copy.deepcopy):
    """Values learned from those of a copy, one step on, that is asked at every so many steps."""
    rows, reward = diabetes()
    value = mlp(10, 64, 1)
    target = reference(value).eval()
    optimizer = torch.optim.Adam(value.parameters(), lr=1e-3)
    for step in range(steps):
        if step % often == 0:
            i = torch.randint(0, 400, (32,))
            with torch.no_grad():
                goal = reward[i] + 0.9 * target(rows[i + 1])
        optimizer.zero_grad()
        F.smooth_l1_loss(value(rows[i]), goal).backward()
        optimizer.step()
        sync(step, target, value)


def target_synchronised_now_and_then():
    def sync(step, target, value):
        if step % 50 == 49:
            target.load_state_dict(value.state_dict())

    _bootstrap(sync)


@fault(
    target_synchronised_now_and_then,
    "targets_are_aligned",
    words=("to be synchronised, unless that is due later",),
    advice=True,
)
def target_of_a_short_loop_never_synchronised():
    _bootstrap(lambda *_: None, steps=260)


# -- healthy neighbours ---------------------------------------------------------------------------


def average_that_is_slow_on_slices():
    _averaged(decay=0.999)


def average_made_after_the_training_began():
    model = nn.Sequential(nn.Flatten(), mlp(64, 48, 10))
    x, y = _held_out()
    averages = []

    def after(epoch):
        if epoch == 1:
            averages.append(AveragedModel(model))
        elif epoch > 1:
            averages[0].update_parameters(model)
            _score(averages[0], x, y)

    _fit(model, after)


def average_that_begins_late_on_slices():
    model = nn.Sequential(nn.Flatten(), mlp(64, 48, 10))
    average = AveragedModel(model)
    x, y = _held_out()

    def after(epoch):
        _score(model, x, y)
        if epoch >= EPOCHS - 2:
            average.update_parameters(model)
            _score(average, x, y)

    _fit(model, after)


def target_synchronised_after_the_watch():
    """It is asked at every fourth step, on other samples, and due after 10,000."""
    _bootstrap(lambda *_: None, often=4, steps=120)


def preferences():
    """A frozen copy gives two answers at every step."""
    rows, _ = tumours()
    model = mlp(30, 64, 1)
    reference = copy.deepcopy(model).eval().requires_grad_(False)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(40):
        one, other = rows[torch.randint(0, 569, (2, 32))]
        with torch.no_grad():
            before = reference(one) - reference(other)
        optimizer.zero_grad()
        (-F.logsigmoid(model(one) - model(other) - before)).mean().backward()
        optimizer.step()


def rollouts_with_a_reference():
    """New samples every eight steps, for which policy and reference are asked."""
    rows, reward = diabetes()
    policy = mlp(10, 64, 1)
    reference = copy.deepcopy(policy).eval()
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-3)
    for _ in range(12):
        i = torch.randint(0, 442, (64,))
        with torch.no_grad():
            goal = reward[i] - 0.1 * (policy(rows[i]) - reference(rows[i]))
        for part in torch.randperm(64).split(8):
            optimizer.zero_grad()
            F.mse_loss(policy(rows[i][part]), goal[part]).backward()
            optimizer.step()


def pretrained_teacher_asked_for_all_at_every_epoch():
    """As large as its student, and what it says of all samples is computed anew."""
    images, _ = digits()
    student, teacher = (nn.Sequential(nn.Flatten(), mlp(64, 48, 10)) for _ in range(2))
    for p in teacher.eval().requires_grad_(False).parameters():
        p.mul_(p.abs() * p[0].numel())  # the heavy tails of a training
    with torch.no_grad():
        wanted = teacher(images[:800]).argmax(1)
    _fit(student, lambda _: wanted.copy_(teacher(images[:800]).argmax(1)), data=(images[:800], wanted))


def best_of_all_epochs():
    model = nn.Sequential(nn.Flatten(), mlp(64, 48, 10))
    best = [float("inf"), copy.deepcopy(model).eval()]
    x, y = _held_out()

    def after(_):
        loss = _score(model, x, y)
        _score(best[1], x, y)
        if loss < best[0]:
            best[:] = loss, copy.deepcopy(model)

    _fit(model, after)
    _score(best[1], x, y)


def rewound_to_the_beginning():
    """Lottery tickets: the weights of the beginning are kept, and come back under a mask."""
    model = nn.Sequential(nn.Flatten(), mlp(64, 48, 10))
    first = copy.deepcopy(model).eval().requires_grad_(False)
    x, y = _held_out()
    for _ in range(2):
        _fit(model, lambda _: _score(model, x, y), epochs=3)
        with torch.no_grad():
            for now, then in zip(model.parameters(), first.parameters(), strict=True):
                now.copy_(then * (now.abs() > now.abs().median()))


def members_of_an_ensemble():
    """All begin as one, are trained in turn, and are scored together."""
    base = nn.Sequential(nn.Flatten(), mlp(64, 48, 10))
    members = [copy.deepcopy(base) for _ in range(3)]
    x, _ = _held_out()
    for member in members:
        _fit(member, lambda _: sum(each.eval()(x).softmax(1) for each in members), epochs=3)


def predictor_of_a_random_network():
    rows, _ = diabetes()
    goal, model = mlp(10, 64, 4).eval(), mlp(10, 64, 4)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(60):
        with torch.no_grad():
            wanted = goal(rows)
        optimizer.zero_grad()
        F.mse_loss(model(rows), wanted).backward()
        optimizer.step()


class Pair(nn.Module):
    """Holds its own slow copy, and asks it within its forward."""

    def __init__(self):
        super().__init__()
        self.online = nn.Sequential(nn.Flatten(), mlp(64, 48, 10))
        self.target = copy.deepcopy(self.online).eval().requires_grad_(False)

    def forward(self, x):
        with torch.no_grad():
            goal = self.target(x + 0.05 * torch.randn_like(x))
        return self.online(x) + 0 * goal


def copy_asked_within_a_model():
    model = Pair()
    x, y = _held_out()
    _fit(model, lambda _: _score(model, x, y))


def model_with_batch_norm_and_its_average():
    model = Net()
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    x, y = _held_out()
    _fit(model, lambda _: _score(average, x, y), follow=lambda: average.update_parameters(model))


# -- the trained model itself, in which mode and on what ------------------------------------------


def _scored(model, after):
    x, y = _held_out()
    _fit(model, lambda _: after(model, x, y))


def scored_on_slices():
    _scored(Net(), _score)


@fault(scored_on_slices, "modes_are_right", words=("eval() is missing",))
def scored_on_a_slice_without_eval():
    _scored(Net(), lambda model, x, _: model(x).argmax(1))


@fault(scored_on_slices, "modes_are_right", words=("eval() is missing",))
def scored_in_chunks_without_eval():
    rows, labels = tumours()
    model = nn.Sequential(mlp(30, 32, 32, 1, dropout=0.3))
    x, y = rows[:400], labels[:400, None]

    def after(_):
        torch.cat([model(part) for part in rows[400:].split(48)])

    _fit(model, after, data=(x, y), compare=F.binary_cross_entropy_with_logits)


def evaluate(model, *, mode=False, draws=4):
    """Scored on other held-out samples each time."""
    images, labels = digits()
    model.train(mode)
    drawn = (torch.randint(1000, 1500, (48,)) for _ in range(draws))
    scores = [F.cross_entropy(model(images[i]), labels[i]).item() for i in drawn]
    model.train()
    return sum(scores) / len(scores)


def scored_on_random_slices():
    model = Net()
    _fit(model, lambda _: evaluate(model))


@fault(scored_on_random_slices, "modes_are_right", words=("eval() is missing", "evaluate"))
def scored_on_random_slices_without_eval():
    model = Net()
    _fit(model, lambda _: evaluate(model, mode=True))


def answers_drawn_of_random_slices():
    """The same, by a function that says that it draws answers."""

    def evaluate_monte_carlo(model):
        images, _ = digits()
        return [model(images[torch.randint(1000, 1500, (48,))]).std() for _ in range(4)]

    model = Net()
    _fit(model, lambda _: evaluate_monte_carlo(model))


def many_answers_of_one_batch_evaluated():
    images, _ = digits()

    def evaluate(model):
        return model(images[torch.randint(1000, 1500, (1,))].repeat(48, 1, 1, 1)).std(0)

    model = Net()
    _fit(model, lambda _: (evaluate(model), evaluate(model)))


@fault(scored_on_slices, "validation_is_untouched", words=("validation loop trains",))
def scored_with_the_code_that_trains():
    images, labels = digits()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(4):
        for which, training in ((torch.randperm(800), True), (torch.arange(1000, 1400), False)):
            model.train(training)
            for i in which.split(64):
                optimizer.zero_grad()
                F.cross_entropy(model(images[i]), labels[i]).backward()
                optimizer.step()


@fault(scored_on_slices, "validation_is_untouched", words=("trained on before",))
def scored_on_slices_of_what_is_trained_on():
    images, labels = digits()
    held = torch.randperm(800)[:200].sort().values
    model = Net()
    _fit(model, lambda _: [_score(model, images[i], labels[i]) for i in held.split(50)])


def many_answers_to_held_out_samples():
    """Monte Carlo dropout."""
    _scored(Net(), lambda model, x, _: torch.stack([model(x) for _ in range(8)]).var(0))


def many_answers_in_one_batch():
    _scored(Net(), lambda model, x, _: model(x[:20].repeat(8, 1, 1, 1)))


def accuracy_on_what_is_trained_on():
    images, labels = digits()
    model = Net()
    _fit(model, lambda _: (model(images[:800]).argmax(1) == labels[:800]).float().mean())


def statistics_made_anew_before_the_score():
    """Precise batch norm: a pass in train mode over the training data, then a validation."""
    images, _ = digits()

    def after(model, x, y):
        for part in images[:800].split(200):
            model(part)
        _score(model, x, y)

    _scored(Net(), after)


def pictures_of_fixed_noise():
    """A generator without an adversary, in train mode as in the tutorial."""
    images, _ = digits()
    model = nn.Sequential(
        nn.Linear(8, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64), nn.Sigmoid()
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    fixed = torch.randn(32, 8)
    for step in range(80):
        real, made = images[torch.randint(0, 800, (64,))].flatten(1), model(torch.randn(64, 8))
        optimizer.zero_grad()
        (torch.cdist(real, made).mean() - torch.cdist(made, made).mean() / 2).backward()
        optimizer.step()
        if step % 10 == 9:
            with torch.no_grad():
                model(fixed)


def pictures_of_an_adversarial_generator():
    images, _ = digits()
    maker = nn.Sequential(nn.Linear(8, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64))
    judge = mlp(64, 64, 1, dropout=0.2)
    makes, judges = (torch.optim.Adam(m.parameters(), lr=1e-3) for m in (maker, judge))
    fixed, pool = torch.randn(32, 8), torch.randn(256, 8)
    for step in range(60):
        real, noise = images[torch.randint(0, 800, (64,))].flatten(1), pool[torch.randperm(256)[:64]]
        judges.zero_grad()
        (F.softplus(-judge(real)) + F.softplus(judge(maker(noise).detach()))).mean().backward()
        judges.step()
        makes.zero_grad()
        F.softplus(-judge(maker(noise))).mean().backward()
        makes.step()
        if step % 10 == 9:
            with torch.no_grad():
                maker(fixed)


def walks_in_train_mode():
    """Roll-outs that begin at one place, of a policy with dropout; each goes its own way."""
    rows, _ = diabetes()
    policy = mlp(10, 32, 4, dropout=0.2)
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-3)
    for _ in range(8):
        states, acts = [], []
        at = 0
        with torch.no_grad():
            for _ in range(32):
                states.append(rows[at])
                acts.append(torch.distributions.Categorical(logits=policy(rows[at][None])[0]).sample())
                at = (at * 4 + int(acts[-1]) + 1) % 442
        states, acts = torch.stack(states), torch.stack(acts)
        gain = torch.linspace(1, -1, 32)
        for i in torch.randperm(32).split(8):
            optimizer.zero_grad()
            (F.cross_entropy(policy(states[i]), acts[i], reduction="none") * gain[i]).mean().backward()
            optimizer.step()


def targets_made_of_all_samples_in_train_mode():
    """Fitted values: what comes after each sample is asked anew now and then."""
    rows, reward = diabetes()
    value = mlp(10, 64, 1, dropout=0.1)
    goal = reward[:-1].clone()

    def after(_):
        goal.copy_(reward[:-1] + 0.9 * value(rows[1:]))

    _fit(value, after, data=(rows[:-1], goal), compare=F.smooth_l1_loss)


def labels_made_of_other_samples_in_train_mode():
    """Pseudo-labels with dropout, for samples that are trained on after that."""
    images, labels = digits()
    model = Net()
    x, y = images[:1200], labels[:1200].clone()
    x_of = torch.randperm(1200)
    known = x_of[:600]

    def after(_):
        others = x_of[600:]
        y[others] = model(x[others]).argmax(1)

    for _ in range(4):
        _fit(model, after, data=(x[known], y[known]), epochs=1)
        known = x_of


UNTOLD = [
    average_of_slices,
    average_that_is_slow_on_slices,
    average_made_after_the_training_began,
    average_that_begins_late_on_slices,
    target_synchronised_now_and_then,
    target_synchronised_after_the_watch,
    preferences,
    rollouts_with_a_reference,
    pretrained_teacher_asked_for_all_at_every_epoch,
    best_of_all_epochs,
    rewound_to_the_beginning,
    members_of_an_ensemble,
    predictor_of_a_random_network,
    copy_asked_within_a_model,
    model_with_batch_norm_and_its_average,
]
"""None of them may raise an alarm, nor be advised of a copy that stands still."""
QUIET = [
    *UNTOLD,
    many_answers_to_held_out_samples,
    many_answers_in_one_batch,
    answers_drawn_of_random_slices,
    many_answers_of_one_batch_evaluated,
    accuracy_on_what_is_trained_on,
    statistics_made_anew_before_the_score,
    pictures_of_fixed_noise,
    pictures_of_an_adversarial_generator,
    walks_in_train_mode,
    targets_made_of_all_samples_in_train_mode,
    labels_made_of_other_samples_in_train_mode,
]
"""None of them may raise an alarm."""
