"""Models, batches and the form of a planted fault, for the sealed loops. No loop and no check."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from tests.loops.data import digits

Loop: TypeAlias = Callable[[], None]


@dataclass(frozen=True)
class Fault:
    """What is wrong with a loop, and the loop without it.

    Args:
        twin: the same loop without the mistake.
        words: lower-case; the first cause names the fault if its sentence has one of them.
        seen: what is wrong, in a sentence.
    """

    twin: Loop
    words: tuple[str, ...]
    seen: str


class Planted(dict[Loop, Fault]):
    """Faults by the loop that has them; a decorator of a loop that takes `mistake`.

    Its `words` are those of `Fault`, with ``|`` between them.
    """

    def __call__(self, words: str, *, seen: str) -> Callable[[Callable[..., None]], Loop]:
        def plant(loop: Callable[..., None]) -> Loop:
            def sick() -> None:
                loop(mistake=True)

            def twin() -> None:
                loop(mistake=False)

            sick.__name__ = sick.__qualname__ = loop.__name__
            twin.__name__ = twin.__qualname__ = f"{loop.__name__}_twin"
            sick.__module__ = twin.__module__ = loop.__module__
            self[sick] = Fault(twin, tuple(words.split("|")), seen)
            return sick

        return plant


def mlp(*sizes: int, dropout: float = 0.0) -> nn.Sequential:
    """Linear layers of these sizes with ReLU (and dropout) between them."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
        if dropout:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers[: -2 if dropout else -1])


def conv_features(channels: int = 16, *, norm: bool = False) -> nn.Sequential:
    """Images ``[N, 1, 8, 8]`` to maps ``[N, channels, 4, 4]``."""
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1),
        nn.BatchNorm2d(channels) if norm else nn.Identity(),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )


def conv_net(*, dropout: float = 0.0) -> nn.Sequential:
    """A small classifier of digits."""
    tail = [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(conv_features(), nn.Flatten(), *tail, nn.Linear(256, 10))


class RowReader(nn.Module):
    """Reads an image row by row with a GRU; digits' logits from its last state."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.rnn = nn.GRU(8, width, batch_first=True)
        self.head = nn.Linear(width, 10)

    def forward(self, images: Tensor) -> Tensor:
        _, last = self.rnn(images.squeeze(1))
        return self.head(last[-1])


class Attentive(nn.Module):
    """Rows of an image as tokens of one transformer layer; digits' logits from their mean."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.place = nn.Parameter(torch.randn(8, width) * 0.1)
        self.block = nn.TransformerEncoderLayer(width, 4, 64, dropout=0.0, batch_first=True)
        self.head = nn.Linear(width, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.block(self.embed(images.squeeze(1)) + self.place).mean(1))


class Speller(nn.Module):
    """A language model over characters."""

    def __init__(self, letters: int, width: int = 32, *, sparse: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(letters, 16, sparse=sparse)
        self.rnn = nn.LSTM(16, width, batch_first=True)
        self.head = nn.Linear(width, letters)

    def forward(
        self, text: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        hidden, state = self.rnn(self.embed(text), state)
        return self.head(hidden), state


class Several(nn.Module):
    """One trunk and a head for each of several questions about a digit."""

    def __init__(self, **answers: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Flatten(), mlp(64, 48, 32), nn.ReLU())
        self.heads = nn.ModuleDict({name: nn.Linear(32, count) for name, count in answers.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.trunk(images)
        return {name: head(features) for name, head in self.heads.items()}


class Rows(Dataset[dict[str, Tensor]]):
    """Samples as dicts."""

    def __init__(self, **columns: Tensor) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: column[index] for name, column in self.columns.items()}


LINE = "the quick brown fox jumps over the lazy dog while five wizards pack my box with a dozen jugs. "


def letters() -> tuple[Tensor, int]:
    """A short text again and again, as indices, and how many different letters it has."""
    alphabet = sorted(set(LINE))
    return torch.tensor([alphabet.index(letter) for letter in LINE * 20]), len(alphabet)


def windows(steps: int, size: int = 16, length: int = 20) -> Iterator[tuple[Tensor, Tensor]]:
    """Pieces of the text, and the same pieces one letter on; each ``[size, length]``."""
    text, _ = letters()
    for _ in range(steps):
        starts = torch.randint(len(text) - length - 1, (size,))
        pieces = torch.stack([text[start : start + length + 1] for start in starts.tolist()])
        yield pieces[:, :-1], pieces[:, 1:]


def drawn(*columns: Tensor, steps: int, size: int = 64) -> Iterator[tuple[Tensor, ...]]:
    """Random batches of columns that belong together."""
    for _ in range(steps):
        chosen = torch.randint(len(columns[0]), (size,))
        yield tuple(column[chosen] for column in columns)


def waves(count: int = 600, length: int = 24) -> tuple[Tensor, Tensor]:
    """Noisy sines ``[count, length, 1]`` of random frequency and phase, and their next value."""
    frequency, phase = torch.rand(count, 1) * 0.4 + 0.2, torch.rand(count, 1) * 6.28
    values = torch.sin(frequency * torch.arange(length + 1) + phase)
    return (values[:, :-1] + 0.05 * torch.randn(count, length)).unsqueeze(-1), values[:, -1:]


class Forecaster(nn.Module):
    """The next value of a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(1, 24, batch_first=True)
        self.head = nn.Linear(24, 1)

    def forward(self, sequence: Tensor) -> Tensor:
        return self.head(self.rnn(sequence)[0][:, -1])


def ring(count: int) -> Tensor:
    """Points ``[count, 2]`` near a circle."""
    angle = torch.rand(count) * 6.2832
    return torch.stack([angle.cos(), angle.sin()], dim=1) + 0.05 * torch.randn(count, 2)


def accuracy(net: nn.Module, loader: DataLoader[tuple[Tensor, ...]]) -> float:
    """Share of a loader that is classified rightly; modes are the caller's."""
    with torch.no_grad():
        right = [(net(inputs).argmax(1) == labels).float() for inputs, labels in loader]
    return torch.cat(right).mean().item()


def info_nce(left: Tensor, right: Tensor, temperature: float = 0.2) -> Tensor:
    """Row i of one view must find row i of the other among all rows."""
    similar = F.normalize(left, dim=1) @ F.normalize(right, dim=1).T / temperature
    return F.cross_entropy(similar, torch.arange(len(similar)))


def noisy(images: Tensor) -> Tensor:
    """A view of images: shifted by up to a pixel, with noise."""
    shift = torch.randint(-1, 2, (2,)).tolist()
    return images.roll(shift, dims=(2, 3)) + 0.1 * torch.randn_like(images)


def flat_digits(start: int, stop: int) -> tuple[Tensor, Tensor]:
    """Some of the digits as rows of 64, and their labels."""
    images, labels = digits()
    return images[start:stop].flatten(1), labels[start:stop]
