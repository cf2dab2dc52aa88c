"""The trainings that are measured: small, plain, with their batches made beforehand. No timing here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pytest_dlcheck import Recipe

Batches = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Workload:
    """One training.

    Attributes:
        name: for the tables.
        make: builds a fresh recipe.
        steps: steps of a measured run.
        budget: what probes may make of the bare time (ratio).
    """

    name: str
    make: Callable[[], Recipe]
    steps: int
    budget: float


class Block(nn.Module):
    """A pre-norm transformer block with causal attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """``b t c -> b t c``."""
        b, t, c = x.shape
        heads = self.qkv(self.norm1(x)).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*heads, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(b, t, c))
        return x + self.mlp(self.norm2(x))


class LanguageModel(nn.Module):
    """Four blocks of width 128 over 256 tokens."""

    def __init__(self, vocabulary: int = 256, width: int = 128, context: int = 64) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, 4) for _ in range(4)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary)

    def forward(self, codes: Tensor) -> Tensor:
        """``b t -> b t v``."""
        x = self.tokens(codes) + self.places.weight[: codes.size(1)]
        logits: Tensor = self.head(self.norm(self.blocks(x)))
        return logits


def cnn() -> Recipe:
    """An MNIST-size network: two convolutions and two linear layers, batch 64."""
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Dropout(0.25), nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(128, 10),
    )  # fmt: skip
    return _classifier(model, (64, 1, 28, 28), 10, torch.optim.AdamW(model.parameters(), lr=1e-3))


def transformer() -> Recipe:
    """A small causal language model, batch 16 of 64 tokens."""
    model = LanguageModel()
    codes = torch.randint(256, (8, 16, 65))
    batches = [(part[:, :-1].contiguous(), part[:, 1:].contiguous()) for part in codes]
    return Recipe(
        model=model,
        train_data=batches,
        loss=lambda logits, targets: F.cross_entropy(logits.flatten(0, 1), targets.flatten()),
        optimizer=torch.optim.AdamW(model.parameters(), lr=1e-3),
    )


def resnet18() -> Recipe:
    """Torchvision's ResNet-18, batch 32 of 64 × 64 pixels."""
    from torchvision.models import resnet18 as build

    model = build(num_classes=10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    return _classifier(model, (32, 3, 64, 64), 10, optimizer)


def mlp() -> Recipe:
    """Two layers, batch 32: a step of about 0.25 ms, so that any fixed price shows."""
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10))
    return _classifier(model, (32, 32), 10, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9))


def wide_mlp() -> Recipe:
    """About 100 million parameters (400 MB), batch 8: for memory."""
    model = nn.Sequential(
        nn.Linear(1024, 6144), nn.ReLU(), nn.Linear(6144, 6144), nn.ReLU(),
        nn.Linear(6144, 6144), nn.ReLU(), nn.Linear(6144, 2816),
    )  # fmt: skip
    return _classifier(model, (8, 1024), 2816, torch.optim.SGD(model.parameters(), lr=0.01))


def _classifier(
    model: nn.Module, shape: tuple[int, ...], classes: int, optimizer: torch.optim.Optimizer
) -> Recipe:
    batches: Batches = [(torch.randn(shape), torch.randint(classes, shape[:1])) for _ in range(8)]
    return Recipe(model=model, train_data=batches, loss=nn.CrossEntropyLoss(), optimizer=optimizer)


WORKLOADS = (
    Workload("MNIST-size CNN", cnn, 100, 1.02),
    Workload("transformer LM", transformer, 100, 1.02),
    Workload("ResNet-18", resnet18, 100, 1.02),
    Workload("two-layer MLP", mlp, 1_000, 1.15),
)
