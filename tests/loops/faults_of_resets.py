"""Loops that reset too few gradients, or too often, beside loops that come close and are healthy."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from . import healthy
from .data import diabetes, digits, loaders, tumours
from .faults import fault, train_classifier
from .healthy import Net, evaluate, mlp


class Reader(nn.Module):
    """Reads the rows of an image, one after the other."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(8, 16)
        self.rnn = nn.GRU(16, 24, batch_first=True)
        self.norm = nn.LayerNorm(24)
        self.head = nn.Linear(24, 10)

    def forward(self, x):
        return self.head(self.norm(self.rnn(self.embed(x.squeeze(1)))[0][:, -1]))


def read(reset, *, epochs=2, optimizer=lambda m: torch.optim.Adam(m.parameters(), lr=3e-3)):
    """A reader's loop; ``reset(model, optimizer)`` comes before each backward."""
    train, test = loaders()
    model = Reader()
    made = optimizer(model)
    for _ in range(epochs):
        model.train()
        for x, y in train:
            reset(model, made)
            F.cross_entropy(model(x), y).backward()
            made.step()
        evaluate(model, test)


def reader():
    read(lambda _, optimizer: optimizer.zero_grad())


@fault(reader, "steps_are_in_order", words=("a part of",))
def all_but_the_head_reset():
    def reset(model, _):
        for part in (model.embed, model.rnn, model.norm):
            part.zero_grad()

    read(reset)


@fault(reader, "steps_are_in_order", words=("a part of",))
def one_layer_reset_to_zero():
    read(lambda model, _: model.rnn.zero_grad(set_to_none=False))


@fault(reader, "steps_are_in_order", words=("a part of",))
def one_group_reset():
    def grouped(model):
        slow = [p for part in (model.embed, model.rnn, model.norm) for p in part.parameters()]
        fast = {"params": model.head.parameters(), "lr": 0.2}
        return torch.optim.SGD([{"params": slow}, fast], lr=0.05)

    def reset(_, optimizer):
        for p in optimizer.param_groups[0]["params"]:
            p.grad = None

    read(reset, optimizer=grouped)


@fault(healthy.tuple_of_tensors_by_hand, "steps_are_in_order", words=("a part of",))
def weights_of_the_loss_not_reset():
    rows, labels = tumours()
    model, scale = mlp(30, 16, 1), nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([*model.parameters(), scale], lr=0.05, momentum=0.9)
    for _ in range(3):
        for i in torch.randperm(512).split(32):
            model.zero_grad()
            out = scale * model(rows[i]).squeeze(1)
            F.binary_cross_entropy_with_logits(out, labels[i]).backward()
            optimizer.step()


@fault(train_classifier, "steps_are_in_order", words=("micro-batches",))
def reset_at_every_batch_of_a_window():
    train, test = loaders(16)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(2):
        model.train()
        for i, (x, y) in enumerate(train):
            optimizer.zero_grad()
            (F.cross_entropy(model(x), y) / 3).backward()
            if (i + 1) % 3 == 0:
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
        evaluate(model, test)


@fault(reader, "steps_are_in_order", words=("micro-batches",))
def slices_of_a_batch_that_reset_each_other():
    train, _ = loaders(48)
    model = Reader()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(2):
        for x, y in train:
            for j in range(0, len(x), 16):
                model.zero_grad(set_to_none=False)
                F.cross_entropy(model(x[j : j + 16]), y[j : j + 16]).backward()
            optimizer.step()


