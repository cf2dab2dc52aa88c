"""Rows that a model is given all at once, as of a graph, and those of them that a loss may compare."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .data import digits, tumours
from .faults import fault

EPOCHS = 24


class Attention(nn.Module):
    """One head over the nearest rows, as in a graph attention network."""

    def __init__(self, features, hidden, classes):
        super().__init__()
        self.enter, self.leave = nn.Linear(features, hidden), nn.Linear(2 * hidden, classes)
        self.score = nn.Linear(2 * hidden, 1)

    def forward(self, x, near):
        h = self.enter(x).tanh()
        others = h[near]
        pairs = torch.cat((h[:, None].expand_as(others), others), 2)
        weights = F.leaky_relu(self.score(pairs), 0.2).softmax(1)
        return self.leave(torch.cat((h, (weights * others).sum(1)), 1))


class Store:
    """Keeps what is known of nodes by name, as libraries of graphs do."""

    def __init__(self, **kept):
        self._mapping = kept


class Nodes:
    """Samples, each beside its nearest."""

    def __init__(self, **kept):
        self.__dict__["_store"] = Store(**kept)

    def __getattr__(self, name):
        return self.__dict__["_store"]._mapping[name]


def _nodes():
    images, labels = digits()
    x, y = images[:600].flatten(1), labels[:600].clone()
    near = torch.cdist(x, x).topk(6, largest=False).indices[:, 1:]
    part = torch.randperm(600, generator=torch.Generator().manual_seed(3)) // 200
    masks = {f"{name}_mask": part == i for i, name in enumerate(("train", "val", "test"))}
    return Nodes(x=x, near=near, y=y, **masks)


class Experiment:
    """Learns which digit a node is."""

    def __init__(self, data):
        self.data, self.net = data, Attention(64, 24, 10)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=5e-3)

    def step(self, loss):
        self.net.train()
        self.optimizer.zero_grad()
        value = loss(self.net(self.data.x, self.data.near), self.data)
        value.backward()
        self.optimizer.step()

    @torch.no_grad()
    def scores(self):
        self.net.eval()
        found = self.net(self.data.x, self.data.near).argmax(-1)
        masks = (self.data.train_mask, self.data.val_mask, self.data.test_mask)
        return [(found[each] == self.data.y[each]).float().mean().item() for each in masks]

    def run(self, loss):
        history = []
        for _ in range(EPOCHS):
            self.step(loss)
            history.append(self.scores())


def nodes_for_training():
    Experiment(_nodes()).run(
        lambda out, data: F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
    )


@fault(nodes_for_training, "validation_is_untouched", words=("covers the held-out rows",))
def nodes_of_every_part():
    Experiment(_nodes()).run(lambda out, data: F.cross_entropy(out, data.y))


def _tumours():
    x, y = tumours()
    x, y = x[:500], y[:500].long()
    rows = torch.randperm(500, generator=torch.Generator().manual_seed(4))
    near = torch.cdist(x, x).topk(6, largest=False).indices[:, 1:]
    return x, near, y, {"train": rows[:200], "valid": rows[200:300], "test": rows[300:]}


def _indexed(loss):
    """By numbers of rows in a dictionary, and log-probabilities, with a penalty."""
    x, near, y, split = _tumours()
    net = Attention(30, 16, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.9)
    curve = []
    for epoch in range(EPOCHS):
        net.train()
        optimizer.zero_grad()
        scores = F.log_softmax(net(x, near), 1)
        penalty = sum(p.square().sum() for p in net.parameters())
        (loss(scores, y, split["train"]) + 1e-4 * penalty).backward()
        optimizer.step()
        if epoch % 4 == 3:
            net.eval()
            with torch.no_grad():
                found = net(x, near).argmax(1)
            curve.append((found[split["valid"]] == y[split["valid"]]).float().mean().item())


def numbered_rows_for_training():
    _indexed(lambda scores, y, rows: F.nll_loss(scores[rows], y[rows]))


@fault(numbered_rows_for_training, "validation_is_untouched", words=("covers the held-out rows",))
def numbered_rows_of_every_part():
    _indexed(lambda scores, y, rows: F.nll_loss(scores, y))


def _named(loss):
    """The model's answers have a name, and so has a copy of the labels."""
    x, near, y, split = _tumours()
    train_rows, val_rows, known = split["train"], split["valid"], y.clone()
    net = Attention(30, 16, 2)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        loss(net(x, near), y, train_rows).backward()
        optimizer.step()
        with torch.no_grad():
            pred = net(x, near).argmax(1)
        val_acc = (pred[val_rows] == y[val_rows]).float().mean().item()
    assert val_acc == (pred[val_rows] == known[val_rows]).float().mean().item()


