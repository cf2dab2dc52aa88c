"""Copies that are frozen or put in eval mode are heard, whoever holds them; nothing is left behind."""

import copy
import gc
import io
import threading
import weakref

import pytest
import torch
from torch import nn

from pytest_dlcheck import watch

EVAL, FREEZE = nn.Module.eval, nn.Module.requires_grad_


def net():
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16))


def trained(after, *, model=None, make=copy.deepcopy, follow=None, epochs=4, steps=6):
    """Rows of copies; ``after(copied)`` runs without gradients after every few steps."""
    torch.manual_seed(0)
    model = model or net()
    with watch() as run:
        copied = make(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for _ in range(epochs):
            for _ in range(steps):
                optimizer.zero_grad()
                model(torch.randn(8, 16)).square().mean().backward()
                optimizer.step()
                if follow:
                    follow(copied, model)
            with torch.no_grad():
                after(copied)
    return run.trace.rows("evaluated_twins")


X = torch.arange(64.0).view(4, 16)


def frozen(model):
    return copy.deepcopy(model).eval().requires_grad_(requires_grad=False)


@pytest.mark.parametrize(
    "aside", [lambda one: one.eval(), lambda one: one.requires_grad_(requires_grad=False)]
)
def test_a_copy_is_heard_that_is_set_aside(aside):
    (row,) = trained(lambda one: one.eval()(X), make=lambda model: aside(copy.deepcopy(model)))
    assert row.integer("again") == 3
    assert row.integer("steps_between") == 24
    assert row.flag("was_copy")
    assert row.flag("was_fresh")
    assert not row.flag("moved")
    assert not row.flag("own_calls")


def test_one_that_is_first_set_aside_in_the_middle_is_heard_too():
    (row,) = trained(lambda one: one.eval()(X))
    assert row.integer("again") == 3
    assert row.integer("steps_between") == 24
    assert row.flag("was_copy")


def test_one_that_was_made_in_the_middle_is_none_of_the_beginning():
    made = []

    def after(one):
        made.append(made[0] if made else copy.deepcopy(one))
        made[-1].eval()(X)

    (row,) = trained(after, make=lambda model: model)
    assert row.integer("steps_between") == 18
    assert not row.flag("was_copy")


def test_other_inputs_each_time_are_no_validation():
    assert trained(lambda one: one(torch.randn(4, 16)), make=frozen) == ()


def test_calls_at_every_step_are_no_validation():
    assert trained(lambda one: one(X), make=frozen, epochs=24, steps=1) == ()


def test_a_teacher_that_is_asked_at_every_step_costs_nothing_after_a_while():
    ears = []

    def after(one):
        one(X)
        ears.append(len(one._forward_pre_hooks))  # noqa: SLF001  torch does not tell

    trained(after, make=frozen, epochs=40, steps=1)
    assert ears[4] == 1
    assert ears[-1] == 0


def test_calls_in_train_mode_and_with_gradients_are_none():
    assert trained(lambda one: one.train()(X), make=frozen) == ()

    def with_gradients(one):
        with torch.enable_grad():
            one(X)

    assert trained(with_gradients, make=frozen) == ()


@torch.no_grad()
def mixed(copied, model):
    for a, b in zip(copied.parameters(), model.parameters(), strict=True):
        a.lerp_(b, 0.01)


def test_an_average_has_moved():
    (row,) = trained(lambda one: one(X), make=frozen, follow=mixed)
    assert row.flag("moved")


def test_calls_of_the_model_itself_are_told():
    model = net()
    (row,) = trained(lambda one: (one(X), model(X)), model=model, make=frozen)
    assert row.flag("own_calls")


def test_but_not_those_after_its_last_step():
    model, calls = net(), []

    def after(one):
        one(X)
        calls.append(len(calls))
        if len(calls) == 4:
            model(X)

    (row,) = trained(after, model=model, make=frozen)
    assert not row.flag("own_calls")


class Holder(nn.Module):
    """Holds what it averages, as many libraries do."""

    def __init__(self, model):
        super().__init__()
        self.module, self.decay = copy.deepcopy(model), nn.Buffer(torch.tensor(0.9))


def test_a_copy_is_found_within_what_is_set_aside():
    (row,) = trained(lambda one: one.eval().module(X), make=Holder)
    assert row.text("model") == "Sequential"


def test_a_copy_that_is_stepped_itself_is_none():
    def after(one):
        one.eval()(X)
        optimizer = torch.optim.SGD(one.parameters(), lr=0.01)
        with torch.enable_grad():
            one(X).sum().backward()
        optimizer.step()

    assert trained(after) == ()


def test_a_batch_for_the_copy_alone_counts_once_whichever_way_it_is_heard():
    """Here it is heard with all calls in the first steps, and by itself later."""
    model, copied = net(), frozen(net())
    with watch() as run:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for _ in range(5):
            with torch.no_grad():
                copied(X)
            for _ in range(4):
                optimizer.zero_grad()
                model(X).square().mean().backward()
                optimizer.step()
    (row,) = run.trace.rows("evaluated_twins")
    assert row.integer("again") + 1 == 5
    assert row.integer("validations") == 0


def test_nothing_is_left_behind_and_nothing_kept_alive():
    model = net()
    kept = frozen(model)
    known = []

    def make(one):
        known.append(weakref.ref(copied := frozen(one)))
        return copied

    trained(lambda one: (one(X), kept.eval()(X)), model=model, make=make)
    gc.collect()
    assert known[0]() is None
    assert nn.Module.eval is EVAL
    assert nn.Module.requires_grad_ is FREEZE
    parts = [*model.modules(), *kept.modules()]
    assert not any(part._forward_pre_hooks for part in parts)  # noqa: SLF001  torch does not tell


def test_a_copy_that_is_heard_can_be_saved_and_copied():
    found = []

    def after(one):
        one(X)
        file = io.BytesIO()
        torch.save(one, file)
        file.seek(0)
        found.append((torch.load(file, weights_only=False), copy.deepcopy(one), one(X)))

    trained(after, make=frozen)
    for loaded, copied, wanted in found:
        assert torch.equal(loaded(X), wanted)
        assert torch.equal(copied(X), wanted)


def test_calls_from_another_thread_do_no_harm():
    def after(one):
        thread = threading.Thread(target=lambda: one.eval()(X))
        thread.start()
        thread.join()

    trained(after, make=frozen)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_a_scripted_copy_and_a_compiled_one_are_let_be():
    scripted = torch.jit.script(net())
    assert trained(lambda _: scripted.eval()(X)) == ()
    compiled = torch.compile(frozen(net()), backend="eager", fullgraph=True)
    before = compiled(X)
    trained(lambda _: compiled.eval()(X))
    assert torch.equal(compiled(X), before)


def test_eval_can_be_compiled():
    class Careful(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(16, 16)

        def forward(self, x):
            self.inner.eval()
            return self.inner(x)

    with watch():
        model = torch.compile(Careful(), backend="eager", fullgraph=True)
        model(X).sum().backward()
