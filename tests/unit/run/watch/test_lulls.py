"""Between two looks little is heard, and what is told is the same."""

from __future__ import annotations

import contextlib
import copy
import gc
import itertools
import weakref

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from pytest_dlcheck import watch
from pytest_dlcheck.run.watch.batches.exposure import Exposure
from pytest_dlcheck.run.watch.lull import Lull
from pytest_dlcheck.run.watch.plain import Plain
from pytest_dlcheck.run.watch.watcher import Watcher

STEPS = 150


@pytest.fixture
def faults_of_the_watch_are_raised():
    """Not here: one of the tests has such a fault."""


def net():
    return nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.1), nn.ReLU(), nn.Linear(8, 2))


def rows(count=60):
    return TensorDataset(torch.randn(count, 4), torch.randint(2, (count,)))


def epochs():
    """Passes over loaders, clipping, a schedule, validations, and a step in eval mode now and then."""
    model = net()
    train, val = DataLoader(rows(), 4, shuffle=True), DataLoader(rows(16), 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 40)
    for epoch in range(30):
        model.train(epoch % 4 != 3)
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            schedule.step()
        model.eval()
        with torch.no_grad():
            for x, _ in val:
                model(x)


def accumulation():
    """Two backward passes a step, and one more in the end, with which nothing is done."""
    model = net()
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(STEPS):
        optimizer.zero_grad()
        for _ in range(2):
            F.cross_entropy(model(torch.randn(8, 4)), torch.randint(2, (8,))).backward()
        optimizer.step()
    F.cross_entropy(model(torch.randn(8, 4)), torch.randint(2, (8,))).backward()


def closures():
    """Backward comes inside the step."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(torch.randn(8, 4)), torch.randint(2, (8,)))
        loss.backward()
        return loss

    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 / (1 + step)
        optimizer.step(closure)


def another_optimizer():
    """It goes on training the same model, after a while."""
    model, first = net(), 100
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(STEPS):
        if step == first:
            optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        optimizer.zero_grad()
        F.cross_entropy(model(torch.randn(8, 4)), torch.randint(2, (8,))).backward()
        optimizer.step()


def several_losses():
    """One backward of two losses, and now and then steps that no backward came before."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(STEPS):
        if step % 50 != 45:
            optimizer.zero_grad()
            losses = [F.cross_entropy(model(torch.randn(8, 4)), torch.randint(2, (8,))) for _ in "ab"]
            torch.autograd.backward(losses) if step % 20 == 15 else losses[0].backward()
        optimizer.step()


def bfloat16():
    """Numbers of half precision are followed at every step."""
    model = net().bfloat16()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    for _ in range(STEPS):
        optimizer.zero_grad()
        scores = model(torch.randn(8, 4).bfloat16()).float()
        F.cross_entropy(scores, torch.randint(2, (8,))).backward()
        optimizer.step()


def interrupted():
    """Plain steps, between which weights are kept and loaded, rates changed, and the model evaluated."""
    model, kept = net(), {}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    for step in range(STEPS):
        if step % 35 == 30:
            kept = model.state_dict()
        if step == 120:
            model.load_state_dict(kept)
        if step % 40 == 39:
            schedule.step()
        if step % 45 == 44:
            optimizer.param_groups[0]["lr"] = 0.03
        if step % 29 == 28:
            with torch.no_grad():
                model(torch.randn(8, 4))
        if step % 31 == 30:
            model(torch.randn(8, 4))
        optimizer.zero_grad()
        F.cross_entropy(model(torch.randn(8, 4)), torch.randint(2, (8,))).backward()
        if step % 3 == 0:
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()


class Checkpointed(nn.Module):
    """Called again within its backward, which calls another."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.last(checkpoint(self.first, x, use_reentrant=True))


def checkpoints():
    """A backward within a backward is a part of it."""
    model = Checkpointed()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(STEPS):
        optimizer.zero_grad()
        x = torch.randn(8, 4, requires_grad=True)
        F.cross_entropy(model(x), torch.randint(2, (8,))).backward()
        optimizer.step()


def schedule_in_the_step():
    """A hook of the step steps the schedule."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.99)
    optimizer.register_step_post_hook(lambda *_: schedule.step())
    train(model, optimizer)


