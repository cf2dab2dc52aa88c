"""Sealed: loops with one mistake each, written before any check was measured on them, and their twins.

Steps, resets, schedules and batches here; validation, losses, shapes and several networks in
`sealed_faults_of_several`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, RMSprop
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, MultiStepLR
from torch.utils.data import DataLoader, TensorDataset

from tests.loops import sealed_faults_of_several
from tests.loops.data import diabetes, digits, loaders, tumours
from tests.loops.sealed_parts import (
    Attentive,
    Fault,
    Forecaster,
    Planted,
    RowReader,
    Rows,
    Speller,
    accuracy,
    conv_features,
    conv_net,
    drawn,
    letters,
    mlp,
    waves,
    windows,
)

planted = Planted()


@planted(
    "zero_grad|reset|accumulat|pile up|cleared",
    seen="No gradient is ever reset: they pile up.",
)
def siamese_without_a_reset(*, mistake: bool) -> None:
    images, labels = digits()
    net = mlp(64, 64, 16)
    optimizer = SGD(net.parameters(), lr=0.02)
    left = drawn(images[:1000], labels[:1000], steps=60)
    right = drawn(images[:1000], labels[:1000], steps=60)
    for (one, digit), (other, its_digit) in zip(left, right, strict=True):
        apart = F.pairwise_distance(net(one.flatten(1)), net(other.flatten(1)))
        same = (digit == its_digit).float()
        loss = (same * apart.square() + (1 - same) * F.relu(2 - apart).square()).mean()
        if not mistake:
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@planted(
    "zero_grad|reset|between backward and|cleared|no gradient|without gradient",
    seen="Gradients are reset after backward and before the step, which has nothing to apply.",
)
def reader_reset_too_late(*, mistake: bool) -> None:
    train, _ = loaders(batch_size=50)
    reader = RowReader()
    optimizer = RMSprop(reader.parameters(), lr=2e-3)

    def minimize(loss: Tensor) -> None:
        if mistake:
            loss.backward()
            optimizer.zero_grad()
        else:
            optimizer.zero_grad()
            loss.backward()
        optimizer.step()

    for _ in range(3):
        for images, labels in train:
            minimize(F.cross_entropy(reader(images), labels))


@planted(
    "twice|two steps|second step|applied already|already applied|again|more than one",
    seen="The scaler steps the optimizer, and it is stepped once more with the same gradients.",
)
def scaled_and_stepped_twice(*, mistake: bool) -> None:
    rows, target = diabetes()
    net = mlp(10, 64, 64, 1)
    optimizer = AdamW(net.parameters(), lr=2e-3)
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    for inputs, wanted in drawn(rows[:350], target[:350], steps=80):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.smooth_l1_loss(net(inputs).float(), wanted)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        if mistake:
            optimizer.step()
        scaler.update()


@planted(
    "not in the optimizer|not in any optimizer|in no optimizer|no optimizer|optimizer does not"
    "|optimizer was|optimizer is built|optimizer holds|built before|after the optimizer|stale"
    "|no longer|old parameters|replaced|not cover",
    seen="Weight norm replaces the weights after the optimizer was built, which keeps the old ones.",
)
def weight_norm_after_the_optimizer(*, mistake: bool) -> None:
    sequences, following = waves()
    net = mlp(24, 32, 1)
    optimizer = None
    if mistake:
        optimizer = Adam(net.parameters(), lr=5e-3)
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.utils.parametrizations.weight_norm(layer)
    if optimizer is None:
        optimizer = Adam(net.parameters(), lr=5e-3)
    for inputs, wanted in drawn(sequences.flatten(1), following, steps=60, size=32):
        optimizer.zero_grad(set_to_none=True)
        F.mse_loss(net(inputs), wanted).backward()
        optimizer.step()


@planted(
    "new optimizer|another optimizer|optimizer is created|optimizer is built|re-created|recreated"
    "|created anew|built anew|fresh|momentum|optimizer's state|its state|state is lost",
    seen="Each step builds an optimizer, so that momentum never lives beyond one step.",
)
def optimizer_for_every_step(*, mistake: bool) -> None:
    rows, labels = tumours()
    net, loss_of = mlp(30, 32, 1), nn.BCEWithLogitsLoss()
    optimizer: SGD | None = None
    for inputs, wanted in drawn(rows[:450], labels[:450], steps=90, size=32):
        if optimizer is None or mistake:
            optimizer = SGD(net.parameters(), lr=0.01, momentum=0.9)
        optimizer.zero_grad()
        loss_of(net(inputs).squeeze(1), wanted).backward()
        optimizer.step()


@planted(
    "new model|another model|model is created|model is built|re-created|recreated|rebuilt"
    "|created anew|built anew|starts again|started again|starts over|anew|re-initialized"
    "|reinitialized|fresh",
    seen="Every epoch builds network and optimizer afresh, and throws away what was learned.",
)
def network_for_every_epoch(*, mistake: bool) -> None:
    train, valid = loaders(batch_size=40)
    net = conv_net()
    optimizer = SGD(net.parameters(), lr=0.1, momentum=0.9)
    for _ in range(4):
        if mistake:
            net = conv_net()
            optimizer = SGD(net.parameters(), lr=0.1, momentum=0.9)
        for images, labels in train:
            optimizer.zero_grad()
            F.cross_entropy(net(images), labels).backward()
            optimizer.step()
        accuracy(net, valid)


class _Classifier:
    """Trains a network with dropout; whether `validate` puts the mode back is the question."""

    def __init__(self, *, goes_back: bool) -> None:
        self.net = conv_net(dropout=0.4)
        self.optimizer = Adam(self.net.parameters(), lr=2e-3)
        self.goes_back = goes_back
        self.net.train()

    def batch(self, images: Tensor, labels: Tensor) -> float:
        loss = F.cross_entropy(self.net(images), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def validate(self, valid: DataLoader[tuple[Tensor, ...]]) -> float:
        self.net.eval()
        score = accuracy(self.net, valid)
        if self.goes_back:
            self.net.train()
        return score


@planted(
    "eval()|eval mode|evaluation mode|train()|train mode|training mode",
    seen="After the first validation the network stays in eval mode and trains on without dropout.",
)
def validation_that_leaves_eval_on(*, mistake: bool) -> None:
    train, valid = loaders(batch_size=50)
    classifier = _Classifier(goes_back=not mistake)
    for _ in range(4):
        for images, labels in train:
            classifier.batch(images, labels)
        classifier.validate(valid)


@planted(
    "no_grad|detach|no gradient|without gradient|without a gradient|never gets a gradient|not reach"
    "|graph|cut off|grad is disabled",
    seen="The convolutions, which the optimizer holds, run without gradients: only the head learns.",
)
def convolutions_under_no_grad(*, mistake: bool) -> None:
    train, _ = loaders(batch_size=50)
    features, head = conv_features(), nn.Linear(256, 10)
    optimizer = AdamW([*features.parameters(), *head.parameters()], lr=3e-3)
    schedule = CosineAnnealingLR(optimizer, T_max=60)
    for _ in range(3):
        for images, labels in train:
            with torch.set_grad_enabled(not mistake):
                maps = features(images)
            loss = F.cross_entropy(head(maps.flatten(1)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


@planted(
    "same batch|one batch|same samples|same data|same inputs|first batch|single batch|again and again"
    "|restart|iter(|iterator",
    seen="The generator never moves on: every step sees the first 64 samples.",
)
def generator_that_never_moves_on(*, mistake: bool) -> None:
    images, labels = digits()

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        order, start = torch.randperm(1000), 0
        while True:
            chosen = order[start : start + 64]
            yield images[chosen], labels[chosen]
            if not mistake:
                start = (start + 64) % 960

    net = Attentive()
    optimizer = Adam(net.parameters(), lr=2e-3)
    endless = batches()
    for _ in range(60):
        inputs, wanted = next(endless)
        optimizer.zero_grad()
        F.cross_entropy(net(inputs), wanted).backward()
        optimizer.step()


@planted(
    "same batch|one batch|same samples|same data|same inputs|first batch|single batch|again and again"
    "|restart|iter(|iterator",
    seen="The loader's iterator is made anew in every step and gives its first batch.",
)
def iterator_of_every_step(*, mistake: bool) -> None:
    rows, labels = tumours()
    loader = DataLoader(Rows(features=rows[:480], benign=labels[:480]), batch_size=32)
    net = mlp(30, 24, 1)
    optimizer = SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    stream = iter(loader)
    for step in range(75):
        if mistake or step % len(loader) == 0:
            stream = iter(loader)
        batch = next(stream)
        optimizer.zero_grad()
        logits = net(batch["features"]).squeeze(1)
        F.binary_cross_entropy_with_logits(logits, batch["benign"]).backward()
        optimizer.step()


@planted(
    "belong|previous|shift|misalign|mismatch|not match|wrong labels|wrong targets|labels of"
    "|targets of|other sample|another sample|another batch|different batch|batch before|pair",
    seen="Inputs are trained with the labels of the batch before.",
)
def labels_one_batch_late(*, mistake: bool) -> None:
    images, labels = digits()
    train = DataLoader(TensorDataset(images[:960], labels[:960]), batch_size=48, shuffle=True)
    reader = RowReader()
    optimizer = Adam(reader.parameters(), lr=3e-3)
    waiting: Tensor | None = None
    for _ in range(3):
        for inputs, wanted in train:
            target = waiting if mistake and waiting is not None else wanted
            waiting = wanted
            optimizer.zero_grad()
            F.cross_entropy(reader(inputs), target).backward()
            optimizer.step()


@planted(
    "graph|item()|detach|memory",
    seen="The running loss is summed with its graph, and keeps the memory of every step.",
)
def running_loss_with_its_graph(*, mistake: bool) -> None:
    _, count = letters()
    speller = Speller(count)
    optimizer = Adam(speller.parameters(), lr=5e-3)
    running: Tensor | float = 0.0
    for text, following in windows(steps=60):
        logits, _ = speller(text)
        loss = F.cross_entropy(logits.flatten(0, 1), following.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        running = running + (loss if mistake else loss.item())
    assert running / 60 > 0


@planted(
    "schedul|learning rate",
    seen="The learning rate is halved after every batch instead of every epoch, and soon nothing.",
)
def decay_with_every_batch(*, mistake: bool) -> None:
    train, valid = loaders(batch_size=50)
    net = conv_net()
    optimizer = SGD(net.parameters(), lr=0.2, momentum=0.9)
    schedule = ExponentialLR(optimizer, gamma=0.5)
    for _ in range(4):
        for images, labels in train:
            optimizer.zero_grad()
            F.cross_entropy(net(images), labels).backward()
            optimizer.step()
            if mistake:
                schedule.step()
        if not mistake:
            schedule.step()
        accuracy(net, valid)


@planted(
    "schedul|first learning rate|before the optimizer",
    seen="The schedule steps before the optimizer: the first learning rate is never used.",
)
def schedule_before_the_optimizer(*, mistake: bool) -> None:
    rows, target = diabetes()
    loader = DataLoader(TensorDataset(rows[:360], target[:360]), batch_size=24, shuffle=True)
    net = mlp(10, 32, 1)
    optimizer = SGD(net.parameters(), lr=0.05)
    schedule = MultiStepLR(optimizer, milestones=[1, 3], gamma=0.2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(4):
            if mistake:
                schedule.step()
            for inputs, wanted in loader:
                optimizer.zero_grad()
                F.mse_loss(net(inputs), wanted).backward()
                optimizer.step()
            if not mistake:
                schedule.step()


@planted(
    "clip|max_norm",
    seen="Gradients are clipped to the weight decay's 0.00001, which leaves nothing.",
)
def clipped_to_nothing(*, mistake: bool) -> None:
    settings = {"lr": 0.1, "clip": 1.0, "decay": 1e-5}
    net = Forecaster()
    optimizer = SGD(net.parameters(), lr=settings["lr"], weight_decay=settings["decay"])
    for sequence, following in drawn(*waves(), steps=70, size=32):
        optimizer.zero_grad()
        F.mse_loss(net(sequence), following).backward()
        nn.utils.clip_grad_norm_(net.parameters(), settings["decay" if mistake else "clip"])
        optimizer.step()


@planted(
    "clip",
    seen="Gradients are clipped before backward has made any, and applied as they are.",
)
def clipped_before_backward(*, mistake: bool) -> None:
    train, _ = loaders(batch_size=50)
    net = Attentive()
    optimizer = AdamW(net.parameters(), lr=2e-3)

    for _ in range(3):
        for images, labels in train:
            loss = F.cross_entropy(net(images), labels)
            optimizer.zero_grad()
            if mistake:
                nn.utils.clip_grad_norm_(net.parameters(), max_norm=0.3)
                loss.backward()
            else:
                loss.backward()
                nn.utils.clip_grad_norm_(net.parameters(), max_norm=0.3)
            optimizer.step()


@planted(
    "divid|averag|not scaled|times too|times as|summed|sum of|added up|number of accum",
    seen="The losses of eight small batches are added up and not averaged: updates are 8 x too long.",
)
def accumulated_and_not_divided(*, mistake: bool) -> None:
    rows, labels = tumours()
    net = mlp(30, 32, 1)
    optimizer = SGD(net.parameters(), lr=0.15, momentum=0.9)
    parts = 8
    optimizer.zero_grad()
    for number, (inputs, wanted) in enumerate(
        drawn(rows[:450], labels[:450], steps=48 * parts, size=8), 1
    ):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = net(inputs).squeeze(1)
        loss = F.binary_cross_entropy_with_logits(logits.float(), wanted)
        (loss if mistake else loss / parts).backward()
        if number % parts == 0:
            optimizer.step()
            optimizer.zero_grad()


@planted(
    "remainder|remaining|dropped|left over|leftover|discard|never applied|not applied|thrown away"
    "|last batches|incomplete",
    seen="Of an epoch's 32 batches the last two, short of a group of five, are reset without a step.",
)
def accumulation_without_its_remainder(*, mistake: bool) -> None:
    train, _ = loaders(batch_size=32)
    reader = RowReader()
    optimizer = Adam(reader.parameters(), lr=3e-3)
    for _ in range(7):
        optimizer.zero_grad()
        for number, (images, labels) in enumerate(train, 1):
            group = 5 if number <= 30 else 2
            (F.cross_entropy(reader(images), labels) / group).backward()
            if number % 5 == 0 or (number == len(train) and not mistake):
                optimizer.step()
                optimizer.zero_grad()


SEALED: dict[Callable[[], None], Fault] = {**planted, **sealed_faults_of_several.planted}