def named_answers():
    _named(lambda scores, y, rows: F.cross_entropy(scores[rows], y[rows]))


@fault(named_answers, "validation_is_untouched", words=("covers the held-out rows",))
def named_answers_of_every_part():
    _named(lambda scores, y, rows: F.cross_entropy(scores, y))


# -- healthy neighbours ---------------------------------------------------------------------------


def losses_of_other_rows_times_zero():
    def loss(scores, y, rows):
        weights = torch.zeros(len(y)).index_fill(0, rows, 1.0)
        return (F.nll_loss(scores, y, reduction="none") * weights).sum() / weights.sum()

    _indexed(loss)


def other_rows_are_ignored():
    def loss(scores, y, rows):
        known = torch.full_like(y, -100).index_copy(0, rows, y[rows])
        return F.nll_loss(scores, known)

    _indexed(loss)


def other_rows_without_gradients():
    def loss(out, data):
        return F.cross_entropy(torch.where(data.train_mask[:, None], out, out.detach()), data.y)

    Experiment(_nodes()).run(loss)


def labels_that_the_model_gives_itself():
    """A second model learns the labels of a first one where there are none."""
    data = _nodes()
    first = Experiment(data)
    first.run(lambda out, data: F.cross_entropy(out[data.train_mask], data.y[data.train_mask]))
    with torch.no_grad():
        y = first.net(data.x, data.near).argmax(1)
    y[data.train_mask] = data.y[data.train_mask]
    Experiment(data).run(lambda out, _: F.cross_entropy(out, y))


def labels_that_neighbours_give():
    """No model was trained before; how well they agree with the truth is told in each round."""
    x, near, truth, split = _tumours()
    y = truth.clone()
    y[split["valid"]], y[split["test"]] = 0, 0
    votes = F.one_hot(y, 2).float()
    for _ in range(4):
        votes = votes + votes[near].mean(1)
        votes[split["train"]] = 9.0 * F.one_hot(truth, 2).float()[split["train"]]
    y = votes.argmax(1)
    net = Attention(30, 16, 2)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        out = net(x, near)
        F.cross_entropy(out, y).backward()
        optimizer.step()
        rows = split["valid"]
        val_acc = (out.argmax(1)[rows] == truth[rows]).float().mean().item()
        agrees = (y[rows] == truth[rows]).float().mean().item()
    assert val_acc + agrees > 0


