"""What an epoch keeps of its batches, with the graphs that it hangs on, or without."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .data import loaders
from .faults import fault
from .healthy import Net, evaluate


def _collecting(kept, epochs=2):
    loader, test = loaders(32)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    answers, right = [], []
    for _ in range(epochs):
        model.train()
        for x, y in loader:
            output = model(x)
            optimizer.zero_grad()
            F.cross_entropy(output, y).backward()
            optimizer.step()
            answers.append(kept(output))
            right.append(y)
        _ = (torch.cat(answers).argmax(1) == torch.cat(right)).float().mean()
        evaluate(model, test)


def outputs_collected():
    _collecting(torch.Tensor.detach)


@fault(outputs_collected, "memory_is_flat", words=("graph",))
def outputs_collected_with_their_graphs():
    _collecting(lambda output: output)


@fault(outputs_collected, "memory_is_flat", words=("graph",))
def probabilities_collected_with_their_graphs():
    _collecting(lambda output: output.softmax(1))


def answers_collected():
    """The greatest of them have no graph."""
    _collecting(lambda output: F.one_hot(output.argmax(1), 10).float())


QUIET = [answers_collected]
