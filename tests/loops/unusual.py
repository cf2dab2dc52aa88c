"""Healthy loops of rarer making, each of which was taken for a fault or disturbed once."""

from __future__ import annotations

import io
import warnings
from itertools import islice

import torch
import torch.nn.functional as F
from torch import nn

from .data import digits, loaders, tumours
from .healthy import Net, _gan, evaluate, mlp


def thawed_within_one_optimizer():
    """The optimizer holds all layers from the beginning; the lower one is thawed in the second epoch."""
    train, test = loaders()
    model = nn.Sequential(nn.Flatten(), mlp(64, 32, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    model[1][0].requires_grad_(False)
    for epoch in range(2):
        if epoch == 1:
            model[1][0].requires_grad_(True)
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        evaluate(model, test)


def master_weights_in_full_precision():
    """The optimizer steps copies in float32, whose gradients are put there by hand."""
    train, _ = loaders()
    model = mlp(64, 32, 10).bfloat16()
    masters = [p.detach().float().requires_grad_() for p in model.parameters()]
    optimizer = torch.optim.SGD(masters, lr=0.1, momentum=0.9)
    for x, y in train:
        model.zero_grad()
        F.cross_entropy(model(x.flatten(1).bfloat16()).float(), y).backward()
        for master, parameter in zip(masters, model.parameters(), strict=True):
            master.grad = parameter.grad.float()
        optimizer.step()
        with torch.no_grad():
            for master, parameter in zip(masters, model.parameters(), strict=True):
                parameter.copy_(master)


def gradients_of_tasks_projected():
    """A backward per task, each with heads of its own; then their gradients are put together."""
    train, _ = loaders()
    body, digit, even = mlp(64, 32), nn.Linear(32, 10), nn.Linear(32, 2)
    parameters = [p for module in (body, digit, even) for p in module.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=3e-3)
    for x, y in train:
        seen, found = F.relu(body(x.flatten(1))), []
        for loss in (F.cross_entropy(digit(seen), y), F.cross_entropy(even(seen), y % 2)):
            optimizer.zero_grad()
            loss.backward(retain_graph=True)
            grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
            found.append(torch.cat([g.flatten() for g in grads]))
        one, other = found
        both = one + other - min(0.0, float(one @ other)) * other / (other @ other)
        for p, g in zip(parameters, both.split([p.numel() for p in parameters]), strict=True):
            p.grad = g.view_as(p)
        optimizer.step()


def critic_with_fakes_without_gradients():
    """Five turns of the critic for one of the generator, whose fakes are made under no_grad."""
    train, _ = loaders()
    g, d = _gan()
    opt_g, opt_d = (torch.optim.RMSprop(m.parameters(), lr=5e-4) for m in (g, d))
    for _ in range(2):
        for i, (x, _y) in enumerate(train):
            with torch.no_grad():
                fake = g(torch.randn(len(x), 8))
            opt_d.zero_grad()
            (d(fake).mean() - d(x.flatten(1)).mean()).backward()
            opt_d.step()
            with torch.no_grad():
                for p in d.parameters():
                    p.clamp_(-0.05, 0.05)
            if i % 5 == 4:
                opt_g.zero_grad()
                (-d(g(torch.randn(64, 8))).mean()).backward()
                opt_g.step()


def saliency_of_validation_samples():
    """After an epoch the gradient of some inputs is asked for, which reaches the parameters too."""
    train, test = loaders()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(3):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        model.eval()
        for x, y in islice(test, 2):
            model(x.requires_grad_()).gather(1, y[:, None]).sum().backward()
        evaluate(model, test)


def several_answers_by_dropout():
    """Monte Carlo dropout, pass after pass: all of the model in train mode, then its dropout alone."""
    train, test = loaders()
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for x, y in train:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    with torch.no_grad():
        torch.stack([torch.cat([model(x) for x, _ in test]) for _ in range(3)]).var(0)
        model.eval()
        model[3].train()
        torch.stack([torch.cat([model(x) for x, _ in test]) for _ in range(3)]).var(0)


def traced_by_jit():
    """`torch.jit.trace` runs the model twice and compares the graphs: nobody may be heard in them."""
    train, _ = loaders()
    for _ in range(2):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # it is deprecated, and still in use
            model = torch.jit.trace(mlp(64, 32, 10), torch.rand(2, 64))
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x.flatten(1)), y).backward()
            optimizer.step()


