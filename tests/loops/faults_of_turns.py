"""Loops that train on held-out data in turns with the training data, by mistake or for a reason."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from .data import diabetes, digits, tumours
from .faults import fault
from .healthy import mlp

EPOCHS = 6


def _tables(*, shuffle=False):
    rows, labels = tumours()
    labels = labels[:, None]
    return {
        "train": DataLoader(TensorDataset(rows[:400], labels[:400]), 40, shuffle=True),
        "val": DataLoader(TensorDataset(rows[400:], labels[400:]), 40, shuffle=shuffle),
    }


def _phases(*, steps_in):
    """One body for both phases, as in the tutorial of transfer learning."""
    loaders = _tables()
    model = mlp(30, 32, 1, dropout=0.1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    history = {"train_loss": [], "val_loss": []}
    for _ in range(EPOCHS):
        for phase in ("train", "val"):
            total = 0.0
            model.train(phase in steps_in)
            for x, y in loaders[phase]:
                optimizer.zero_grad()
                with torch.set_grad_enabled(phase in steps_in):
                    loss = F.binary_cross_entropy_with_logits(model(x), y)
                if phase in steps_in:
                    loss.backward()
                    optimizer.step()
                total += loss.item()
            history[f"{phase}_loss"].append(total / len(loaders[phase]))


def phases_of_which_one_steps():
    _phases(steps_in=("train",))


@fault(phases_of_which_one_steps, "validation_is_untouched", words=("the validation loop trains",))
def phases_that_both_step():
    _phases(steps_in=("train", "val"))


class Trainer:
    """Fits a line, as its users' own classes do."""

    def __init__(self, train_loader, valid_loader):
        self.train_loader, self.valid_loader = train_loader, valid_loader
        self.model = mlp(10, 32, 1)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)

    def run(self, batches, *, train):
        for x, y in batches:
            loss = F.mse_loss(self.model(x), y)
            if train:
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()

    def fit(self, *, steps_on_both):
        for _ in range(EPOCHS):
            self.run(self.train_loader, train=True)
            with torch.set_grad_enabled(steps_on_both):
                self.run(self.valid_loader, train=steps_on_both)


def _trainer():
    rows, target = diabetes()
    train = DataLoader(TensorDataset(rows[:320], target[:320]), 32, shuffle=True)
    return Trainer(train, DataLoader(TensorDataset(rows[320:], target[320:]), 32))


def a_trainer_that_validates():
    _trainer().fit(steps_on_both=False)


@fault(a_trainer_that_validates, "validation_is_untouched", words=("in turns with",), advice=True)
def a_trainer_that_steps_on_both():
    """May be meant, for the last model: nothing is measured."""
    _trainer().fit(steps_on_both=True)


def _statistics_of_both(*, steps_on_both):
    trainer = _trainer()
    for _ in range(EPOCHS):
        trainer.run(trainer.train_loader, train=True)
        with torch.set_grad_enabled(steps_on_both):
            trainer.run(trainer.valid_loader, train=steps_on_both)
            x, y = trainer.valid_loader.dataset.tensors
            error = F.mse_loss(trainer.model(x), y).item()
            valid_stats = (len(x), error)
    return valid_stats


def statistics_of_a_validation():
    _statistics_of_both(steps_on_both=False)


@fault(statistics_of_a_validation, "validation_is_untouched", words=("`valid_stats` is measured",))
def statistics_of_what_is_trained_on():
    _statistics_of_both(steps_on_both=True)


class TwoViews(nn.Module):
    """Of one sample: its means, and their errors."""

    def __init__(self):
        super().__init__()
        self.means, self.errors, self.head = nn.Linear(10, 12), nn.Linear(20, 12), nn.Linear(24, 1)

    def forward(self, means, errors):
        return self.head(torch.cat((self.means(means).relu(), self.errors(errors).relu()), 1))


def _two_views(*, label_last=True):
    rows, labels = tumours()
    means, errors, label = rows[:, :10], rows[:, 10:], labels[:, None]
    parts = (means, errors, label) if label_last else (means, label, errors)
    train = TensorDataset(*(part[:400] for part in parts))
    held = TensorDataset(*(part[400:] for part in parts))
    return DataLoader(train, 40, shuffle=True), DataLoader(held, 40)


