"""What watching costs: CPU time of a loop watched against the same loop alone, interleaved.

`python tests/benchmarks/watching.py [REPEATS [WORKLOAD ...]]`
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from time import process_time

import torch
import torch.nn.functional as F
from torch import nn

from pytest_dlcheck import watch

Loop = Callable[[], None]


def loop(model: nn.Module, x: torch.Tensor, y: torch.Tensor, steps: int) -> Loop:
    """A plain training loop over one batch."""

    def run() -> None:
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()

    return run


def mlp() -> Loop:
    """A two-layer MLP, about 0.25 ms a step, 1,000 steps."""
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10))
    return loop(model, torch.randn(64, 32), torch.randint(10, (64,)), 1000)


def cnn() -> Loop:
    """An MNIST-size CNN, batch 64, 100 steps."""
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(9216, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )
    return loop(model, torch.randn(64, 1, 28, 28), torch.randint(10, (64,)), 100)


class Transformer(nn.Module):
    """A small language model: 2 layers of 128, 4 heads, a vocabulary of 1,000."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(1000, 128), nn.Embedding(64, 128)
        layer = nn.TransformerEncoderLayer(128, 4, 512, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(128, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits over the vocabulary, a row per token."""
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        hidden = self.embed(x) + self.place(torch.arange(x.shape[1]))
        return self.head(self.blocks(hidden, mask=mask, is_causal=True)).flatten(0, 1)  # type: ignore[no-any-return]


def transformer() -> Loop:
    """A small transformer, 16 sequences of 64 tokens, 100 steps."""
    x, y = torch.randint(1000, (16, 64)), torch.randint(1000, (16 * 64,))
    return loop(Transformer(), x, y, 100)


def resnet18() -> Loop:
    """ResNet-18, images of 64 x 64, batch 32, 100 steps."""
    from torchvision.models import resnet18 as built

    model = built(num_classes=10)
    return loop(model, torch.randn(32, 3, 64, 64), torch.randint(10, (32,)), 100)


def seconds(run: Loop) -> float:
    """CPU time of a run."""
    began = process_time()
    run()
    return process_time() - began


def watched(run: Loop) -> Loop:
    """The same, watched and judged."""

    def inside() -> None:
        with watch():
            run()

    return inside


WORKLOADS = {make.__name__: make for make in (mlp, cnn, transformer, resnet18)}


def main(repeats: int, names: Sequence[str]) -> None:
    """Print a ratio per workload."""
    torch.set_num_threads(1)
    for make in (WORKLOADS[name] for name in names):
        run = make()
        watched(run)()
        pairs = [(seconds(run), seconds(watched(run))) for _ in range(repeats)]
        ratios = sorted(b / a for a, b in pairs)
        middle = statistics.median(ratios)
        spread = f"[{ratios[0]:.3f}, {ratios[-1]:.3f}]"
        print(f"{make.__name__}: {middle:.3f} {spread} of {pairs[0][0]:.2f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7, sys.argv[2:] or list(WORKLOADS))
