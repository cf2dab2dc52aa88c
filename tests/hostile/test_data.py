"""Data that is empty, short, misshapen or raises."""

from __future__ import annotations

import pytest

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
