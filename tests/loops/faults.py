"""Loops with one fault each, beside the healthy loop that differs in nothing else."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from . import healthy
from .data import digits, loaders
from .healthy import Net, evaluate


@dataclass(frozen=True)
class Case:
    """A loop with a fault.

    Attributes:
        loop: runs it.
        twin: the same without the fault.
        checks: of which one must name it as a first cause.
        words: of which one must stand in what is said.
        advice: whether it is told as advice, because it may be meant.
    """

    loop: Callable[[], None]
    twin: Callable[[], None]
    checks: tuple[str, ...]
    words: tuple[str, ...]
    advice: bool = False


CASES: list[Case] = []


def fault(twin, *checks, words, advice=False):
    def case(loop):
        CASES.append(Case(loop, twin, checks, words, advice))
        return loop

    return case


def train_classifier(
    *,
    epochs=2,
    model=None,
    begin=lambda model: model.train(),
    step=None,
    after_epoch=evaluate,
    optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
    train=None,
):
    """The loop that the faults are planted in."""
    loader, test = loaders()
    model = model or Net()
    made = optimizer(model)
    for _ in range(epochs):
        begin(model)
        for x, y in train or loader:
            if step is None:
                made.zero_grad()
                F.cross_entropy(model(x), y).backward()
                made.step()
            else:
                step(model, made, x, y)
        after_epoch(model, test)


@fault(train_classifier, "steps_are_in_order", words=("zero_grad is missing",))
def zero_grad_missing():
    def step(model, optimizer, x, y):
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    train_classifier(step=step)


@fault(train_classifier, "steps_are_in_order", words=("zero_grad is missing",))
def zero_grad_once_per_epoch():
    loader, test = loaders()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        model.train()
        for x, y in loader:
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        evaluate(model, test)


@fault(train_classifier, "steps_are_in_order", words=("between backward and step",))
def zero_grad_between_backward_and_step():
    def step(model, optimizer, x, y):
        F.cross_entropy(model(x), y).backward()
        optimizer.zero_grad()
        optimizer.step()

    train_classifier(step=step)


@fault(train_classifier, "steps_are_in_order", words=("between backward and step",))
def zero_grad_to_zero_between_backward_and_step():
    def step(model, optimizer, x, y):
        F.cross_entropy(model(x), y).backward()
        optimizer.zero_grad(set_to_none=False)
        optimizer.step()

    train_classifier(step=step)


@fault(healthy.dcgan, "steps_are_in_order", words=("zero_grad is missing",))
def zero_grad_only_on_the_discriminator():
    train, _ = loaders()
    g, d = healthy._gan()
    opt_d, opt_g = (torch.optim.Adam(m.parameters(), lr=2e-4) for m in (d, g))
    criterion = nn.BCEWithLogitsLoss()
    for x, _ in train:
        x = x.flatten(1)
        opt_d.zero_grad()
        fake = g(torch.randn(len(x), 8))
        (
            criterion(d(x), torch.ones(len(x), 1)) + criterion(d(fake.detach()), torch.zeros(len(x), 1))
        ).backward()
        opt_d.step()
        criterion(d(fake), torch.ones(len(x), 1)).backward()
        opt_g.step()


@fault(train_classifier, "steps_are_in_order", words=("never", "missing"))
def step_missing():
    def step(model, optimizer, x, y):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()

    train_classifier(step=step)


@fault(train_classifier, "steps_are_in_order", words=("twice",))
def two_steps():
    def step(model, optimizer, x, y):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        optimizer.step()

    train_classifier(step=step)


@fault(healthy.dcgan, "steps_are_in_order", words=("never",))
def generator_never_stepped():
    train, _ = loaders()
    g, d = healthy._gan()
    opt_d, opt_g = (torch.optim.Adam(m.parameters(), lr=2e-4) for m in (d, g))
    criterion = nn.BCEWithLogitsLoss()
    for _ in range(2):
        for x, _ in train:
            x = x.flatten(1)
            opt_d.zero_grad()
            fake = g(torch.randn(len(x), 8))
            (
                criterion(d(x), torch.ones(len(x), 1))
                + criterion(d(fake.detach()), torch.zeros(len(x), 1))
            ).backward()
            opt_d.step()
            opt_g.zero_grad()
            criterion(d(fake), torch.ones(len(x), 1)).backward()


@fault(
    train_classifier,
    "optimizer_persists",
    "optimizer_covers_model",
    words=("other parameters", "another copy"),
)
def optimizer_of_a_model_that_was_recreated():
    train, test = loaders()
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    model = Net()
    for x, y in train:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        model.zero_grad()
    evaluate(model, test)


@fault(
    train_classifier,
    "optimizer_covers_model",
    "gradients_flow",
    "optimizer_persists",
    words=("fc", "param_groups"),
)
def head_replaced_after_the_optimizer_was_built():
    train, test = loaders()
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    model.fc = nn.Linear(64, 10)
    for _ in range(2):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        evaluate(model, test)


@fault(train_classifier, "optimizer_persists", words=("inside the loop",))
def optimizer_created_each_step():
    def step(model, _, x, y):
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    train_classifier(step=step)


@fault(train_classifier, "optimizer_persists", words=("inside the loop",))
def model_created_each_step():
    def step(_model, _optimizer, x, y):
        model = Net()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    train_classifier(step=step)


@fault(train_classifier, "modes_are_right", words=("train()",))
def stuck_in_eval_after_validation():
    train, test = loaders()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(3):
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        evaluate(model, test)


@fault(train_classifier, "modes_are_right", words=("eval()",))
def validation_without_eval():
    @torch.no_grad()
    def validate(model, loader):
        return sum((model(x).argmax(1) == y).sum().item() for x, y in loader)

    train_classifier(after_epoch=validate)


@fault(train_classifier, "gradients_flow", words=("conv",))
def a_part_under_no_grad():
    class Cut(Net):
        def forward(self, x):
            with torch.no_grad():
                x = F.max_pool2d(F.relu(self.bn(self.conv1(x))), 2)
                x = F.max_pool2d(F.relu(self.conv2(x)), 2)
            return self.fc(self.dropout(x.flatten(1)))

    train_classifier(model=Cut())


@fault(train_classifier, "batches_are_fresh", words=("begun anew",))
def iterator_restarted_each_step():
    images, labels = digits()
    train = DataLoader(TensorDataset(images[:1000], labels[:1000]), 64)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(30):
        x, y = next(iter(train))
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


@fault(train_classifier, "memory_is_flat", words=("graph",))
def loss_accumulated_with_its_graph():
    loader, test = loaders(32)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    total = 0.0
    for x, y in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss
    evaluate(model, test)


@fault(train_classifier, "schedule_is_sane", words=("schedule",))
def epoch_schedule_stepped_per_batch():
    loader, test = loaders(16)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=5, gamma=0.1)
    for _ in range(2):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            scheduler.step()
        evaluate(model, test)


@fault(train_classifier, "clipping_is_rare", "parameters_update", words=("clip",))
def clipped_to_nothing():
    def step(model, optimizer, x, y):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1e-6)
        optimizer.step()

    train_classifier(step=step, optimizer=lambda m: torch.optim.SGD(m.parameters(), lr=0.05))


@fault(train_classifier, "clipping_is_rare", words=("before any backward",))
def clipped_before_backward():
    def step(model, optimizer, x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        loss.backward()
        optimizer.step()

    train_classifier(step=step)


@fault(healthy.mixed_precision_with_scaler, "clipping_is_rare", words=("unscale_", "scaled"))
def clipped_before_unscaling():
    train, test = loaders()
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for _ in range(2):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = F.cross_entropy(model(x), y)
            scaler.scale(loss).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            scaler.step(optimizer)
            scaler.update()
        evaluate(model, test)


@fault(train_classifier, "parameters_update", "training_is_stable", words=("learning rate", "too high"))
def learning_rate_far_too_high():
    train_classifier(optimizer=lambda m: torch.optim.SGD(m.parameters(), lr=500.0))


@fault(train_classifier, "parameters_update", words=("learning rate", "rate"))
def learning_rate_far_too_low():
    train_classifier(optimizer=lambda m: torch.optim.SGD(m.parameters(), lr=1e-9))


@fault(train_classifier, "optimizer_persists", words=("other parameters",))
def backward_on_a_copy():
    def step(model, optimizer, x, y):
        clone = copy.deepcopy(model)
        optimizer.zero_grad()
        F.cross_entropy(clone(x), y).backward()
        optimizer.step()

    train_classifier(step=step)
