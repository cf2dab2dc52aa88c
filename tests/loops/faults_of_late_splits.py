"""A held-out part that is cut from what was trained on whole, beside what is scored for a reason."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset

from .data import diabetes, digits, tumours
from .faults import fault
from .healthy import mlp

ORDER = torch.randperm(1200, generator=torch.Generator().manual_seed(5))


def _learn(model, data, *, passes=6, loss=F.cross_entropy):
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    model.train()
    for _ in range(passes):
        for images, wanted in DataLoader(data, 50, shuffle=True):
            optimizer.zero_grad()
            loss(model(images), wanted).backward()
            optimizer.step()


def _share(model, images, labels):
    model.eval()
    with torch.no_grad():
        return (model(images).argmax(1) == labels).float().mean().item()


def _read(model, loader):
    model.eval()
    with torch.no_grad():
        return sum((model(x).argmax(1) == y).sum().item() for x, y in loader)


def _all():
    images, labels = digits()
    return images[ORDER].flatten(1), labels[ORDER]


def split_before():
    images, labels = _all()
    train_images, val_images = images[:900].clone(), images[900:].clone()
    model = mlp(64, 40, 10)
    _learn(model, TensorDataset(train_images, labels[:900]))
    _share(model, train_images, labels[:900])
    _share(model, val_images, labels[900:])


@fault(split_before, "validation_is_untouched", words=("cut from data that were trained on whole",))
def split_after():
    images, labels = _all()
    model = mlp(64, 40, 10)
    _learn(model, TensorDataset(images, labels))
    train_images, val_images = images[:900].clone(), images[900:].clone()
    _share(model, train_images, labels[:900])
    _share(model, val_images, labels[900:])


@fault(split_before, "validation_is_untouched", words=("cut from data that were trained on whole",))
def split_after_into_loaders():
    data = TensorDataset(*_all())
    model = mlp(64, 40, 10)
    _learn(model, data)
    train_loader = DataLoader(Subset(data, range(800)), 50)
    test_loader = DataLoader(Subset(data, range(800, 1200)), 50)
    _read(model, train_loader)
    _read(model, test_loader)


# -- healthy neighbours ---------------------------------------------------------------------------


def training_data_scored_at_once():
    """More rows than are looked at of one call."""
    images, labels = _all()
    model = mlp(64, 40, 10)
    _learn(model, TensorDataset(images, labels))
    _share(model, images, labels)


def training_data_scored_in_parts():
    images, labels = _all()
    model = mlp(64, 40, 10)
    _learn(model, TensorDataset(images, labels))
    train_first, train_second = images[:600].clone(), images[600:].clone()
    _share(model, train_first, labels[:600])
    _share(model, train_second, labels[600:])


def one_set_for_both_on_purpose():
    images, labels = _all()
    train_images = test_images = images[:400]
    model = mlp(64, 40, 10)
    _learn(model, TensorDataset(train_images, labels[:400]), passes=12)
    _share(model, train_images, labels[:400])
    _share(model, test_images, labels[:400])


def codes_of_all_parts():
    """Compressed without labels: what is held out is so for whoever reads the codes."""
    images, _ = _all()
    model = nn.Sequential(nn.Linear(64, 12), nn.Tanh(), nn.Linear(12, 64))
    _learn(model, TensorDataset(images, images), loss=F.mse_loss)
    x_train, x_test = images[:900].clone(), images[900:].clone()
    model.eval()
    with torch.no_grad():
        model(x_train), model(x_test)


def rows_with_nothing_missing():
    """Told beside all of them."""
    rows, target = diabetes()
    x_train, y_train = rows[:400].clone(), target[:400]
    valid = x_train[:, 2] > -0.5
    model = mlp(10, 32, 1)
    _learn(model, TensorDataset(x_train, y_train), loss=F.mse_loss)
    x_valid, y_valid = x_train[valid], y_train[valid]
    model.eval()
    with torch.no_grad():
        F.mse_loss(model(x_train), y_train), F.mse_loss(model(x_valid), y_valid)


def _told_apart(model, parts, loss):
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(6):
        model.train()
        for images, *known in parts:
            scores = model(images)
            sharp = -(scores.softmax(1) * scores.log_softmax(1)).sum(1).mean()
            optimizer.zero_grad()
            (loss(scores, *known) + 0.1 * sharp).backward()
            optimizer.step()


def labelled_in_part_by_a_mark():
    """What is held out has no label in training, but is known to be there."""
    images, labels = _all()
    known = torch.cat([labels[:800], torch.full((400,), -1)])
    parts = DataLoader(TensorDataset(images, known), 50, shuffle=True)
    model = mlp(64, 40, 10)
    _told_apart(model, parts, lambda scores, y: F.cross_entropy(scores, y, ignore_index=-1))
    x_train, x_test = images[:800].clone(), images[800:].clone()
    _share(model, x_train, labels[:800])
    _share(model, x_test, labels[800:])


def labelled_in_part_by_a_flag():
    images, labels = _all()
    flags = torch.cat([torch.ones(800), torch.zeros(400)])
    parts = DataLoader(TensorDataset(images, labels, flags), 50, shuffle=True)

    def weighed(scores, y, flag):
        return (F.cross_entropy(scores, y, reduction="none") * flag).sum() / flag.sum()

    model = mlp(64, 40, 10)
    _told_apart(model, parts, weighed)
    x_test = images[800:].clone()
    _share(model, x_test, labels[800:])


def labelled_by_itself():
    """Held-out rows get the labels that the model gives them, and are trained on with these."""
    images, labels = _all()
    x_train, x_test = images[:900].clone(), images[900:].clone()
    model = mlp(64, 40, 10)
    _learn(model, TensorDataset(x_train, labels[:900]))
    model.eval()
    with torch.no_grad():
        guessed = model(x_test).argmax(1)
    everything = torch.cat([x_train, x_test]), torch.cat([labels[:900], guessed])
    _learn(model, TensorDataset(*everything), passes=9)
    _share(model, x_train, labels[:900])
    _share(model, x_test, labels[900:])


def labelled_by_another():
    images, labels = _all()
    x_train, x_test = images[:900].clone(), images[900:].clone()
    teacher, model = mlp(64, 60, 10), mlp(64, 40, 10)
    _learn(teacher, TensorDataset(x_train, labels[:900]))
    teacher.eval()
    with torch.no_grad():
        guessed = teacher(x_test).argmax(1)
    everything = torch.cat([x_train, x_test]), torch.cat([labels[:900], guessed])
    _learn(model, TensorDataset(*everything))
    _share(model, x_train, labels[:900])
    _share(model, x_test, labels[900:])


def curve_drawn_on_a_grid():
    x_train = torch.linspace(-1, 1, 401).unsqueeze(1)
    x_test = x_train[::4].clone()
    model = mlp(1, 30, 1)
    _learn(model, TensorDataset(x_train, (4 * x_train).sin()), loss=F.mse_loss)
    model.eval()
    with torch.no_grad():
        model(x_train), model(x_test)


def every_word_of_a_code():
    """All there are are learned; some of them are drawn to test what it says."""
    words = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 9)
    x_train, x_test = words, words[ORDER[ORDER < 512][:100]]
    model = mlp(9, 40, 2)
    _learn(model, TensorDataset(x_train, (words.sum(1) % 2).long()))
    _share(model, x_train, (x_train.sum(1) % 2).long())
    _share(model, x_test, (x_test.sum(1) % 2).long())


def trained_on_the_rest_at_last():
    """Scored while a part was held out, and once more after a training on all."""
    rows, labels = tumours()
    x_train, x_test = rows[:400].clone(), rows[400:].clone()
    model = mlp(30, 20, 2)
    _learn(model, TensorDataset(x_train, labels[:400].long()))
    _share(model, x_train, labels[:400])
    _share(model, x_test, labels[400:])
    _learn(model, TensorDataset(rows, labels.long()), passes=9)
    _share(model, x_train, labels[:400])
    _share(model, x_test, labels[400:])


QUIET = (
    labelled_in_part_by_a_mark,
    labelled_in_part_by_a_flag,
    rows_with_nothing_missing,
    training_data_scored_at_once,
    training_data_scored_in_parts,
    one_set_for_both_on_purpose,
    codes_of_all_parts,
    labelled_by_itself,
    labelled_by_another,
    curve_drawn_on_a_grid,
    every_word_of_a_code,
    trained_on_the_rest_at_last,
)