def evaluation_in_the_step():
    """A hook of the step evaluates now and then."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def evaluate():
        model.eval()
        with torch.no_grad():
            model(torch.randn(8, 4))
        model.train()

    optimizer.register_step_post_hook(now_and_then(evaluate, 7))
    train(model, optimizer)


def batch_in_the_step():
    """A hook of the step reads the next batch now and then."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batches = iter(DataLoader(rows(400), 4))
    next(batches)
    optimizer.register_step_post_hook(now_and_then(lambda: next(batches), 25))
    train(model, optimizer)


def backward_in_the_step():
    """A hook of the step has another backward now and then, and one of another model."""
    model, other = net(), nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.register_step_post_hook(now_and_then(lambda: loss_of(model).backward(), 25))
    optimizer.register_step_post_hook(now_and_then(lambda: loss_of(other).backward(), 22))
    train(model, optimizer)


def optimizer_in_the_step():
    """A hook of the step has another model trained, late and now and then."""
    model, other = net(), nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    another = torch.optim.SGD(other.parameters(), lr=0.1)
    optimizer.register_step_post_hook(now_and_then(lambda: train(other, another, 1), 45))
    train(model, optimizer)


def own_rate():
    """The step itself sets its rate, at first now and then."""
    model = net()
    optimizer = Decaying(model.parameters(), lr=0.1)
    train(model, optimizer)


