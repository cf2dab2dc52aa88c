"""Whatever happens in a trial, nothing global and nothing of the user's is left changed."""

from __future__ import annotations

import random
import sys

import numpy as np
import pytest
import torch
from torch import nn

from pytest_dlcheck import Recipe
from pytest_dlcheck.check import registry
from pytest_dlcheck.plan import ALWAYS, needs
from pytest_dlcheck.run.trial_runner import Request, run_trial
from pytest_dlcheck.trial import Terms, Trial, Until

X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()
TRIALS = [
    Trial("inspect"),
    Trial("train", 4, seed=3),
    Trial("train", 4, dense=True),
    Trial("overfit", 6, until=Until(0.9)),
    Trial("overfit", 6, until=Until(0.9), optimizer="adam"),
]


def wanted() -> frozenset[str]:
    """What all real checks want to be recorded: every probe and every experiment runs."""
    return ALWAYS.union(*(needs(check) for check in registry().values()))


def global_state() -> dict[str, object]:
    return {
        "python": random.getstate(),
        "numpy": [str(part) for part in np.random.get_state()],  # noqa: NPY002
        "torch": torch.get_rng_state().tolist(),
        "dtype": torch.get_default_dtype(),
        "device": torch.empty(0).device,
        "grad": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "cudnn": (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark),
        "matmul": torch.get_float32_matmul_precision(),
        "threads": torch.get_num_threads(),
        "anomaly": torch.is_anomaly_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "global hooks": [
            len(hooks)
            for name, hooks in sorted(vars(nn.modules.module).items())
            if name.startswith("_global_") and isinstance(hooks, dict)
        ],
        "optimizer hooks": [
            len(hooks)
            for name, hooks in sorted(vars(sys.modules["torch.optim.optimizer"]).items())
            if name.startswith("_global_") and isinstance(hooks, dict)
        ],
        "methods": (torch.Tensor.backward, nn.Module.__call__, torch.optim.Optimizer.zero_grad),
    }


def upset() -> None:
    """What a recipe may do to the process."""
    random.random(), torch.rand(3)
    np.random.rand()  # noqa: NPY002  the state that users share
    torch.set_default_dtype(torch.float64)
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)
    torch.use_deterministic_algorithms(not torch.are_deterministic_algorithms_enabled(), warn_only=True)
    torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark
    torch.backends.cudnn.deterministic = not torch.backends.cudnn.deterministic
    torch.set_float32_matmul_precision("medium")
    torch.set_num_threads(2)
    torch.autograd.set_detect_anomaly(mode=True, check_nan=True)


class Model(nn.Module):
    def __init__(self, raises_at: int | None, error: type[BaseException]) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1))
        self.head = nn.Linear(8, 2)
        self.raises_at, self.error, self.calls = raises_at, error, 0

    def forward(self, x):
        self.calls += 1
        if self.raises_at is not None and self.calls > self.raises_at:
            raise self.error("on purpose")
        return self.head(self.body(x))


def factory(model: Model, hooked: list[str]):
    def build():
        upset()
        model.head.register_forward_hook(lambda *_: hooked.append("module"))
        model.head.weight.register_hook(lambda *_: hooked.append("gradient"))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        optimizer.register_step_post_hook(lambda *_: hooked.append("step"))
        return Recipe(model=model, train_data=(X, Y), loss=nn.CrossEntropyLoss(), optimizer=optimizer)

    return build


def hooks(model: nn.Module) -> list[int]:
    """How many hooks every module and parameter has."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    on_modules = [len(getattr(module, kind)) for module in model.modules() for kind in kinds]
    on_parameters = [
        sum(
            len(getattr(parameter, kind) or ())
            for kind in ("_backward_hooks", "_post_accumulate_grad_hooks")
        )
        for parameter in model.parameters()
    ]
    return on_modules + on_parameters


@pytest.mark.parametrize("raises_at", [None, 0, 1, 2, 5, 9], ids="raises_at_{}".format)
@pytest.mark.parametrize("trial", TRIALS, ids=str)
def test_global_state_and_hooks_are_as_before(trial, raises_at):
    model, hooked = Model(raises_at, RuntimeError), []
    random.random(), torch.rand(1)
    before = global_state()

    run_trial(factory(model, hooked), Request(trial, wanted()))

    assert global_state() == before
    own = Model(None, RuntimeError)
    own.head.register_forward_hook(lambda *_: None)
    own.head.weight.register_hook(lambda *_: None)
    assert hooks(model) == hooks(own)
    assert {module.training for module in model.modules()} == {True}


@pytest.mark.parametrize("trial", TRIALS, ids=str)
def test_also_after_an_interrupt(trial):
    model = Model(2, KeyboardInterrupt)
    before = global_state()
    with pytest.raises(KeyboardInterrupt):
        run_trial(factory(model, []), Request(trial, wanted()))
    assert global_state() == before
    assert sum(hooks(model)) == 2


def test_the_users_own_hooks_are_called():
    hooked: list[str] = []
    run_trial(factory(Model(None, RuntimeError), hooked), Request(Trial("train", 4), wanted()))
    assert hooked.count("step") == 4
    assert hooked.count("gradient") == 4
    assert hooked.count("module") >= 4


def test_callers_without_gradients_train_all_the_same():
    with torch.no_grad():
        trace = run_trial(
            factory(Model(None, RuntimeError), []), Request(Terms(steps=3).train()[0], wanted())
        )
        assert not torch.is_grad_enabled()
    assert trace.ending.kind == "completed", trace.ending


def test_the_newer_switches_for_tensor_floats_do_not_stop_a_trial():
    matmul = torch.backends.cuda.matmul
    if not hasattr(matmul, "fp32_precision"):
        pytest.skip("this torch has only the older switches")
    before = matmul.fp32_precision
    try:
        matmul.fp32_precision = "tf32"
        trace = run_trial(factory(Model(None, RuntimeError), []), Request(Trial("inspect"), wanted()))
        assert trace.ending.kind == "completed", trace.ending
        assert matmul.fp32_precision == "tf32"
    finally:
        matmul.fp32_precision = before


@pytest.mark.parametrize("trial", TRIALS, ids=str)
def test_the_same_seed_twice_gives_the_same_numbers(trial):
    def build():
        return factory(Model(None, RuntimeError), [])()

    one, other = (run_trial(build, Request(trial, wanted())).to_json() for _ in range(2))
    for trace in (one, other):
        del trace["seconds"]
        trace["channels"].pop("seconds", None)
        trace["channels"].pop("data_seconds", None)
        trace["facts"].pop("memory", None)
    assert one == other