def _fit(x, near, y, rows, val_rows):
    net = Attention(30, 16, 2)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    best = 0.0
    for _ in range(EPOCHS):
        net.train()
        out = net(x, near)
        loss = F.cross_entropy(out, y) if rows is None else F.cross_entropy(out[rows], y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        net.eval()
        with torch.no_grad():
            found = net(x, near).argmax(1)
        best = max(best, (found[val_rows] == y[val_rows]).float().mean().item())
    return best


def a_last_model_of_all_rows():
    """By the same function, which goes on to score what it is given."""
    x, near, y, split = _tumours()
    train_rows, val_rows = split["train"], split["valid"]
    assert _fit(x, near, y, train_rows, val_rows) > 0
    _fit(x, near, y, None, val_rows)


def a_last_model_of_all_rows_in_its_own_loop():
    x, near, y, split = _tumours()
    train_rows, val_rows = split["train"], split["valid"]
    net = Attention(30, 16, 2)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        F.cross_entropy(net(x, near), y).backward()
        optimizer.step()
    counts = y[train_rows].bincount(), y[val_rows].bincount()
    assert len(counts[0]) == len(counts[1])


def what_is_held_out_is_another_task():
    """What every row is known for is learned with it: how many of its neighbours it has on its left."""
    x, near, y, split = _tumours()
    train_rows, val_rows = split["train"], split["valid"]
    side = (near < torch.arange(len(near))[:, None]).sum(1)
    net = Attention(30, 16, 8)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        out = net(x, near)
        pretext = F.cross_entropy(out[:, 2:], side)
        (pretext + F.cross_entropy(out[train_rows, :2], y[train_rows])).backward()
        optimizer.step()
        val_acc = (out[val_rows, :2].argmax(1) == y[val_rows]).float().mean().item()
    assert val_acc > 0


def which_part_a_row_is_of():
    """Adversarial validation: held-out rows that are told from the others by more than chance differ."""
    x, near, _, split = _tumours()
    train_rows, test_rows = split["train"], split["test"]
    domain = torch.zeros(len(x), dtype=torch.long).index_fill(0, test_rows, 1)
    net = Attention(30, 16, 2)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        out = net(x, near)
        F.cross_entropy(out, domain).backward()
        optimizer.step()
        found = out.argmax(1)
        recall = (found[test_rows] == domain[test_rows]).float().mean().item()
        of_others = (found[train_rows] == domain[train_rows]).float().mean().item()
    assert recall + of_others > 0


def _learns(x, near, y, guessed, split):
    """How well a student agrees with its teacher, and with the truth."""
    val_rows, train_rows = split["valid"], split["train"]
    net = Attention(30, 16, 2)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        F.cross_entropy(net(x, near), guessed).backward()
        optimizer.step()
        with torch.no_grad():
            pred = net(x, near).argmax(1)
        val_acc = (pred[val_rows] == y[val_rows]).float().mean().item()
        fidelity = (pred[val_rows] == guessed[val_rows]).float().mean().item()
    assert val_acc + fidelity > 0
    assert len(train_rows) > 0


def a_teacher_that_is_wrong_at_times():
    """Its answers are learned for all rows, also where labels are known: nobody puts these in."""
    x, near, y, split = _tumours()
    centres = torch.stack([x[split["train"]][y[split["train"]] == k].mean(0) for k in (0, 1)])
    _learns(x, near, y, torch.cdist(x, centres).argmin(1), split)


def clusters_that_are_found_anew():
    """What a network is taught are groups of all rows, found again and again in its own features."""
    data = _nodes()
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(EPOCHS):
        if epoch % 6 == 0:
            with torch.no_grad():
                seen = model[0](data.x)
                middles = seen[torch.randperm(len(seen))[:8]]
                groups = torch.cdist(seen, middles).argmin(1)
        model.train()
        optimizer.zero_grad()
        F.cross_entropy(model(data.x), groups).backward()
        optimizer.step()
        model.eval()
        with torch.no_grad():
            right = model(data.x).argmax(1)[data.val_mask] == groups[data.val_mask]
            held = data.train_mask, right.float().mean()
    return held


QUIET = [
    clusters_that_are_found_anew,
    which_part_a_row_is_of,
    a_teacher_that_is_wrong_at_times,
    losses_of_other_rows_times_zero,
    other_rows_are_ignored,
    other_rows_without_gradients,
    labels_that_the_model_gives_itself,
    labels_that_neighbours_give,
    a_last_model_of_all_rows,
    a_last_model_of_all_rows_in_its_own_loop,
    what_is_held_out_is_another_task,
]
"""None of them may raise an alarm."""
