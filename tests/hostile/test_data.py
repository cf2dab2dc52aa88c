"""Data that is empty, short, misshapen or raises."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, get_worker_info

from pytest_dlcheck import Recipe
from pytest_dlcheck.check import Evidence, registry
from pytest_dlcheck.plan import ALWAYS, needs
from pytest_dlcheck.run.trial_runner import Request, run_trial
from pytest_dlcheck.trial import Trial

EMPTY = "class Empty(torch.utils.data.Dataset):\n    def __len__(self): return 0\n"
DROPPING = """\
data = torch.utils.data.TensorDataset(X[:5], Y[:5])
return made(train_data=torch.utils.data.DataLoader(data, batch_size=8, drop_last=True))
"""
RAISING = """\
class Raising(torch.utils.data.Dataset):
    def __len__(self): return 64
    def __getitem__(self, i): raise OSError(f"cannot read sample {i}")
"""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return made(train_data=[])", "train_data is empty: it gave no batch"),
        (f"{EMPTY}return made(train_data=Empty())", "train_data is empty: a data set of 0 samples"),
        ("return made(train_data=(X[:0], Y[:0]))", "train_data is empty: tensors of 0 samples"),
        ("return made(train_data=(X, Y[:3]))", "the tensors hold [64, 3] samples, not the same number"),
        ("return made(train_data=iter([]))", "train_data is empty: it gave no batch"),
        (
            DROPPING,
            "train_data is empty: it gave no batch, of 5 samples by 8 with drop_last=True",
        ),
        ("return made(train_data=X)", "train_data is a Tensor: give a DataLoader"),
        ("return made(train_data=7)", "train_data is a int: give a DataLoader"),
        ("return made(train_data={'x': X})", "train_data is a dict: give a DataLoader"),
        (f"{RAISING}return made(train_data=Raising())", "OSError: cannot read sample"),
        (
            f"{RAISING}return made(train_data=torch.utils.data.DataLoader(Raising(), num_workers=1))",
            "OSError: Caught OSError in DataLoader worker process 0",
        ),
        (
            "return made(train_data=[(X, Y, Y)])",
            "a batch is a tuple of 3 ([0] (64, 4) float32, [1] (64,) int64, [2] (64,) int64)",
        ),
        ("return made(train_data=[X])", "a batch is a Tensor (tensor (64, 4) float32)"),
        ("return made(train_data=[(X[:, :3], Y)])", "(64x3 and 4x8)"),
        ("return made(train_data=[(X[:, :3], Y)])", "the batch: [0] (64, 3) float32, [1] (64,) int64"),
        ("return made(train_data=[(X.long(), Y)])", "the batch: [0] (64, 4) int64"),
        ("return made(train_data=[{'x': X}])", "no targets in a batch of .x (64, 4) float32"),
    ],
)
def test_what_is_wrong_is_said_once(patient, body, said):
    text = patient.error(body)
    assert said in text, text


@pytest.mark.parametrize(
    "body",
    [
        "return made(train_data=((X[:8], Y[:8]) for _ in range(2)))",
        "return made(train_data=iter([(X, Y)]))",
    ],
)
def test_a_one_shot_iterator_shorter_than_the_steps_ends_the_training_early(patient, body):
    patient.trained(body)


def test_an_iterator_that_an_earlier_trial_has_used_up_is_named(project):
    project.recipes(
        "DATA = iter([(X, Y)] * 3)\n\n@recipe\ndef used():\n    return made(train_data=DATA)\n"
    )
    result = project.check()
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["*train_data is empty: it gave no batch*an iterator can be read only once*"]
    )


@pytest.mark.parametrize(
    "data",
    [
        "[(X[:8], Y[:8])]",
        "torch.utils.data.TensorDataset(X, Y)",
        "[[X, Y]]",
        "list(zip(X.split(8), Y.split(8)))",
        "torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, Y), batch_size=48)",
        "torch.utils.data.DataLoader(list(zip(X, Y)), batch_size=8, num_workers=1)",
    ],
)
def test_every_form_of_data_is_read_again_when_it_ends(patient, data):
    patient.trained(f"return made(train_data={data})")


def test_an_iterable_data_set_is_read(patient):
    patient.trained(
        "class Endless(torch.utils.data.IterableDataset):\n"
        "    def __iter__(self):\n"
        "        while True:\n"
        "            yield X[0], Y[0]\n"
        "return made(train_data=Endless())"
    )


# -- looked at by the checks of the data family ---------------------------------------------------

X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(64) % 2
DATA = [check for check in registry().values() if check.family == "data"]
WANTED = ALWAYS.union(*(needs(check) for check in DATA))


def recipe_of(data, model=None, **facts):
    model = model or nn.Linear(4, 2)
    given = {} if "training_step" in facts else {"loss": nn.CrossEntropyLoss()}
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    return Recipe(model=model, train_data=data, optimizer=sgd, **{**given, **facts})


def verdicts(factory):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of nested tensors and layers without inputs
        trace = run_trial(factory, Request(Trial("inspect"), WANTED))
    assert trace.ending.kind == "completed", trace.ending
    told = " ".join((*trace.unobserved.values(), *trace.inapplicable.values()))
    assert "please report it" not in told, told
    still = [check for check in DATA if check.name != "loader_keeps_up"]
    return {check.name: check.judge(Evidence((trace,))) for check in still}


class Items(Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


class Flow(IterableDataset):
    def __iter__(self):
        yield from zip(X, Y, strict=True)


class OneShot(IterableDataset):
    def __init__(self):
        self.items = iter(list(zip(X, Y, strict=True)))

    def __iter__(self):
        return self.items


class OnlyInWorkers(Dataset):
    def __len__(self):
        return 64

    def __getitem__(self, index):
        if get_worker_info() is None:
            raise RuntimeError("only in workers")
        return X[index], Y[index]


class LaterBroken(Dataset):
    def __len__(self):
        return 64

    def __getitem__(self, index):
        if index >= 32:
            raise OSError("gone")
        return X[index], Y[index]


class WithText(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 2)

    def forward(self, x, text=None, labels=None):
        return self.head(x)


def of_all(model, _batch):
    return model(X).square().mean()


NESTED = [torch.randn(2, 4), torch.randn(3, 4)]
ODD = {
    "one sample": lambda: recipe_of(TensorDataset(X[:1], Y[:1]), val_data=(X[1:2], Y[1:2])),
    "no validation samples": lambda: recipe_of((X, Y), val_data=(X[:0], Y[:0])),
    "an empty loader": lambda: recipe_of((X, Y), val_data=DataLoader(TensorDataset(X[:0], Y[:0]))),
    "validation read once": lambda: recipe_of((X, Y), val_data=iter([(X, Y)])),
    "validation that is none": lambda: recipe_of((X, Y), val_data="nothing"),
    "a generator": lambda: recipe_of((X[:8], Y[:8]) for _ in range(9)),
    "a stream": lambda: recipe_of(DataLoader(Flow(), 8)),
    "a stream in a worker": lambda: recipe_of(DataLoader(Flow(), 8, num_workers=1)),
    "a stream read once": lambda: recipe_of(DataLoader(OneShot(), 8)),
    "only in workers": lambda: recipe_of(DataLoader(OnlyInWorkers(), 8, num_workers=1)),
    "broken later": lambda: recipe_of(DataLoader(LaterBroken(), 8)),
    "strings": lambda: recipe_of(
        DataLoader(Items([{"x": x, "text": "so", "labels": y} for x, y in zip(X, Y, strict=True)]), 8),
        WithText(),
    ),
    "ragged": lambda: recipe_of(
        DataLoader(Items([(X[: 1 + i % 5], Y[i]) for i in range(64)]), 8, collate_fn=list),
        forward=lambda model, batch: torch.stack([model(x).mean(0) for x, _ in batch]),
        targets=lambda batch: torch.stack([y for _, y in batch]),
    ),
    "complex": lambda: recipe_of((X + 1j * X, Y), forward=lambda model, batch: model(batch[0].abs())),
    "sparse": lambda: recipe_of(
        [(X[:8].to_sparse(), Y[:8])] * 4, forward=lambda model, batch: model(batch[0].to_dense())
    ),
    "nested": lambda: recipe_of(
        [(torch.nested.nested_tensor(NESTED), Y[:2])] * 4,
        forward=lambda model, batch: torch.stack([model(t).mean(0) for t in batch[0].unbind()]),
    ),
    "no targets": lambda: recipe_of(DataLoader(X, 8), training_step=of_all),
    "numbers": lambda: recipe_of(DataLoader(range(64), 8), training_step=of_all),
    "nothing": lambda: recipe_of([None] * 5, training_step=of_all),
    "words": lambda: recipe_of(DataLoader(["a", "b"] * 9, 4), training_step=of_all),
    "images as targets": lambda: recipe_of((X, X), nn.Linear(4, 4), loss=nn.MSELoss()),
    "batches as items": lambda: recipe_of(DataLoader(Items([(X, Y), (-X, Y)]), batch_size=None)),
    "samples together": lambda: recipe_of([(X, Y)], batch_dim=None, val_data=[(X, Y)]),
    "samples along the second axis": lambda: recipe_of(
        [(X.T, Y[None])] * 3,
        batch_dim=1,
        forward=lambda model, batch: model(batch[0].T),
        targets=lambda batch: batch[1][0],
    ),
    "bfloat16": lambda: recipe_of((X.bfloat16(), Y), nn.Linear(4, 2).bfloat16()),
    "booleans": lambda: recipe_of((X > 0, Y), forward=lambda model, batch: model(batch[0].float())),
    "no features": lambda: recipe_of((X[:, :0], Y), nn.Linear(0, 2)),
    "numpy": lambda: recipe_of(
        [(X.numpy(), Y.numpy())] * 3,
        forward=lambda model, batch: model(torch.as_tensor(batch[0])),
        targets=lambda batch: torch.as_tensor(batch[1]),
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_data_raises_no_alarm(name):
    assert not [v.because for v in verdicts(ODD[name]).values() if v.failed]


def test_a_generator_is_left_for_the_training():
    given = []

    def batches():
        for number in range(50):
            given.append(number)
            yield X[:8], Y[:8]

    verdicts(lambda: recipe_of(batches()))
    assert len(given) <= 2


def test_looking_leaves_no_trace_in_the_training():
    """Not even where the data set, which all trials share, keeps a generator of its own."""

    class Shared(Dataset):
        def __init__(self):
            self.own = np.random.default_rng(0)

        def __len__(self):
            return 64

        def __getitem__(self, index):
            return X[index] + float(self.own.normal() + np.random.randn() + torch.randn(())), Y[index]  # noqa: NPY002

    def losses(*, looked):
        data = Shared()

        def made():
            return recipe_of(DataLoader(data, 8, shuffle=True), val_data=data)

        run_trial(made, Request(Trial("inspect"), WANTED if looked else ALWAYS))
        return run_trial(made, Request(Trial("train", 12), ALWAYS)).series("loss").values

    assert losses(looked=True) == losses(looked=False)
