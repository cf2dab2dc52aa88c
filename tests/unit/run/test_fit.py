"""After a training, metrics are measured on all of the validation data, whatever they and it are."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pytest_dlcheck import Recipe
from pytest_dlcheck.gating.bits import unpacked
from pytest_dlcheck.run.fit.answers import Answers
from pytest_dlcheck.run.fit.tallies import tally
from pytest_dlcheck.run.trial_runner import Request, run_trial
from pytest_dlcheck.trial import Terms


def fit(steps=2, epochs=None, seed=0, **parts):
    def build():
        model = parts.get("model") or nn.Linear(4, 3)
        x = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
        usual = {
            "model": model,
            "train_data": DataLoader(TensorDataset(x, torch.arange(40) % 3), batch_size=8, shuffle=True),
            "val_data": (x, torch.arange(40) % 3),
            "loss": nn.CrossEntropyLoss(),
            "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        }
        return Recipe(**{**usual, **{k: v() if k == "data" else v for k, v in parts.items()}})

    terms = Terms(steps=steps, epochs=epochs)
    return run_trial(build, Request(terms.fit(seed), frozenset()))


def metrics_of(trace):
    return {row.text("name"): row for row in trace.rows("metrics")}


# -- the training -----------------------------------------------------------------------------------


def test_it_trains_so_many_steps_or_epochs():
    assert len(fit(steps=7).series("loss")) == 7
    assert len(fit(epochs=3).series("loss")) == 15


def test_the_model_is_evaluated_in_eval_mode_and_left_as_it_was():
    modes, model = [], nn.Linear(4, 3)
    model.register_forward_hook(lambda module, *_: modes.append(module.training))
    assert fit(model=model).ending.kind == "completed"
    assert modes[:2] == [True, True]
    assert not any(modes[2:])
    assert model.training


def test_every_validation_sample_counts_once_in_its_own_order():
    trace = fit()
    row = trace.row("accuracy")
    right = unpacked(row.text("bits"), 40)
    assert row.integer("samples") == 40
    assert row.number("value") == sum(right) / 40
    shuffled = fit(
        val_data=DataLoader(TensorDataset(*_val()), batch_size=7, shuffle=True, drop_last=True)
    )
    assert unpacked(shuffled.row("accuracy").text("bits"), 40) == right
    assert shuffled.row("accuracy").text("order") == row.text("order")


def _val():
    x = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    return x, torch.arange(40) % 3


def test_the_same_seed_measures_the_same_and_another_does_not():
    same, again, other = fit(seed=1), fit(seed=1), fit(seed=2)
    assert (same.facts, same.channels) == (again.facts, again.channels)
    assert other.facts != same.facts


# -- accuracy ---------------------------------------------------------------------------------------


def accuracy(loss, *batches):
    answers = Answers(loss)
    for outputs, targets in batches:
        answers.add(outputs, targets)
    return answers.row()


LOGITS = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0], [0.0, 1.0]])
CLASSES = torch.tensor([0, 1, 1, 1])


def test_one_class_a_sample():
    row = accuracy(nn.CrossEntropyLoss(), (LOGITS, CLASSES), (LOGITS, CLASSES))
    assert (row["value"], row["samples"], row["effective"]) == (0.75, 8, 8)
    assert list(unpacked(row.text("bits"), 8)) == [1, 1, 0, 1] * 2


def test_left_out_labels_do_not_count():
    targets = torch.tensor([0, -100, 1, 1])
    assert accuracy(nn.CrossEntropyLoss(), (LOGITS, targets))["value"] == pytest.approx(2 / 3)
    targets = torch.tensor([0, 7, 1, 1])
    assert accuracy(nn.CrossEntropyLoss(ignore_index=7), (LOGITS, targets))["samples"] == 3


def test_pixels_and_tokens_count_by_their_samples():
    labels = torch.randint(0, 3, (20, 5, 5), generator=torch.Generator().manual_seed(0))
    logits = nn.functional.one_hot(labels, 3).float()
    logits[:5] = logits[:5].roll(1, -1)  # five samples are all wrong
    for outputs in (logits.movedim(-1, 1), logits):
        row = accuracy(nn.CrossEntropyLoss() if outputs.size(1) == 3 else None, (outputs, labels))
        assert row["value"] == 0.75
        assert row["samples"] == 20
        assert row["effective"] == pytest.approx(20, rel=0.1)
        assert row["bits"] == ""


def test_pixels_that_err_by_themselves_tell_more_than_their_samples():
    generator = torch.Generator().manual_seed(0)
    labels = torch.zeros(50, 100, dtype=torch.long)
    wrong = torch.rand(50, 100, generator=generator) < 0.2
    row = accuracy(None, (nn.functional.one_hot(wrong.long(), 2).float(), labels))
    assert row["effective"] > 1_000


@pytest.mark.parametrize(
    ("loss", "numbers", "expected"),
    [
        (nn.BCEWithLogitsLoss(), [0.3, 0.4, -1.0, 0.2], 0.75),
        (nn.BCELoss(), [0.3, 0.6, 0.1, 0.7], 0.5),
        (None, [0.3, 0.6, 0.1, 0.7], 0.5),
        (None, [3.0, 0.6, -0.1, 0.7], 0.75),
    ],
)
def test_one_number_a_sample(loss, numbers, expected):
    pair = torch.tensor(numbers)[:, None], torch.tensor([1.0, 1.0, 0.0, 0.0])[:, None]
    assert accuracy(loss, pair)["value"] == expected


@pytest.mark.parametrize(
    ("outputs", "targets"),
    [
        (torch.randn(4, 1), torch.randn(4, 1)),
        (torch.randn(4, 3), torch.rand(4, 3).round()),
        (torch.randn(4, 3), None),
        (None, torch.arange(4)),
        (torch.randn(4, 3), torch.arange(3)),
        (torch.randn(4, 3), torch.tensor([0, 1, 2, 9])),
    ],
)
def test_what_is_no_classification_has_no_accuracy(outputs, targets):
    row = accuracy(None, (outputs, targets))
    assert "no classification" in row.text("problem")
    assert "value" not in row


# -- metrics ----------------------------------------------------------------------------------------


def tallied(metric, *sizes, dim=0):
    one = tally("it", metric, "cpu", dim)
    for size in sizes:
        outputs = torch.arange(float(size))
        one.add(outputs, torch.zeros(size), size)
    return one.row()


def mean_error(outputs, targets):
    return (outputs - targets).abs().mean()


def test_a_function_is_averaged_by_samples():
    row = tallied(mean_error, 4, 2)
    assert row["value"] == pytest.approx((1.5 * 4 + 0.5 * 2) / 6)
    assert row["samples"] == 6


def test_its_noise_is_that_between_samples():
    row = tallied(mean_error, 30)
    assert row["error"] == pytest.approx(float(torch.arange(30.0).std()) / math.sqrt(30), rel=1e-5)
    assert row["points"] == 30


def test_where_parts_cannot_be_had_it_is_that_between_batches():
    def choosy(outputs, targets):
        if len(outputs) < 4:
            raise ValueError
        return mean_error(outputs, targets)

    row = tallied(choosy, 8, 8, 8)
    assert row["points"] == 3
    assert tallied(choosy, 8)["error"] is None


class Counting:
    def __init__(self):
        self.total, self.count = 5.0, 5

    def reset(self):
        self.total, self.count = 0.0, 0

    def update(self, outputs, targets):
        self.total += float((outputs - targets).sum())
        self.count += len(outputs)

    def compute(self):
        return torch.tensor(self.total / self.count)


def test_an_object_gathers_and_is_asked_once():
    row = tallied(Counting(), 4, 2)
    assert row["value"] == pytest.approx(7 / 6)
    assert row["error"] is None


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (math.nan, "it is nan"),
        (math.inf, "it is inf"),
        (None, "it gives None, not a number"),
        ("0.5", "it gives a str, not a number"),
        (True, "it gives a bool, not a number"),
        (torch.zeros(3), "it gives a tensor of shape (3,), not one number"),
        ({"a": 1}, "it gives a dict, not a number"),
    ],
)
def test_what_is_no_number_is_told(value, problem):
    row = tallied(lambda *_: value, 4)
    assert (row["value"], row["problem"]) == (None, problem)


def test_a_metric_that_raises_hinders_no_other():
    def broken(outputs, targets):
        raise KeyError("no")

    rows = metrics_of(fit(metrics={"broken": broken, "fine": lambda o, t: 1.0}))
    assert "raised KeyError" in rows["broken"]["problem"]
    assert rows["fine"]["value"] == 1.0


def test_the_loss_is_measured_too_unless_it_is_declared():
    rows = metrics_of(fit())
    assert 0.3 < rows["loss"]["value"] < 3
    assert metrics_of(fit(metrics={"loss": lambda o, t: 7.0}))["loss"]["value"] == 7.0


def test_metrics_may_change_what_they_are_given():
    def spoils(outputs, targets):
        outputs.zero_()
        return 0.0

    honest, spoilt = fit(), fit(metrics={"spoils": spoils})
    assert spoilt.rows("accuracy") == honest.rows("accuracy")


def test_a_training_step_without_outputs_is_measured_by_its_model():
    def step(model, batch):
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    trace = fit(loss=None, training_step=step)
    assert trace.row("accuracy").number("value") == fit().row("accuracy").number("value")
    assert metrics_of(trace)["loss"]["value"] == pytest.approx(metrics_of(fit())["loss"]["value"])


def test_an_own_loop_is_measured_after_it_ends():
    def train(model, train_data, steps):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _, (x, y) in zip(range(steps), train_data, strict=False):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()

    trace = fit(loss=None, optimizer=None, train=train)
    assert trace.ending.kind == "completed", trace.ending
    assert trace.row("accuracy").integer("samples") == 40
    assert "give steps=" in fit(epochs=1, loss=None, optimizer=None, train=train).ending.message


def test_what_could_not_be_measured_is_refused_before_anything_is_trained():
    trace = fit(val_data=None)
    assert trace.ending.kind == "not_applicable"
    assert not trace.channels
    assert fit(val_data=(torch.zeros(0, 4), torch.zeros(0))).ending.message.startswith(
        "val_data is empty"
    )
    assert "metrics={'f1': ...} is a str" in fit(metrics={"f1": "f1"}).ending.message
    assert "metrics= is a list" in fit(metrics=["f1"]).ending.message


class WithLoss(nn.Linear):
    """As the models of transformers do: keywords in, an object with a loss and logits out."""

    def forward(self, x, labels):
        logits = super().forward(x)
        return SimpleNamespace(loss=nn.functional.cross_entropy(logits, labels), logits=logits)


def test_a_model_that_computes_its_loss_is_measured_like_any_other():
    x, y = _val()
    batches = [{"x": x[i : i + 8], "labels": y[i : i + 8]} for i in range(0, 40, 8)]
    trace = fit(model=WithLoss(4, 3), train_data=batches, val_data=batches, loss=None)
    assert trace.row("accuracy").integer("samples") == 40
    assert 0.3 < metrics_of(trace)["loss"]["value"] < 3


def test_several_objectives_need_a_forward():
    def step(model, batch):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            yield optimizer, nn.functional.cross_entropy(model(batch[0]), batch[1])

    trace = fit(loss=None, optimizer=None, training_step=step)
    assert trace.ending.kind == "not_applicable"
    assert "metrics need forward=" in trace.ending.message
    assert not trace.channels
    given = fit(loss=None, optimizer=None, training_step=step, forward=lambda m, batch: m(batch[0]))
    assert given.row("accuracy").integer("samples") == 40


def test_a_model_that_may_shift_its_labels_has_no_accuracy_by_itself():
    answers = Answers(None, may_shift=True)
    answers.add(torch.randn(4, 7, 5), torch.randint(0, 5, (4, 7)))
    assert "may shift its labels" in answers.row().text("problem")
