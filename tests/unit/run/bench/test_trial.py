"""What one process tells of speed and memory, on models small enough to know what they take."""

from __future__ import annotations

import gc
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from pytest_dlcheck import Recipe
from pytest_dlcheck.run.bench import trial as bench_trial
from pytest_dlcheck.run.bench.layouts import MOST
from pytest_dlcheck.run.bench.quiet import quiet
from pytest_dlcheck.run.bench.surroundings import Surroundings, compilations
from pytest_dlcheck.run.bench.timing import Limits
from pytest_dlcheck.run.trial_runner import Request, run_trial
from pytest_dlcheck.trial import Terms

SHORT = Limits(warm_up=0.05, seconds=0.02, block=0.001, fewest=3, most=5)


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(bench_trial, "TRAINING", SHORT)
    monkeypatch.setattr(bench_trial, "CALLS", replace(SHORT, block=0.0))
    monkeypatch.setattr(bench_trial, "LOADING", 0.01)


def made(**changes):
    model = changes.pop("model", None) or nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    data = (torch.randn(320, 16), torch.randint(0, 4, (320,)))
    fields = {
        "model": model,
        "train_data": data,
        "loss": nn.functional.cross_entropy,
        "optimizer": torch.optim.Adam(model.parameters()),
    }
    return Recipe(**{**fields, **changes})


def bench(recipe=made, kind="bench_train", wanted=("step_seconds",), **more):
    return run_trial(recipe, Request(Terms().bench(kind, 0, **more), frozenset(wanted)))


def test_a_step_is_timed_on_the_recipes_own_batches():
    trace = bench()
    assert trace.ending.kind == "completed", trace.ending
    assert len(trace.series("step_seconds")) >= 3
    assert all(seconds > 0 for seconds in trace.series("step_seconds"))
    row = trace.row("timing")
    assert (row["samples"], row["batch_size"], row["device"], row["dtype"]) == (32, 32, "cpu", "float32")
    assert row.number("loaded_seconds") > 0
    assert trace.row("surroundings").integer("processors") >= 1


def test_micro_batches_count_together():
    assert bench(lambda: made(accumulate=4)).row("timing")["samples"] == 128


def test_a_size_that_is_asked_for_is_made_of_the_datas_samples():
    row = bench(batch_size=100).row("timing")
    assert row["samples"] == 100
    assert row["loaded_seconds"] is None


def test_no_size_can_be_asked_for_where_samples_do_not_stand_alone():
    trace = bench(lambda: made(batch_dim=None), batch_size=8)
    assert trace.ending.kind == "not_applicable"
    assert "batch_size=8" in trace.ending.message


def test_without_samples_a_step_is_what_is_counted():
    assert bench(lambda: made(batch_dim=None)).row("timing")["samples"] is None


def test_a_loop_of_the_users_own_has_no_steps_to_be_timed():
    def own():
        return Recipe(model=nn.Linear(2, 1), train=lambda model: None)

    assert bench(own).ending.kind == "not_applicable"


def test_the_last_smaller_batch_is_left_out():
    data = (torch.randn(40, 16), torch.randint(0, 4, (40,)))
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data), batch_size=32)
    row = bench(lambda: made(train_data=loader)).row("timing")
    assert row["samples"] == 32
    assert row["batches"] == 2


def test_a_step_that_changes_its_batch_is_given_a_copy_of_it():
    seen = []

    def step(model, batch):
        inputs, targets = batch
        seen.append(float(targets.min()))
        targets -= 1
        return nn.functional.cross_entropy(model(inputs), targets + 1)

    assert bench(lambda: made(loss=None, training_step=step)).ending.kind == "completed"
    assert min(seen) == 0


def test_a_step_that_spares_its_batch_is_given_that_very_batch():
    seen = set()

    def step(model, batch):
        seen.add(batch[0].data_ptr())
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    bench(lambda: made(loss=None, training_step=step))
    assert len(seen) <= 16 * MOST


def test_the_time_is_taken_of_copies_in_turn_and_said_of_how_many():
    built = []

    def recipe():
        model = Watched()
        built.append(model)
        return made(model=model)

    row = bench(recipe, "bench_infer", ("call_seconds",)).row("timing")
    assert row["copies"] == len(built) == MOST
    assert all(model.seen == {(1, False, True, False)} for model in built)