@fault(healthy.full_batch, "steps_are_in_order", words=("micro-batches",))
def parts_of_tensors_that_reset_each_other():
    rows, target = diabetes()
    model = mlp(10, 32, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(40):
        for x, y in zip(rows.split(111), target.split(111), strict=True):
            for p in model.parameters():
                p.grad = None
            F.mse_loss(model(x), y).backward()
        optimizer.step()


@fault(train_classifier, "steps_are_in_order", words=("micro-batches",), advice=True)
def drawn_parts_that_reset_each_other():
    images, labels = digits()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(30):
        for i in torch.randint(1000, (2, 32)):
            optimizer.zero_grad()
            F.cross_entropy(model(images[i]), labels[i]).backward()
        optimizer.step()


# -- healthy neighbours ---------------------------------------------------------------------------


def _drawn(parts, *, resets):
    """Batches drawn anew, as many for a step as their loss is divided by."""
    inputs, targets = digits()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(40):
        for part in range(parts):
            i = torch.randint(0, len(inputs), (16,))
            loss = F.cross_entropy(model(inputs[i]), targets[i]) / parts
            if resets == "each" or part == 0:
                optimizer.zero_grad()
            loss.backward()
        optimizer.step()


def drawn_parts_of_a_step():
    _drawn(4, resets="first")


@fault(drawn_parts_of_a_step, "steps_are_in_order", words=("micro-batches",))
def drawn_and_divided_parts_that_reset_each_other():
    _drawn(4, resets="each")


def _play(*, resets_for_the_judge):
    """A judge of digits and their maker, whose quarrel takes some steps to begin."""
    real = digits()[0].flatten(1) * 2 - 1
    judge, maker = mlp(64, 64, 1), nn.Sequential(mlp(16, 64, 64), nn.Tanh())
    optimizers = [torch.optim.Adam(m.parameters(), lr=2e-3) for m in (judge, maker)]
    right, wrong = torch.ones(100, 1), torch.zeros(100, 1)

    def reset():
        for optimizer in optimizers:
            optimizer.zero_grad()

    def judged(rows, said):
        return F.binary_cross_entropy_with_logits(judge(rows), said)

    for _ in range(4):
        for rows in torch.randperm(len(real)).split(100)[:17]:
            made = maker(torch.randn(100, 16))
            loss = judged(real[rows], right) + judged(made, wrong)
            if resets_for_the_judge:
                reset()
            loss.backward()
            optimizers[0].step()
            loss = judged(maker(torch.randn(100, 16)), right)
            reset()
            loss.backward()
            optimizers[1].step()


def quarrel():
    _play(resets_for_the_judge=True)


@fault(quarrel, "steps_are_in_order", words=("nothing resets them",))
def judge_keeps_what_the_maker_left():
    _play(resets_for_the_judge=False)


def reset_in_two_places():
    def reset(model, optimizer):
        model.head.zero_grad()
        for p in (*model.embed.parameters(), *model.rnn.parameters(), *model.norm.parameters()):
            if p.grad is not None:
                p.grad.data.zero_()

    read(reset)


def reset_through_data_after_each_step():
    train, test = loaders()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(2):
        model.train()
        for x, y in train:
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            for p in model.parameters():
                p.grad.data.zero_()
        evaluate(model, test)


def two_optimizers_share_a_model_in_turn():
    train, test = loaders()
    model = Reader()
    whole = torch.optim.SGD(model.parameters(), lr=0.05)
    head = torch.optim.SGD(model.head.parameters(), lr=0.05)
    for _ in range(2):
        for i, (x, y) in enumerate(train):
            optimizer = whole if i % 3 else head
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            if optimizer is whole:
                whole.zero_grad()
        evaluate(model, test)


def a_group_of_rate_zero_is_not_reset():
    train, test = loaders()
    model = Reader()
    rest = (model.rnn, model.norm, model.head)
    groups = [{"params": model.embed.parameters(), "lr": 0.0}]
    groups += [{"params": part.parameters()} for part in rest]
    optimizer = torch.optim.Adam(groups, lr=3e-3)
    for epoch in range(3):
        optimizer.param_groups[0]["lr"] = 1e-3 if epoch else 0.0
        model.train()
        for i, (x, y) in enumerate(train):
            for part in (model,) if epoch or not i else rest:
                part.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        evaluate(model, test)


def frozen_after_it_was_trained():
    train, test = loaders()
    model = Reader()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for epoch in range(3):
        if epoch == 1:
            model.embed.requires_grad_(False)
            model.embed.zero_grad()
        for x, y in train:
            for part in (model.rnn, model.norm, model.head) if epoch else (model,):
                part.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        evaluate(model, test)


def backbone_held_still_by_a_reset_after_backward():
    train, test = loaders()
    model = Reader()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(2):
        for i, (x, y) in enumerate(train):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            if i < 8:
                model.rnn.zero_grad()
            optimizer.step()
        evaluate(model, test)


def adversarial_examples_by_a_first_backward():
    train, test = loaders()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for x, y in train:
        x.requires_grad_()
        F.cross_entropy(model(x), y).backward()
        near = (x + 0.05 * x.grad.sign()).detach()
        optimizer.zero_grad()
        F.cross_entropy(model(near), y).backward()
        optimizer.step()
    evaluate(model, test)


def gradients_of_two_tasks_put_together():
    train, _ = loaders()
    model = mlp(64, 32, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for x, y in train:
        kept = []
        for part, goal in ((x.flatten(1)[:32], y[:32]), (x.flatten(1)[32:], y[32:])):
            optimizer.zero_grad()
            F.cross_entropy(model(part), goal).backward()
            kept.append([p.grad.clone() for p in model.parameters()])
        for p, *found in zip(model.parameters(), *kept, strict=True):
            p.grad.data.copy_(sum(found) / 2)
        optimizer.step()


def gradient_noise_looked_at_in_halves():
    train, _ = loaders()
    model = mlp(64, 32, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    sizes = []
    for x, y in train:
        for part, goal in ((x[:32], y[:32]), (x, y)):
            optimizer.zero_grad()
            F.cross_entropy(model(part.flatten(1)), goal).backward()
            sizes.append(sum(p.grad.norm() for p in model.parameters()).item())
        optimizer.step()


def private_gradients_one_sample_at_a_time():
    rows, labels = tumours()
    model = mlp(30, 8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for i in torch.randperm(512)[:160].split(8):
        total = [torch.zeros_like(p) for p in model.parameters()]
        for x, y in zip(rows[i], labels[i], strict=True):
            model.zero_grad()
            F.binary_cross_entropy_with_logits(model(x), y[None]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for kept, p in zip(total, model.parameters(), strict=True):
                kept += p.grad
        for kept, p in zip(total, model.parameters(), strict=True):
            p.grad = (kept + 0.01 * torch.randn_like(p)) / len(i)
        optimizer.step()


def old_tasks_held_against_by_their_gradient():
    train, _ = loaders()
    images, labels = digits()
    model = mlp(64, 32, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for x, y in train:
        i = torch.randint(100, (32,))
        optimizer.zero_grad()
        F.cross_entropy(model(images[i].flatten(1)), labels[i]).backward()
        before = [p.grad.clone() for p in model.parameters()]
        optimizer.zero_grad()
        F.cross_entropy(model(x.flatten(1)), y).backward()
        dot = sum((p.grad * b).sum() for p, b in zip(model.parameters(), before, strict=True))
        if dot < 0:
            size = sum((b * b).sum() for b in before)
            for p, b in zip(model.parameters(), before, strict=True):
                p.grad -= dot / size * b
        optimizer.step()


def information_of_each_parameter_between_epochs():
    train, test = loaders()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(2):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        fisher = [torch.zeros_like(p) for p in model.parameters()]
        for x, y in test:
            model.zero_grad()
            F.cross_entropy(model(x), y).backward()
            for f, p in zip(fisher, model.parameters(), strict=True):
                f += p.grad**2
        evaluate(model, test)


def rows_of_a_window_in_one_loader():
    rows, target = diabetes()
    train = DataLoader(TensorDataset(rows, target), 26, shuffle=True)
    model = mlp(10, 16, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(4):
        for i, (x, y) in enumerate(train):
            if i % 2 == 0:
                optimizer.zero_grad()
            (F.mse_loss(model(x), y) / 2).backward()
            if i % 2 or i + 1 == len(train):
                optimizer.step()


QUIET = [
    reset_in_two_places,
    reset_through_data_after_each_step,
    two_optimizers_share_a_model_in_turn,
    a_group_of_rate_zero_is_not_reset,
    frozen_after_it_was_trained,
    backbone_held_still_by_a_reset_after_backward,
    adversarial_examples_by_a_first_backward,
    gradients_of_two_tasks_put_together,
    gradient_noise_looked_at_in_halves,
    private_gradients_one_sample_at_a_time,
    old_tasks_held_against_by_their_gradient,
    information_of_each_parameter_between_epochs,
    rows_of_a_window_in_one_loader,
]
"""None of them may raise an alarm."""
