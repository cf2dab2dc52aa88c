"""`Recipe(train=...)`: the user's own loop as test items, with its faults named."""

import pytest

LOOPS = """
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from pytest_dlcheck import Recipe, diagnose, recipe

X = torch.randn(640, 8, generator=torch.Generator().manual_seed(0))
UNSEEN = torch.randn(64, 8, generator=torch.Generator().manual_seed(1))
Y = (X[:, 0] > 0).long() + 2 * (X[:, 1] > 0).long()

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.drop, self.head = nn.Linear(8, 32), nn.Dropout(0.1), nn.Linear(32, 4)

    def forward(self, x):
        return self.head(self.drop(self.body(x).relu()))

def data(y=Y):
    return DataLoader(TensorDataset(X, y), batch_size=32, shuffle=True)

def fit(model, train_data, *, reset=True, back=True, epochs=10):
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    model.train()
    for epoch in range(epochs):
        if back:
            model.train()
        for x, y in train_data:
            if reset:
                optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            model(UNSEEN)

def declared(**changes):
    return Recipe(model=Net(), train=lambda model, train_data: fit(model, train_data, **changes),
                  train_data=data(), shapes="b 8 -> b 4")
"""


@pytest.fixture
def loops(real_project):
    """A project with a loop, and no recipe yet."""
    real_project.write({"test_it.py": LOOPS, "pytest.ini": "[pytest]\naddopts = -p no:randomly\n"})
    return real_project


def outcomes(result):
    """Outcome by ``recipe::check``."""
    words = {"PASSED", "FAILED", "SKIPPED"}
    told = (line.split() for line in result.outlines if line.startswith("test_it.py::"))
    return {line[0].partition("::")[2]: line[1] for line in told if line[1] in words}


def test_the_family_loop_is_collected_where_a_recipe_brings_a_loop(loops):
    loops.append(
        "test_it.py",
        "@recipe\ndef own():\n    return Recipe(model=Net(), train=fit, train_data=data())\n\n"
        "@recipe\ndef built_in():\n"
        "    return Recipe(model=Net(), train_data=data(), loss=F.cross_entropy)\n",
    )
    ids = loops.ids("--dlcheck")
    assert "test_it.py::own::steps_are_in_order" in ids
    assert "test_it.py::built_in::steps_are_in_order" not in ids
    assert {"test_it.py::own::overfits_a_batch", "test_it.py::own::learns_from_its_inputs"} <= set(ids)


def test_a_healthy_loop_raises_no_alarm_and_is_judged(loops):
    loops.append("test_it.py", "@recipe\ndef healthy():\n    return declared()\n")
    result = loops.check("-v", "--dlcheck-select", "default", "--dlcheck-select", "loop")
    found = outcomes(result)
    assert "FAILED" not in found.values()
    for check in (
        "optimizer_covers_model",
        "gradients_flow",
        "parameters_update",
        "loss_decreases",
        "learns_from_its_inputs",
        "overfits_a_batch",
        "steps_are_in_order",
        "modes_are_right",
        "shape_contract",
        "batch_independence",
        "uses_its_inputs",
        "eval_is_deterministic",
        "batches_are_shuffled",
    ):
        assert found[f"healthy::{check}"] == "PASSED", check
    assert found["healthy::loss_is_sound"] == "PASSED"
    result.stdout.fnmatch_lines(["healthy * n/a*", "*train (100 steps)*"])
    result.stdout.no_fnmatch_line("*watch (100 steps)*")


@pytest.mark.parametrize(
    ("body", "check", "said"),
    [
        ("declared(reset=False)", "steps_are_in_order", "zero_grad is missing"),
        ("declared(back=False)", "modes_are_right", "no model.train() after it"),
        (
            "Recipe(model=Net(), train=lambda train_data: fit(Net(), train_data), train_data=data())",
            "steps_are_in_order",
            "train= trained another model: Net, Adam (100 steps)",
        ),
        ("Recipe(model=Net(), train=lambda model: None)", "loss_decreases", "nothing was trained"),
        ("Recipe(model=Net(), train=lambda lr: 0)", "loss_decreases", "takes 'lr', which it cannot"),
        ("declared(nonsense=3)", "gradients_flow", "TypeError: fit() got an unexpected keyword"),
    ],
)
def test_a_fault_of_an_own_loop_is_named(loops, body, check, said):
    loops.append("test_it.py", f"@recipe\ndef sick():\n    return {body}\n")
    result = loops.check("-v", "--dlcheck-select", check)
    assert outcomes(result) == {f"sick::{check}": "FAILED"}
    assert said in result.stdout.str()


def test_an_own_loop_is_trained_and_diagnosed_by_hand(loops):
    loops.append(
        "test_it.py",
        """
@recipe
def sick():
    return declared(reset=False)

def test_training(dlcheck):
    run = dlcheck.train(sick, steps=30)
    assert len(run.trace["loss"]) == 30
    run.check("gradients_flow")
    with pytest.raises(AssertionError, match="zero_grad is missing"):
        run.check("loop")

def test_check(dlcheck):
    with pytest.raises(AssertionError, match="zero_grad is missing"):
        dlcheck.check(sick)

def test_diagnose():
    report = diagnose(sick, steps=30, select=["steps_are_in_order", "gradients_flow"])
    assert [v.check for v in report.verdicts if v.failed] == ["steps_are_in_order"]
""",
    )
    loops.run().assert_outcomes(passed=3)


@pytest.mark.usefixtures("quick_python")
def test_an_own_loop_is_built_once_seeded_and_isolated_like_any_recipe(loops):
    loops.append(
        "test_it.py",
        "BUILT = []\n\n"
        "@recipe(rebuild=False)\n@pytest.mark.dlcheck(seeds=2)\ndef kept():\n"
        "    BUILT.append(1)\n    assert len(BUILT) == 1\n    return declared(reset=False)\n",
    )
    chosen = ("--dlcheck-select", "steps_are_in_order", "--dlcheck-select", "loss_decreases")
    results = [loops.check("-v", *chosen, *more) for more in ((), ("--dlcheck-isolate",))]
    for result in results:
        assert outcomes(result)["kept::steps_are_in_order"] == "FAILED"
        result.stdout.fnmatch_lines(["*train (100 steps) *, train (100 steps, seed 1) *"])