def _pass_over(batches, net, optimizer, *, steps):
    net.train(steps)
    total = 0.0
    with torch.set_grad_enabled(steps):
        for means, errors, label in batches:
            loss = F.binary_cross_entropy_with_logits(net(means, errors), label)
            total += loss.item()
            if steps:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return total / len(batches)


def _passes_over_both(*, steps_on_both):
    train_dl, test_dl = _two_views()
    net = TwoViews()
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(EPOCHS):
        tr = _pass_over(train_dl, net, optimizer, steps=True)
        te = _pass_over(test_dl, net, optimizer, steps=steps_on_both)
        assert tr + te > 0


def passes_of_which_one_steps():
    _passes_over_both(steps_on_both=False)


@fault(passes_of_which_one_steps, "validation_is_untouched", words=("`te` is measured",))
def passes_that_both_step():
    """The target comes third, and what is measured has no name but that of its part."""
    _passes_over_both(steps_on_both=True)


# -- healthy neighbours ---------------------------------------------------------------------------


class Speaker(nn.Module):
    """Of words that come one after the other; tells its own loss, as models of transformers do."""

    def __init__(self, words=20):
        super().__init__()
        self.table, self.rnn = nn.Embedding(words, 16), nn.GRU(16, 24, batch_first=True)
        self.head = nn.Linear(24, words)

    def forward(self, input_ids, labels):
        scores = self.head(self.rnn(self.table(input_ids))[0])
        return {"loss": F.cross_entropy(scores[:, :-1].flatten(0, 1), labels[:, 1:].flatten())}


def _sentences(count, *, shuffle=False):
    words = (torch.arange(12) * torch.randint(1, 4, (count, 1)) + torch.randint(0, 20, (count, 1))) % 20
    rows = [{"input_ids": each, "labels": each.clone()} for each in words]
    return DataLoader(rows, 24, shuffle=shuffle)


def _epochs_of_dictionaries(*, steps_on_both):
    train_loader, val_loader = _sentences(240, shuffle=True), _sentences(96)
    model = Speaker()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def run_epoch(loader, *, steps):
        losses = []
        with torch.set_grad_enabled(steps):
            for batch in loader:
                loss = model(**batch)["loss"]
                if steps:
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                losses.append(loss.item())
        return sum(losses) / len(losses)

    for _ in range(EPOCHS):
        train_loss = run_epoch(train_loader, steps=True)
        val_loss = run_epoch(val_loader, steps=steps_on_both)
    return train_loss, val_loss


def epochs_of_dictionaries():
    _epochs_of_dictionaries(steps_on_both=False)


@fault(epochs_of_dictionaries, "validation_is_untouched", words=("the validation loop trains",))
def epochs_of_dictionaries_that_both_step():
    _epochs_of_dictionaries(steps_on_both=True)


