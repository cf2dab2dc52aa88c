"""What watching costs: CPU time of a loop watched against the same loop alone, in turns.

`python tests/benchmarks/watching.py [REPEATS [WORKLOAD ...]]`

Two ratios: the median of the pairs with their range, and that of the least times that each step took in
any repeat, which other processes disturb less. Below them what steps cost, by what is looked at there.

The process starts itself anew with glibc told to keep what it has freed (elsewhere that does nothing).
Else, whether the tensors of a step are given back to the system and faulted in again at the next hangs
on what happens to lie on top of the heap: hundreds of thousands of page faults, in the loop alone or in
the one watched, by luck of where the few objects of a watch come to lie. Users meet that luck too. It is
no work of the watch, and may fall on either side, so that it is left out here rather than averaged.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from time import process_time

import torch
import torch.nn.functional as F
from torch import nn

from pytest_dlcheck import watch
from pytest_dlcheck.run.sampling import TENSORS, WATCHED

Loop = Callable[[], list[float]]
"""Trains; returns the CPU time at its beginning and after every step, in seconds."""
EARLY = 8
"""Steps that are all looked at closely."""
KEEPING = {"MALLOC_TRIM_THRESHOLD_": str(1 << 32), "MALLOC_MMAP_MAX_": "0"}
"""By which glibc keeps what is freed; it reads them once, when a process starts."""


def loop(model: nn.Module, x: torch.Tensor, y: torch.Tensor, steps: int) -> Loop:
    """A plain training loop over one batch."""

    def run() -> list[float]:
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
        times = [process_time()]
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            times.append(process_time())
        return times

    return run


def mlp(batch: int = 64) -> Loop:
    """A two-layer MLP, 1,000 steps: the smallest, of about 0.2 ms where this was written."""
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10))
    return loop(model, torch.randn(batch, 32), torch.randint(10, (batch,)), 1000)


def mlp256() -> Loop:
    """The same on batches that make it the 0.25 ms a step of the budget there."""
    return mlp(256)


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


@dataclass(frozen=True)
class Run:
    """CPU time, in seconds.

    Attributes:
        whole: of everything.
        steps: of each step.
    """

    whole: float
    steps: list[float]

    @property
    def around(self) -> float:
        """Of what is no step: beginning to watch, and judging."""
        return self.whole - sum(self.steps)


def alone(run: Loop) -> Run:
    """A run that nobody watches."""
    times = run()
    return Run(times[-1] - times[0], [b - a for a, b in pairwise(times)])


def watched(run: Loop) -> Run:
    """The same, watched and judged."""
    began = process_time()
    with watch():
        found = alone(run)
    return Run(process_time() - began, found.steps)


def kind(step: int) -> str:
    """What is looked at in a step."""
    if step < EARLY:
        return "first steps"
    if step not in WATCHED:
        return "loss only"
    return "gradients and updates" if step in TENSORS else "gradients"


def told(pairs: Sequence[tuple[Run, Run]]) -> Iterator[str]:
    """The ratios, then what steps cost."""
    ratios = sorted(b.whole / a.whole for a, b in pairs)
    least = [
        [min(times) for times in zip(*(run.steps for run in runs), strict=True)]
        for runs in zip(*pairs, strict=True)
    ]
    around = min(b.around for _, b in pairs)
    bare = sum(least[0])
    yield (
        f"{statistics.median(ratios):.3f} [{ratios[0]:.3f}, {ratios[-1]:.3f}] in pairs, "
        f"{(sum(least[1]) + around) / bare:.3f} of least times; "
        f"{1e3 * bare / len(least[0]):.3f} ms a step"
    )
    added: dict[str, list[float]] = {}
    for step, (a, b) in enumerate(zip(*least, strict=True)):
        added.setdefault(kind(step), []).append(b - a)
    for name, costs in added.items():
        middle, share = 1e6 * statistics.median(costs), 100 * sum(costs) / bare
        yield f"{name}: {len(costs)} steps, +{middle:.0f} us each, {share:.2f} % in all"
    yield f"beginning and judging: {1e3 * around:.1f} ms, {100 * around / bare:.2f} %"


WORKLOADS = {make.__name__: make for make in (mlp, mlp256, cnn, transformer, resnet18)}


def main(repeats: int, names: Sequence[str]) -> None:
    """Print the ratios of each workload."""
    torch.set_num_threads(1)
    for make in (WORKLOADS[name] for name in names):
        run = make()
        watched(run)
        for line in told([(alone(run), watched(run)) for _ in range(repeats)]):
            print(f"{make.__name__}: {line}", flush=True)


if __name__ == "__main__":
    if KEEPING.items() - os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **KEEPING})
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7, sys.argv[2:] or list(WORKLOADS))
