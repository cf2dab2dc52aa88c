"""Mistakes that tutorials and forum threads are full of, beside the healthy loop.

Not among them, because nothing that training does shows them: a one-output regression that is scored by
``argmax`` (the score is computed outside of the model, and is 0 for every class but the first).
"""

from __future__ import annotations

import warnings

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

from .data import diabetes, digits, loaders
from .faults import fault, train_classifier
from .healthy import evaluate, mlp


class Lenet(nn.Module):
    """As in the CIFAR tutorial, for images of 8 x 8."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 16, 3, padding=1)
        self.fc1, self.fc2 = nn.Linear(16 * 4, 32), nn.Linear(32, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


def cifar_style():
    trainloader, testloader = loaders()
    net = Lenet()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    for _ in range(3):
        running_loss = 0.0
        for inputs, labels in trainloader:
            optimizer.zero_grad()
            loss = criterion(net(inputs), labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
    evaluate(net, testloader)


@fault(cifar_style, "steps_are_in_order", words=("zero_grad is missing",))
def cifar_without_zero_grad():
    trainloader, testloader = loaders()
    net = Lenet()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    for _ in range(3):
        running_loss = 0.0
        for inputs, labels in trainloader:
            loss = criterion(net(inputs), labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
    evaluate(net, testloader)


def autoencoder():
    train, _ = loaders()
    model = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 64))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(2):
        for x, _y in train:
            x = x.view(-1, 64)
            optimizer.zero_grad()
            F.mse_loss(model(x), x).backward()
            optimizer.step()


@fault(autoencoder, "targets_are_aligned", words=("cuts samples",), advice=True)
def view_with_a_wrong_number_of_columns():
    train, _ = loaders()
    model = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 32))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(2):
        for x, _y in train:
            x = x.view(-1, 32)
            optimizer.zero_grad()
            F.mse_loss(model(x), x).backward()
            optimizer.step()


@fault(autoencoder, "targets_are_aligned", words=("are the targets as",), advice=True)
def noisy_view_with_a_wrong_number_of_columns():
    train, _ = loaders()
    model = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 32))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(2):
        for x, _y in train:
            noisy = (x + 0.1 * torch.randn_like(x)).view(-1, 32)
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(model(noisy), x.view(-1, 32)).backward()
            optimizer.step()


def results_and_targets_viewed_alike():
    """The model is called on whole samples, and what is compared is compared number by number."""
    train, _ = loaders()
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 64))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(2):
        for x, _y in train:
            optimizer.zero_grad()
            F.mse_loss(model(x).view(-1, 16), x.view(-1, 16)).backward()
            optimizer.step()


@fault(train_classifier, "modes_are_right", words=("eval()",))
def test_accuracy_without_eval_and_no_grad():
    def test(model, loader):
        correct = 0
        for x, y in loader:
            correct += (model(x).argmax(1) == y).sum().item()
        return correct

    train_classifier(after_epoch=test)


def rows_of_images():
    """Healthy: a network that reads images row by row, on purpose."""
    train, test = loaders()
    model = nn.ModuleDict({"rnn": nn.GRU(8, 24, batch_first=True), "head": nn.Linear(24, 10)})
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(2):
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model["head"](model["rnn"](x.squeeze(1))[0][:, -1]), y).backward()
            optimizer.step()
    del test


@fault(autoencoder, "targets_are_aligned", words=("[n, 1]",))
def regression_whose_target_is_flat():
    rows, target = diabetes()
    data = TensorDataset(rows, target.squeeze(1))
    train, _ = random_split(data, [350, 92], generator=torch.Generator().manual_seed(0))
    loader = DataLoader(train, 25, shuffle=True)
    model = mlp(10, 16, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(3):
        for x, y in loader:
            optimizer.zero_grad()
            ((model(x) - y) ** 2).mean().backward()
            optimizer.step()


def linear(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, outputs))


def flattened():
    train, _ = loaders()
    net = linear(64, 10)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(2):
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(net(x.flatten(1)), y).backward()
            optimizer.step()


@fault(flattened, "targets_are_aligned", words=("flatten(1)",), advice=True)
def linear_net_fed_unflattened_images():
    train, _ = loaders()
    net = linear(8, 10)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(2):
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(net(x).mean(dim=(1, 2)), y).backward()
            optimizer.step()


@fault(flattened, "targets_are_aligned", words=("every output with every target",))
def linear_net_fed_unflattened_images_and_broadcast():
    images, labels = digits()
    train = DataLoader(TensorDataset(images[:1000], labels[:1000].float()), 50, shuffle=True)
    net = linear(8, 1)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(2):
        for x, y in train:
            optimizer.zero_grad()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch itself warns of these shapes
                F.mse_loss(net(x), y).backward()
            optimizer.step()


def patches_in_a_grid():
    """Healthy: a linear layer over patches, laid out as an image is."""
    train, _ = loaders()
    net = nn.ModuleDict({"embed": nn.Linear(4, 16), "head": nn.Linear(16, 10)})
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(2):
        for x, y in train:
            grid = x.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4).squeeze(1)
            optimizer.zero_grad()
            F.cross_entropy(net["head"](F.relu(net["embed"](grid)).amax((1, 2))), y).backward()
            optimizer.step()


@fault(train_classifier, "validation_is_untouched", words=("split",))
def test_data_are_the_last_rows_of_the_training_data():
    images, labels = digits()
    train = DataLoader(TensorDataset(images, labels), 64, shuffle=True)
    test = DataLoader(TensorDataset(images[-360:], labels[-360:]), 64)
    net = Lenet()
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(3):
        net.train()
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
        evaluate(net, test)


CHAPTER = [cifar_style, autoencoder, rows_of_images, flattened, patches_in_a_grid]
"""The healthy loops of this chapter."""