def _train_on(model, optimizer, loader, compare=F.binary_cross_entropy_with_logits):
    total = 0.0
    for x, y in loader:
        optimizer.zero_grad()
        loss = compare(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / len(loader)


def _scored_on(model, loader):
    model.eval()
    with torch.no_grad():
        losses = [F.binary_cross_entropy_with_logits(model(x), y).item() for x, y in loader]
    model.train()
    return sum(losses) / len(losses)


def all_data_are_trained_on_in_the_end():
    """The loaders keep their names, and what was measured before keeps its own."""
    train_loader, val_loader = _tables().values()
    model = mlp(30, 32, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(EPOCHS):
        _train_on(model, optimizer, train_loader)
        val_loss = _scored_on(model, val_loader)
    del val_loss
    model = mlp(30, 32, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(EPOCHS):
        for loader in (train_loader, val_loader):
            _train_on(model, optimizer, loader)


def a_temperature_fitted_to_validation_data():
    train_loader, val_loader = _tables().values()
    model, scale = mlp(30, 32, 1), nn.Parameter(torch.ones(1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    calibrates = torch.optim.SGD([scale], lr=0.01)
    val_loss = 0.0
    for _ in range(EPOCHS):
        _train_on(model, optimizer, train_loader)
        for x, y in val_loader:
            with torch.no_grad():
                scores = model(x)
            calibrates.zero_grad()
            loss = F.binary_cross_entropy_with_logits(scores / scale, y)
            loss.backward()
            calibrates.step()
            val_loss += loss.item()


def pictures_without_labels_of_all_parts():
    """What is learned without labels may be learned from test images too."""
    images, labels = digits()
    train_loader = DataLoader(TensorDataset(images[:800], labels[:800]), 80, shuffle=True)
    test_loader = DataLoader(TensorDataset(images[800:1200], labels[800:1200]), 80)
    model = nn.Sequential(nn.Flatten(), mlp(64, 16, 64))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def itself(made, _):
        return F.mse_loss(made, itself.given)

    model.register_forward_pre_hook(lambda _, given: setattr(itself, "given", given[0].flatten(1)))
    test_loss = []
    for _ in range(EPOCHS):
        _train_on(model, optimizer, train_loader, itself)
        test_loss.append(_train_on(model, optimizer, test_loader, itself))


def each_part_is_predicted_first_and_trained_on_then():
    """A stream: every part is new."""
    rows, labels = tumours()
    labels = labels[:, None]
    model = mlp(30, 32, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    past = DataLoader(TensorDataset(rows[:160], labels[:160]), 40, shuffle=True)
    val_loss = []
    for begin in range(160, 560, 80):
        _train_on(model, optimizer, past)
        part = slice(begin, begin + 80)
        val_loader = DataLoader(TensorDataset(rows[part], labels[part]), 40)
        val_loss.append(_scored_on(model, val_loader))
        _train_on(model, optimizer, val_loader)


def two_tasks_that_are_both_shuffled():
    """One of them is about valence, and called so."""
    train_loader, val_loader = _tables(shuffle=True).values()
    model = mlp(30, 32, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    val_loss = 0.0
    for _ in range(EPOCHS):
        _train_on(model, optimizer, train_loader)
        val_loss = _train_on(model, optimizer, val_loader)
    assert val_loss > 0


def two_views_of_all_data_are_trained_on_in_the_end():
    """What is told is a ``val`` beside its ``key``, and one loss is told of both loaders."""
    train_dl, val_dl = _two_views()
    net = TwoViews()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(EPOCHS):
        train_loss = 0.0
        for loader in (train_dl, val_dl):
            train_loss += _pass_over(loader, net, optimizer, steps=True)
        report = {"rate": 1e-3, "loss": train_loss}
        for key, val in report.items():
            assert val > 0, key


def one_view_told_from_the_other_on_all_parts():
    """Without labels, which come between; what is measured is how well it is told."""
    train_dl, test_dl = _two_views(label_last=False)
    net = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 20))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

    def learned(batches):
        total = 0.0
        for means, _, errors in batches:
            optimizer.zero_grad()
            loss = F.mse_loss(net(means), errors)
            loss.backward()
            optimizer.step()
            total += loss.item()
        return total / len(batches)

    for _ in range(EPOCHS):
        tr = learned(train_dl)
        te = learned(test_dl)
        assert tr + te > 0


def an_optimizer_given_for_its_rate():
    """It is handed to both passes, and the learning rate is told by the second one."""
    train_dl, val_dl = _two_views()
    net = TwoViews()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    slower = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    for _ in range(EPOCHS):
        tr = _pass_over(train_dl, net, optimizer, steps=True)
        va = _pass_over(val_dl, net, optimizer, steps=False)
        slower.step()
        assert tr + va > 0 < optimizer.param_groups[0]["lr"]


def all_data_are_trained_on_by_what_was_found_before():
    """What was measured when settings were sought stands beside them."""
    best = {"lr": 1e-3, "val_loss": 0.213, "epochs": EPOCHS}
    train_loader, val_loader = _tables().values()
    model = mlp(30, 32, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=best["lr"])
    for _ in range(best["epochs"]):
        for loader in (train_loader, val_loader):
            _train_on(model, optimizer, loader)


QUIET = [
    two_views_of_all_data_are_trained_on_in_the_end,
    one_view_told_from_the_other_on_all_parts,
    an_optimizer_given_for_its_rate,
    all_data_are_trained_on_by_what_was_found_before,
    a_trainer_that_steps_on_both,
    all_data_are_trained_on_in_the_end,
    a_temperature_fitted_to_validation_data,
    pictures_without_labels_of_all_parts,
    each_part_is_predicted_first_and_trained_on_then,
    two_tasks_that_are_both_shuffled,
]