def steps_within_backward():
    """At first after it, then from a hook of the last gradient."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    train(model, optimizer, 70)
    parameters = list(model.parameters())
    arrived = []

    def arrives(parameter):
        arrived.append(parameter)
        if len(arrived) == len(parameters):
            arrived.clear()
            optimizer.step()
            optimizer.zero_grad()

    optimizer.zero_grad()
    for parameter in parameters:
        parameter.register_post_accumulate_grad_hook(arrives)
    for _ in range(STEPS):
        loss_of(model).backward()


def several_evaluations():
    """A step calls its closure up to three times."""
    model = net()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)

    def closure():
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        return loss

    for _ in range(120):
        optimizer.step(closure)


def traced():
    """Calls of which nothing can be read, between those that train."""
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.randn(8, 4)

    def score(weights, row):
        return functional_call(model, weights, (row[None],)).sum()

    for step in range(STEPS):
        if step % 10 == 9:
            torch.jit.trace(model, x, check_trace=False)
        if step % 10 == 4:
            weights = {name: p.detach() for name, p in model.named_parameters()}
            vmap(grad(score), in_dims=(None, 0))(weights, x)
        train(model, optimizer, 1)


class Decaying(torch.optim.SGD):
    """Lowers its rate at the end of every tenth step, and of each of the last."""

    taken = 0

    def step(self, closure=None):
        result = super().step(closure)
        self.taken += 1
        if self.taken % 10 == 0 or self.taken > 100:
            for group in self.param_groups:
                group["lr"] *= 0.9
        return result


def loss_of(model):
    return F.cross_entropy(model(torch.randn(8, 4)), torch.randint(2, (8,)))


def train(model, optimizer, steps=STEPS):
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()


def now_and_then(does, every):
    """A hook that does something once in so many calls."""
    calls = itertools.count(1)

    def hook(*_):
        if next(calls) % every == 0:
            does()

    return hook


LOOPS = [
    epochs,
    accumulation,
    closures,
    another_optimizer,
    several_losses,
    bfloat16,
    interrupted,
    checkpoints,
    schedule_in_the_step,
    evaluation_in_the_step,
    batch_in_the_step,
    backward_in_the_step,
    optimizer_in_the_step,
    own_rate,
    steps_within_backward,
    several_evaluations,
    traced,
]


def told(loop):
    """What a watch tells of a loop, but for its time and the numbers of its events."""
    torch.manual_seed(0)
    with watch() as run:
        loop()
    assert not run.fault
    found = []
    for _, trace in run.traces:
        facts = {
            name: [{k: v for k, v in row.items() if k != "event"} for row in table]
            for name, table in trace.facts.items()
            if name not in {"comparisons", "likeness", "loss_soundness"}  # told by how often one looks
        }
        found.append((trace.channels, facts))
    return found, [(v.check, v.outcome, v.cause) for v in run.verdicts]


@pytest.mark.filterwarnings("ignore:.torch.jit.trace:FutureWarning")
@pytest.mark.filterwarnings("ignore:.torch.jit.trace:DeprecationWarning")
@pytest.mark.parametrize("loop", LOOPS)
def test_nothing_else_is_told_than_by_a_watch_that_never_rests(monkeypatch, loop):
    settled = []
    settle = Lull.settle
    monkeypatch.setattr(Lull, "settle", lambda lull: settled.append(lull) or settle(lull))
    rested = told(loop)
    assert settled
    with monkeypatch.context() as patch:
        patch.setattr(Watcher, "_rest", lambda *_: None)
        restless = told(loop)
    assert rested == restless


def test_plain_steps_are_heard_in_one_go(monkeypatch):
    heard = []
    stepped = Plain.has_stepped
    monkeypatch.setattr(Plain, "has_stepped", lambda plain, o: heard.append(1) or stepped(plain, o))
    told(accumulation)
    assert len(heard) > STEPS / 4


def test_backward_that_raises_in_a_lull_leaves_the_watch_as_it_was():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def fails(_):
        raise FloatingPointError("on purpose")

    with watch() as run:
        for step in range(STEPS):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(torch.randn(8, 4)), torch.randint(2, (8,)))
            if step in {70, 101}:
                loss.register_hook(fails)
                with pytest.raises(FloatingPointError):
                    loss.backward()
            else:
                loss.backward()
            optimizer.step()
    assert not run.fault
    assert run.trace.row("loop").integer("backwards") == STEPS - 2
    assert len(run.trace.series("loss")) == STEPS - 2


@pytest.mark.parametrize("rests", [True, False])
def test_the_graph_of_a_backward_that_raised_is_let_go(monkeypatch, rests):
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def fails(_):
        raise MemoryError("on purpose")

    if not rests:
        monkeypatch.setattr(Watcher, "_rest", lambda *_: None)
    with watch():
        train(model, optimizer, 70)
        loss = loss_of(model)
        loss.register_hook(fails)
        with contextlib.suppress(MemoryError):
            loss.backward()
        failed = weakref.ref(loss)
        del loss
        gc.collect()
        assert failed() is None


@pytest.mark.parametrize("happens", ["nothing", "a batch is read", "a backward"])
def test_no_step_is_lost_where_something_happens_within_it(happens):
    model, other = net(), nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batches = iter(DataLoader(rows(400), 4))
    next(batches)
    does = {
        "nothing": lambda: None,
        "a batch is read": lambda: next(batches),
        "a backward": lambda: loss_of(other).backward(),
    }
    optimizer.register_step_post_hook(now_and_then(does[happens], 25))
    with watch() as run:
        next(batches)
        train(model, optimizer)
    assert run.trace.row("loop").integer("steps") == STEPS
    for channel in "loss", "learning_rate":
        assert list(run.trace.series(channel).steps) == list(range(STEPS))


def test_a_fault_in_a_lull_does_not_reach_the_loop(monkeypatch):
    def broken(*_):
        raise LookupError("no such thing")

    monkeypatch.setattr(Exposure, "skip", broken)
    taken = []
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch() as run:
        for _ in range(STEPS):
            optimizer.zero_grad()
            F.cross_entropy(model(torch.randn(8, 4)), torch.randint(2, (8,))).backward()
            optimizer.step()
            taken.append(copy.deepcopy(model))
    assert len(taken) == STEPS
    assert "LookupError: no such thing" in run.fault
