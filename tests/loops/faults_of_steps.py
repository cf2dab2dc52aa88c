"""Loops that compare, accumulate, detach or schedule wrongly, beside their healthy twins."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from . import healthy, neighbours
from .data import diabetes, digits, loaders
from .faults import fault, train_classifier
from .healthy import Net, Walk, evaluate, mlp


@fault(train_classifier, "targets_are_aligned", words=("another one",))
def labels_of_the_previous_batch():
    train, test = loaders()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    kept = None
    for _ in range(2):
        model.train()
        for x, y in train:
            if len(x) == 64 and kept is not None:
                optimizer.zero_grad()
                F.cross_entropy(model(x), kept).backward()
                optimizer.step()
            kept = y if len(y) == 64 else None
        evaluate(model, test)


@fault(neighbours.regression, "targets_are_aligned", words=("[n, 1]",))
def outputs_and_targets_broadcast():
    rows, target = diabetes()
    loader = DataLoader(TensorDataset(rows, target.squeeze(1)), 32, shuffle=True)
    model = mlp(10, 16, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(3):
        for x, y in loader:
            optimizer.zero_grad()
            ((model(x) - y) ** 2).mean().backward()
            optimizer.step()


@fault(neighbours.accumulation_with_sgd, "steps_are_in_order", words=("undivided",), advice=True)
def accumulation_not_divided():
    train, _ = loaders(16)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for i, (x, y) in enumerate(train):
        F.cross_entropy(model(x), y).backward()
        if (i + 1) % 4 == 0:
            optimizer.step()
            optimizer.zero_grad()


def _accumulate(*, share):
    images, labels = digits()
    model = mlp(64, 32, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    for i in range(40 * 16):
        rows = torch.randint(len(images), (16,))
        (F.cross_entropy(model(images[rows].flatten(1)), labels[rows]) / share).backward()
        if (i + 1) % 16 == 0:
            optimizer.step()
            optimizer.zero_grad()


def accumulation_divided_by_a_setting():
    _accumulate(share=16)


@fault(accumulation_divided_by_a_setting, "parameters_update", words=("undivided",))
def accumulation_divided_by_one():
    _accumulate(share=1)


@fault(neighbours.accumulation_with_sgd, "steps_are_in_order", words=("remainder",))
def accumulation_whose_remainder_is_dropped():
    images, labels = digits()
    train = DataLoader(TensorDataset(images[:480], labels[:480]), 32, shuffle=True)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(5):
        optimizer.zero_grad()
        for i, (x, y) in enumerate(train):
            (F.cross_entropy(model(x), y) / 8).backward()
            if (i + 1) % 8 == 0:
                optimizer.step()
                optimizer.zero_grad()


def _accumulated(*, flush, group=5):
    rows, target = diabetes()
    train = DataLoader(TensorDataset(rows[:408], target[:408]), 8, shuffle=True)  # 51 batches
    model = mlp(10, 16, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(12):
        optimizer.zero_grad()
        for i, (x, y) in enumerate(train):
            (F.mse_loss(model(x), y) / group).backward()
            if (i + 1) % group == 0 or (flush and i + 1 == len(train)):
                optimizer.step()
                optimizer.zero_grad()


def accumulation_with_a_short_last_step():
    _accumulated(flush=True)


@fault(accumulation_with_a_short_last_step, "steps_are_in_order", words=("the remainder",), advice=True)
def the_last_batch_of_many_is_dropped():
    _accumulated(flush=False)


@fault(train_classifier, "loss_has_a_floor", words=("sign",))
def sign_of_the_loss_flipped():
    def step(model, optimizer, x, y):
        optimizer.zero_grad()
        (-F.cross_entropy(model(x), y)).backward()
        optimizer.step()

    train_classifier(step=step, epochs=3)


@fault(train_classifier, "loss_has_a_floor", words=("sign",))
def log_likelihood_minimised():
    def step(model, optimizer, x, y):
        optimizer.zero_grad()
        F.log_softmax(model(x), 1).gather(1, y[:, None]).mean().backward()
        optimizer.step()

    train_classifier(step=step, epochs=3, optimizer=lambda m: torch.optim.Adam(m.parameters(), lr=3e-3))


@fault(healthy.mean_teacher, "targets_are_aligned", words=("detach",), advice=True)
def teacher_not_detached():
    train, test = loaders()
    student = Net()
    teacher = copy.deepcopy(student)
    optimizer = torch.optim.Adam(student.parameters(), lr=3e-3)
    for x, y in train:
        student.train()
        goal = teacher(x + 0.05 * torch.randn_like(x)).softmax(1)
        out = student(x)
        loss = F.cross_entropy(out, y) + F.mse_loss(out.softmax(1), goal)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for a, b in zip(teacher.parameters(), student.parameters(), strict=True):
                a.lerp_(b, 0.01)
    evaluate(student, test)


@fault(healthy.dqn_with_target_net, "targets_are_aligned", words=("detach",), advice=True)
def bootstrapped_target_not_detached():
    online = mlp(8, 32, 2)
    optimizer = torch.optim.Adam(online.parameters(), lr=1e-3)
    world, memory = Walk(), []
    state = world.reset()
    for step in range(120):
        with torch.no_grad():
            action = online(state).argmax().item() if step % 3 else step % 2
        after, reward, done = world.step(action)
        memory.append((state, action, reward, after, done))
        state = world.reset() if done else after
        if len(memory) >= 16:
            picked = [memory[i] for i in torch.randint(len(memory), (16,))]
            s, a, r, n, d = zip(*picked, strict=True)
            goes_on = 1 - torch.tensor(d).float()
            goal = torch.tensor(r) + 0.9 * online(torch.stack(n)).max(1).values * goes_on
            value = online(torch.stack(s)).gather(1, torch.tensor(a)[:, None]).squeeze(1)
            optimizer.zero_grad()
            F.smooth_l1_loss(value, goal).backward()
            optimizer.step()


def _gan_without_detach(*, reset_before_generator):
    train, _ = loaders()
    g, d = healthy._gan()
    opt_d, opt_g = (torch.optim.Adam(m.parameters(), lr=2e-4, betas=(0.5, 0.999)) for m in (d, g))
    criterion = nn.BCEWithLogitsLoss()
    for _ in range(2):
        for x, _y in train:
            x = x.flatten(1)
            fake = g(torch.randn(len(x), 8))
            opt_d.zero_grad()
            opt_g.zero_grad()
            criterion(d(x), torch.ones(len(x), 1)).backward()
            criterion(d(fake), torch.zeros(len(x), 1)).backward(retain_graph=True)
            opt_d.step()
            if reset_before_generator:
                opt_g.zero_grad()
            fake = g(torch.randn(len(x), 8))
            criterion(d(fake), torch.ones(len(x), 1)).backward()
            opt_g.step()


@fault(healthy.dcgan, "steps_are_in_order", words=("detach",))
def discriminator_not_detached():
    _gan_without_detach(reset_before_generator=False)


@fault(healthy.dcgan, "steps_are_in_order", words=("detach",), advice=True)
def discriminator_not_detached_but_reset():
    _gan_without_detach(reset_before_generator=True)


@fault(neighbours.one_cycle_per_step, "steps_are_in_order", words=("scheduler",))
def scheduler_before_the_optimizer():
    train, _ = loaders()
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=2 * len(train) + 1)
    for _ in range(2):
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            scheduler.step()
            optimizer.step()


@fault(healthy.mnist, "steps_are_in_order", words=("scheduler",))
def scheduler_at_the_start_of_the_epoch():
    train, test = loaders()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    for _ in range(3):
        scheduler.step()
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        evaluate(model, test)


@fault(neighbours.cosine_per_epoch, "schedule_is_sane", words=("per batch",))
def cosine_of_epochs_stepped_per_batch():
    train, _ = loaders(16)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=5)
    for _ in range(2):
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            scheduler.step()


@fault(neighbours.cosine_per_epoch, "schedule_is_sane", words=("per batch",))
def milestones_of_epochs_stepped_per_batch():
    train, _ = loaders(16)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [10, 20], gamma=0.1)
    for _ in range(2):
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            scheduler.step()


def _updated_by_hand(turn, *, frozen=False):
    rows, target = diabetes()
    model = mlp(10, 16, 1)
    model[0].requires_grad_(not frozen)
    clipped = list((model[0] if frozen else model).parameters())
    for _ in range(40):
        model.zero_grad()
        turn(F.mse_loss(model(rows), target), lambda: nn.utils.clip_grad_norm_(clipped, 0.5))
        with torch.no_grad():
            for p in filter(lambda p: p.requires_grad, model.parameters()):
                p -= 0.05 * p.grad


def updates_by_hand_that_are_clipped():
    _updated_by_hand(lambda loss, clip: (loss.backward(), clip()))


def updates_by_hand_where_a_frozen_part_is_clipped():
    _updated_by_hand(lambda loss, clip: (loss.backward(), clip()), frozen=True)


@fault(updates_by_hand_that_are_clipped, "steps_are_in_order", words=("before any backward",))
def updates_by_hand_that_are_clipped_too_early():
    _updated_by_hand(lambda loss, clip: (clip(), loss.backward()))


@fault(healthy.by_hand_without_optimizer, "steps_are_in_order", words=("zero_grad is missing",))
def updates_by_hand_without_reset():
    rows, target = diabetes()
    model = mlp(10, 16, 1)
    for _ in range(40):
        F.mse_loss(model(rows), target).backward()
        with torch.no_grad():
            for p in model.parameters():
                p -= 0.002 * p.grad


QUIET = (updates_by_hand_where_a_frozen_part_is_clipped,)
"""None of them may raise an alarm."""