def test_an_error_in_a_step_ends_the_trial_with_its_place():
    def step(model, batch):
        raise ValueError("no such thing")

    trace = bench(lambda: made(loss=None, training_step=step))
    assert trace.ending.kind == "raised"
    assert "no such thing" in trace.ending.message


class Watched(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(16, 4)
        self.seen = set()

    def forward(self, x):
        mixed = torch.is_autocast_enabled("cpu")
        self.seen.add((len(x), self.training, torch.is_inference_mode_enabled(), mixed))
        return self.layer(x)


def test_a_forward_pass_is_timed_in_eval_and_inference_mode_on_one_sample():
    model = Watched()
    trace = bench(lambda: made(model=model), "bench_infer", ("call_seconds",))
    assert trace.ending.kind == "completed", trace.ending
    assert model.seen == {(1, False, True, False)}
    row = trace.row("timing")
    assert row.number("slow_seconds") >= min(trace.series("call_seconds"))


@pytest.mark.parametrize("fields", [{"batch_dim": None}, {}])
def test_a_forward_pass_of_another_size_or_of_a_whole_batch(fields):
    model = Watched()
    size = {} if fields else {"batch_size": 5}
    bench(lambda: made(model=model, **fields), "bench_infer", ("call_seconds",), **size)
    assert {seen[0] for seen in model.seen} == {32 if fields else 5}


def test_another_precision():
    model = Watched()
    trace = bench(lambda: made(model=model), "bench_infer", ("call_seconds",), precision="bf16-mixed")
    assert {seen[3] for seen in model.seen} == {True}
    assert trace.row("timing")["precision"] == "bf16-mixed"


def memory(**changes):
    return bench(lambda: made(**changes), wanted=()).row("step_memory").integer("bytes")


def test_memory_is_what_lives_on_and_what_a_step_adds():
    model = nn.Linear(16, 4, bias=False)
    weights, batch = 16 * 4 * 4, 32 * 16 * 4 + 32 * 8
    least = 4 * weights + batch + 32 * 4 * 4  # weights, gradient, Adam's two moments, batch, outputs
    assert least <= memory(model=model) <= 2 * least


def test_memory_grows_with_the_batch_and_with_what_is_kept_for_backward():
    def deep(layers):
        return nn.Sequential(*(nn.Sequential(nn.Linear(16, 16), nn.Tanh()) for _ in range(layers)))

    small = bench(lambda: made(model=deep(2)), wanted=(), batch_size=256).row("step_memory")
    large = bench(lambda: made(model=deep(2)), wanted=(), batch_size=512).row("step_memory")
    deeper = bench(lambda: made(model=deep(12)), wanted=(), batch_size=256).row("step_memory")
    activations = 10 * 256 * 16 * 4
    assert large.integer("bytes") > 1.5 * small.integer("bytes")
    assert deeper.integer("bytes") - small.integer("bytes") > activations


def test_memory_is_the_same_each_time():
    assert memory(model=nn.Linear(16, 4)) == memory(model=nn.Linear(16, 4))


def test_memory_alone_takes_no_time():
    trace = bench(wanted=("step_memory",))
    assert not trace.channels
    assert trace.row("step_memory").text("source") == "torch's tensors in the main memory"


def test_silence_while_the_time_is_taken_and_all_is_as_before_after_it():
    def tracer(*_):
        return None

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        with quiet():
            assert sys.gettrace() is None
            assert not gc.isenabled()
        assert sys.gettrace() is tracer
        assert gc.isenabled()
    finally:
        sys.settrace(before)


def test_graphs_that_are_compiled_meanwhile_are_counted(monkeypatch):
    counters = {"stats": {"unique_graphs": 2}}
    monkeypatch.setitem(sys.modules, "torch._dynamo.utils", SimpleNamespace(counters=counters))
    around = Surroundings(torch.device("cpu"))
    assert compilations() == 2
    assert around.row()["compilations"] == 0
    counters["stats"]["unique_graphs"] = 5
    assert around.row()["compilations"] == 3
