"""A recipe's own loop: called with what it names, watched, ended in time, told as a trial's trace."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from pytest_dlcheck.recipe import Recipe, RecipeError, brings_a_loop
from pytest_dlcheck.run.trial_runner import Request, run_trial
from pytest_dlcheck.trace import Trace
from pytest_dlcheck.trial import Terms

EVERYTHING = frozenset(
    {
        "recipe",
        "shapes",
        "repeat",
        "usage",
        "neighbours",
        "data_order",
        "coverage",
        "finite",
        "linearity",
    }
)
X = torch.randn(256, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, :1] > 0).long().squeeze(1)
DATA = TensorDataset(X, Y)
TERMS = Terms(steps=20)
(TRAINING,) = TERMS.train()


def net():
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))


def fit(model, train_data, epochs=4):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(epochs):
        for x, y in train_data:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()


def ran(train, trial=TRAINING, *, model=net, timeout=None, **facts):
    def factory():
        return Recipe(model=model(), train=train, **facts)

    return run_trial(factory, Request(trial, EVERYTHING, timeout))


def declared():
    return Recipe(model=net(), train=fit, train_data=DATA)


def loader(**more):
    return DataLoader(DATA, batch_size=32, **more)


# -- what it is called with -----------------------------------------------------------------------


def test_a_loop_is_called_with_what_its_signature_names():
    seen = {}

    def loop(model, steps, device, /, *, seed, val_data, other="mine", **rest):
        seen.update(model=model, steps=steps, device=device, seed=seed, val=val_data, rest=rest)
        fit(model, loader())

    trace = ran(loop, Terms(steps=20, seed=3).train()[0], val_data=[1])
    assert trace.ending.kind == "completed", trace.ending
    assert isinstance(seen.pop("model"), nn.Module)
    assert seen == {"steps": 20, "device": "cpu", "seed": 3, "val": [1], "rest": {}}


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"train": lambda model, optimizer: None}, "train= takes 'optimizer', which it cannot be given"),
        ({"train": lambda train_data: None}, "train= takes train_data, and train_data= is missing"),
        ({"train": fit, "train_data": 1, "loss": abs}, "leave out loss=, or"),
        (
            {"train": fit, "train_data": 1, "accumulate": 2, "precision": "bf16-mixed"},
            "accumulate=, prec",
        ),
        ({"train": 3}, "train= takes a callable, not 3"),
    ],
)
def test_what_contradicts_an_own_loop_is_refused(facts, said):
    with pytest.raises(RecipeError, match=said):
        Recipe(model=None, **facts)


def test_a_factory_shows_whether_it_brings_a_loop():
    def own():
        return Recipe(model=net(), train=fit, train_data=DATA)

    def built_in():
        data = TensorDataset(root="data", train=True)
        return Recipe(model=net(), train_data=data, loss=abs)

    assert brings_a_loop(own)
    assert brings_a_loop(own())

    def by_a_helper():
        return declared()

    assert brings_a_loop(by_a_helper)
    assert not brings_a_loop(built_in)
    assert not brings_a_loop(3)


# -- how it ends ----------------------------------------------------------------------------------


def test_a_loop_is_ended_after_its_steps():
    trace = ran(lambda model: fit(model, loader(), epochs=1_000))
    assert trace.ending.kind == "completed"
    assert len(trace.series("loss")) == 20


def test_a_loop_that_counts_its_steps_comes_to_its_own_end():
    ends = []

    def loop(model, train_data, steps):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        batches = iter(train_data)
        for _ in range(steps):
            x, y = next(batches)
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        ends.append("validated")

    assert len(ran(loop, Terms(steps=5).train()[0], train_data=loader()).series("loss")) == 5
    assert ends == ["validated"]


def test_an_error_of_the_loop_stays_the_users_own():
    def loop(model):
        fit(model, loader(), epochs=1)
        raise KeyError("mine")

    ending = ran(loop).ending
    assert (ending.kind, ending.step, ending.where) == ("raised", 8, "your own loop")
    assert "KeyError: 'mine'" in ending.message
    assert "test_own_loop.py" in ending.detail


def test_a_loop_that_takes_too_long_is_ended_between_steps():
    ending = ran(lambda model: fit(model, loader()), timeout=1e-6).ending
    assert (ending.kind, ending.step) == ("timed_out", 0)


def test_a_loss_that_is_not_finite_ends_the_trial():
    def loop(model):
        optimizer = torch.optim.SGD(model.parameters(), lr=1e30)
        for _ in range(1_000):
            optimizer.zero_grad()
            F.mse_loss(model(X), X[:, :2]).backward()
            optimizer.step()

    trace = ran(loop, Terms(steps=1_000).train()[0])
    assert trace.ending.kind == "diverged"
    assert len(trace.series("loss")) < 100


def test_training_nothing_is_an_error():
    ending = ran(lambda model: None).ending
    assert ending.kind == "raised"
    assert "nothing was trained: train= returned, and no optimizer stepped" in ending.message


def test_training_another_model_is_an_error():
    ending = ran(lambda model: fit(net(), loader())).ending
    assert ending.kind == "raised"
    assert "train= trained another model: Sequential, Adam (20 steps)" in ending.message


# -- what is seen ---------------------------------------------------------------------------------


def test_a_training_shows_what_a_watched_loop_shows():
    trace = ran(fit, train_data=loader(), frozen=["0.bias"])
    assert trace.row("recipe").flag("own_loop")
    assert {"loss", "gradient_norm", "update_norm", "learning_rate"} <= trace.channels.keys()
    declared = {row.text("name"): row.flag("declared_frozen") for row in trace.rows("parameters")}
    assert declared == {"0.weight": False, "0.bias": True, "2.weight": False, "2.bias": False}
    assert trace.row("frozen_patterns").text("pattern") == "0.bias"


def test_each_optimizer_has_its_own_trace_and_all_survive_json():
    def loop(model, train_data):
        one = torch.optim.SGD(model[0].parameters(), lr=0.1)
        two = torch.optim.Adam(model[2].parameters(), lr=0.1)
        for x, y in train_data:
            one.zero_grad()
            two.zero_grad()
            F.cross_entropy(model(x), y).backward()
            one.step()
            two.step()

    trace = ran(loop, train_data=loader())
    (other,) = trace.others
    assert trace.row("recipe").text("optimizer") == "SGD"
    assert other.row("recipe").text("optimizer") == "Adam"
    assert not trace.row("recipe").flag("several_objectives")
    assert Trace.from_json(json.loads(json.dumps(trace.to_json()))) == trace


def adversaries(model, train_data):
    one, two = (torch.optim.SGD(part.parameters(), lr=0.01) for part in (model[0], model[2]))
    for x, _ in train_data:
        one.zero_grad()
        model[0](x).square().mean().backward()
        one.step()
        two.zero_grad()
        model(x).square().mean().backward()
        two.step()


def test_several_objectives_are_told_and_are_not_overfitted():
    assert ran(adversaries, train_data=loader()).row("recipe").flag("several_objectives")
    ending = ran(adversaries, TERMS.overfit(0.8), train_data=loader()).ending
    assert (ending.kind, ending.message) == (
        "not_applicable",
        "several objectives are trained against each other",
    )


def test_an_inspection_looks_at_the_first_call_and_at_the_data():
    trace = ran(fit, TERMS.inspect(), train_data=loader(shuffle=True), shapes="b 4 -> b 2")
    assert trace.ending.kind == "completed"
    assert {"shapes", "repeat", "usage", "neighbours", "data_order"} <= trace.facts.keys()
    assert "computes its loss itself" in trace.inapplicable["finite"]
    assert "coverage" not in {*trace.facts, *trace.unobserved, *trace.inapplicable}


def test_an_inspection_needs_no_data_and_takes_no_step():
    stepped = []

    def loop(model):
        fit(model, loader(), epochs=1)
        stepped.append(True)

    trace = ran(loop, TERMS.inspect(), shapes="b 4 -> b 2")
    assert trace.row("shapes")
    assert trace.inapplicable["data_order"] == "no train_data= is given beside train="
    assert not stepped


def test_a_model_that_is_called_in_parts_only_is_not_guessed_at():
    class Parts(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Linear(4, 2)

    def loop(model):
        fit(model.encoder, loader())

    trace = ran(loop, TERMS.inspect(), model=Parts)
    assert "has no forward of its own" in trace.inapplicable["repeat"]


# -- other data -----------------------------------------------------------------------------------


def batched(model, train_data):
    fit(model, train_data, epochs=100)


def of_tensors(model, train_data):
    x, y = train_data
    fit(model, [(x[i], y[i]) for i in torch.randperm(len(x)).split(32)], epochs=100)


def of_samples(model, train_data):
    fit(model, DataLoader(train_data, batch_size=32, shuffle=True), epochs=100)


FORMS = [
    pytest.param(batched, loader(shuffle=True), id="loader"),
    pytest.param(batched, list(loader()), id="list"),
    pytest.param(of_tensors, (X, Y), id="tensors"),
    pytest.param(of_samples, DATA, id="data set"),
]


@pytest.mark.parametrize(("loop", "data"), FORMS)
def test_one_small_batch_is_learned_by_heart_whatever_form_data_have(loop, data):
    trace = ran(loop, Terms().overfit(0.8), train_data=data)
    losses = trace.series("loss").values
    assert trace.ending.kind == "completed", trace.ending
    assert losses[-1] < 0.3 * losses[0]
    assert len(losses) < 200


@pytest.mark.parametrize(("loop", "data"), FORMS)
def test_with_other_samples_inputs_less_is_learned_whatever_form_data_have(loop, data):
    own = ran(loop, TRAINING, train_data=data).series("loss").values
    blind = ran(loop, TERMS.blind()[0], train_data=data)
    assert blind.ending.kind == "completed", blind.ending
    assert blind.series("loss")[-1] > 1.1 * own[-1]
    assert blind.row("relation").number("surprise") > 5


@pytest.mark.parametrize("trial", [TERMS.overfit(0.8), *TERMS.blind()], ids=str)
def test_a_loop_that_takes_no_data_is_not_given_any(trial):
    ending = ran(lambda model: fit(model, loader()), trial).ending
    assert ending.kind == "not_applicable"
    assert "does not take train_data" in ending.message


def test_what_an_own_loop_cannot_be_run_as_is_not_applicable():
    assert ran(fit, TERMS.holdout()[0], train_data=loader()).ending.kind == "not_applicable"


def test_one_sample_alone_says_nothing_of_its_neighbours():
    trace = ran(fit, TERMS.inspect(), train_data=DataLoader(DATA, batch_size=1))
    assert "of one sample" in trace.unobserved["neighbours"]
