"""Whether the updates of low-precision parameters survive rounding, over a whole trial."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.probe import Probe
from pytest_dlcheck.run.scene import Scene
from pytest_dlcheck.run.tensors.sampled import sample_of
from pytest_dlcheck.trace import Row
from pytest_dlcheck.trial import Trial

_LOW = (torch.float16, torch.bfloat16)


class RoundingProbe(Probe[Scene]):
    """Fills ``rounding``: per half-precision parameter, the share of elements that stood still.

    Only elements that had a gradient in some step count, from a sample of about 1,024. An optimizer
    that keeps its own float32 weights moves the parameter now and then, hence over the whole trial.
    """

    channels = frozenset({"rounding"})

    def begin(self, scene: Scene, trial: Trial) -> None:
        """Keep a sample of each."""
        del trial
        self._kept: dict[str, tuple[nn.Parameter, Tensor]] = {
            name: (p, sample_of(p).clone())
            for name, p in scene.parameters.items()
            if p.dtype in _LOW and p.requires_grad
        }
        self.idle = not self._kept
        self._driven: dict[str, Tensor] = {}
        self._still: dict[str, tuple[Tensor, Tensor]] = {}

    def gradients(self, step: int, optimizer: torch.optim.Optimizer | None) -> None:
        """Note which elements have a gradient."""
        del step, optimizer
        for name, (parameter, _) in self._kept.items():
            gradient = parameter.grad
            if gradient is None or gradient.is_sparse or gradient.stride() != parameter.stride():
                continue
            driven = sample_of(gradient) != 0
            old = self._driven.get(name)
            self._driven[name] = driven if old is None else old | driven

    def end(self) -> None:
        """Compare with the beginning."""
        for name, driven in self._driven.items():
            parameter, old = self._kept[name]
            self._still[name] = ((sample_of(parameter) == old) & driven).sum(), driven.sum()

    def filled(self) -> Mapping[str, tuple[Row, ...]]:
        """A row per parameter that had a gradient."""
        counts = {name: (int(a.item()), int(b.item())) for name, (a, b) in self._still.items()}
        return {
            "rounding": tuple(
                Row(
                    name=name,
                    dtype=str(self._kept[name][0].dtype).removeprefix("torch."),
                    numel=self._kept[name][0].numel(),
                    still_share=still / driven,
                )
                for name, (still, driven) in counts.items()
                if driven
            )
        }
