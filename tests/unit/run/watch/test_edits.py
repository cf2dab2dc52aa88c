"""Stored samples that reading changes again and again are told from those that may change."""

import pytest
import torch
from torch.utils.data import Dataset, Subset, TensorDataset, default_collate

from pytest_dlcheck.faults.batches.edits import edited_again
from pytest_dlcheck.run.watch.batches.edits import Edits


class Fetcher:
    """Reads as a loader's does, for one pass."""

    def __init__(self, dataset):
        self.dataset = dataset


class Faces(Dataset):
    """Images; ``edit`` is done to those stored, as they are read."""

    def __init__(self, edit, keep=torch.Tensor.clone):
        self.clean, self.edit = (torch.rand(64, 3, 4),), edit
        self.images = keep(self.clean[0].clone())

    def __getitem__(self, index):
        self.edit(self, index)
        return torch.as_tensor(self.images[index]), index % 3


def faults_of(data, between=lambda: None, passes=4, batches=range(64)):
    """What is told of a loop over it."""
    edits = Edits()
    for _ in range(passes):
        fetcher = Fetcher(data)
        for index in torch.randperm(len(batches)).view(-1, 16).tolist():
            edits.begin(fetcher, index)
            edits.end(fetcher, index, default_collate([data[i] for i in index]))
        between()
    return [fault.cause for fault in edited_again(edits.rows())]


def noise(data, index):
    image = data.images[index]
    image += 0.1 * torch.randn(3, 4).numpy() if not torch.is_tensor(image) else 0.1 * torch.randn(3, 4)


def scaling(data, index):
    data.images[index] /= 255


def masks(data, index):
    data.images[index][torch.rand(3, 4) < 0.2] = 0


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("edit", [noise, scaling, masks])
@pytest.mark.parametrize(
    "keep", [torch.Tensor.clone, torch.Tensor.numpy, list], ids=["tensor", "numpy", "list"]
)
def test_an_edit_that_adds_up_is_told(edit, keep):
    causes = faults_of(Faces(edit, keep))
    assert len(causes) == 1
    assert "Faces.images" in causes[0]


def test_it_is_found_within_other_data_sets():
    class Noisy(Dataset):
        def __init__(self, base):
            self.base = base

        def __getitem__(self, index):
            image, label = self.base[index]
            image.add_(0.1 * torch.randn(3, 4))
            return image, label

    base = TensorDataset(torch.rand(80, 3, 4), torch.arange(80))
    causes = faults_of(Noisy(Subset(base, torch.randperm(80)[:64].tolist())))
    assert "TensorDataset.tensors[0]" in causes[0]


def filled_once(data, index):
    if not hasattr(data, "filled"):
        data.filled = set()
    if index not in data.filled:
        data.images[index] *= 2
        data.filled.add(index)


def drawn_anew(data, index):
    data.images[index] = data.clean[0][index] + 0.1 * torch.randn(3, 4)


def flipped(data, index):
    data.images[index] = data.images[index].flip(-1)


def normalized(data, index):
    data.images[index] /= data.images[index].norm()


def counted(data, index):
    data.reads = getattr(data, "reads", torch.zeros(64, 9))
    data.reads[index] += 1


@pytest.mark.parametrize(
    "edit", [filled_once, drawn_anew, flipped, normalized, counted, lambda data, index: None]
)
def test_what_does_not_add_up_in_samples_is_none(edit):
    assert faults_of(Faces(edit)) == []


def test_an_empty_cache_that_is_filled_anew_is_none():
    data = Faces(drawn_anew)
    data.images.zero_()
    assert faults_of(data) == []


def test_what_a_loop_changes_between_reads_is_none():
    data = Faces(lambda data, index: None)
    assert faults_of(data, lambda: data.images.add_(0.1 * torch.randn(64, 3, 4))) == []


def test_what_a_loop_puts_back_is_none():
    data = Faces(noise)
    assert faults_of(data, lambda: data.images.copy_(data.clean[0])) == []


def test_odd_data_is_left_alone():
    class Odd(Dataset):
        def __init__(self):
            self.names, self.parts = ["a"] * 64, [torch.rand(8 + i % 5) for i in range(64)]
            self.index, self.own = {"a": 1}, self

        def __getitem__(self, index):
            self.parts[index] = torch.rand(8 + index % 3) if index % 2 else None
            return torch.zeros(2)

    assert faults_of(Odd()) == []
    edits, fetcher = Edits(), Fetcher(Odd())
    for index in ("a", ("a", 1), [], [-1], torch.tensor([1]), None, 3):
        edits.begin(fetcher, index)
        edits.end(fetcher, index, None)
    assert edits.rows() == ()