def resumed_from_a_file():
    """Each part builds model and optimizer anew and loads what the part before has saved."""
    train, test = loaders()
    file = None
    for _ in range(3):
        model = Net()
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        if file is not None:
            file.seek(0)
            saved = torch.load(file)
            model.load_state_dict(saved["model"])
            optimizer.load_state_dict(saved["optimizer"])
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        evaluate(model, test)
        file = io.BytesIO()
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)


def words_one_at_a_time():
    """A decoder that is given the word before, one call for each, and one backward for all of them."""
    _, labels = digits()
    embedding, cell, head = nn.Embedding(10, 8), nn.GRUCell(8, 16), nn.Linear(16, 10)
    model = nn.ModuleList([embedding, cell, head])
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for begin in range(0, 640, 16):
        words = labels[begin : begin + 96].view(16, 6)
        state, losses = torch.zeros(16, 16), []
        for t in range(5):
            state = cell(embedding(words[:, t]), state)
            losses.append(F.cross_entropy(head(state), words[:, t + 1]))
        optimizer.zero_grad()
        torch.stack(losses).mean().backward()
        optimizer.step()


def nodes_of_one_graph():
    """All nodes are called on together; some have a label to train on, others are held out."""
    rows, tumour = tumours()
    near = torch.cdist(rows, rows).topk(6, largest=False).indices
    passed = torch.zeros(len(rows), len(rows)).scatter_(1, near, 1 / 6)

    class Graph(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(30, 24), nn.Linear(24, 2)
            self.drop = nn.Dropout(0.3)

        def forward(self, x):
            return self.last(passed @ self.drop(self.first(x).relu()))

    model, own = Graph(), torch.arange(len(rows)) % 3 == 0
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(model(rows)[own], tumour[own].long()).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        model(rows)[~own].argmax(1).eq(tumour[~own]).float().mean().item()


class Drawn(nn.Module):
    """Makes an image of the class that it is told."""

    def __init__(self):
        super().__init__()
        self.classes = nn.Embedding(10, 16)
        self.draw = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64))

    def forward(self, noise, y):
        return self.draw(self.classes(y) * noise).view(-1, 1, 8, 8)


def classes_that_are_to_be_seen_in_what_is_made():
    train, _ = loaders()
    maker, judge = Drawn(), Net()
    makes, judges = (torch.optim.Adam(model.parameters(), lr=1e-3) for model in (maker, judge))
    for _ in range(2):
        for x, y in train:
            asked = torch.randint(0, 10, (len(x),))
            made = maker(torch.randn(len(x), 16), asked)
            makes.zero_grad()
            F.cross_entropy(judge(made), asked).backward()
            makes.step()
            judges.zero_grad()
            F.cross_entropy(judge(x), y).backward()
            judges.step()


QUIET = [
    classes_that_are_to_be_seen_in_what_is_made,
    nodes_of_one_graph,
    thawed_within_one_optimizer,
    master_weights_in_full_precision,
    gradients_of_tasks_projected,
    critic_with_fakes_without_gradients,
    saliency_of_validation_samples,
    several_answers_by_dropout,
    traced_by_jit,
    resumed_from_a_file,
    words_one_at_a_time,
]
"""None of them may raise an alarm."""
UNTOLD = [
    (classes_that_are_to_be_seen_in_what_is_made, "are shifted"),
    (resumed_from_a_file, "built anew"),
    (words_one_at_a_time, "are shifted"),
    (nodes_of_one_graph, "is trained on too"),
]
"""What must not be said of them."""
