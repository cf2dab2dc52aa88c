"""Running statistics against those recomputed at the final weights. It judges nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from pytest_dlcheck.run.errors import OUR_FAULT, is_ours, message_of
from pytest_dlcheck.run.modules.running import Running, Statistics, samples_of, travelled
from pytest_dlcheck.run.passes.reached import Found, Reached
from pytest_dlcheck.run.probe import Probe
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.sampling import TENSORS, Due
from pytest_dlcheck.trace import Row
from pytest_dlcheck.trial import Trial


class NormalizationProbe(Probe[Rig]):
    """Fills ``normalization``: a row per module with running statistics that was called.

    How it was called is seen on sampled steps. After the last one, some batches pass once more at
    the final weights, in the modes that the training has left, and everything is put back.
    """

    channels = frozenset({"normalization"})

    def begin(self, rig: Rig, trial: Trial) -> None:
        """Find the modules and keep what they hold."""
        self._rig, self._steps = rig, trial.steps
        self._rows: list[Row] = []
        self._why_not = ""
        self._handles: list[RemovableHandle] = []
        self._reached = Reached.of(rig)
        self._found = self._reached.modules
        self.idle = not self._found
        if self.idle:
            return
        if self._reached.is_compiled:
            self._why_not, self.idle = (
                "the model is compiled: what reaches a module is not observed",
                True,
            )
            return
        self._start = {one.site: one.held() for one in self._found}
        self._frozen = {one.site: _is_frozen(rig, one) for one in self._found}
        self._seen = {one.site: _Seen() for one in self._found}
        self._sampled = 0
        self._is_due = Due(TENSORS)

    def step_begins(self, step: int) -> None:
        """Hang the hooks."""
        if self._is_due(step):
            self._sampled += 1
            self._handles = [
                one.module.register_forward_pre_hook(self._watch(one), with_kwargs=True)
                for one in self._found
            ]
        self._last = step

    def step_ends(self, step: int) -> None:
        """Take them off."""
        del step
        if self._handles:
            self._unhook()

    def end(self) -> None:
        """Recompute."""
        self._unhook()
        if self.idle or not self._sampled:
            return
        held = {one.site: one.held() for one in self._found}
        try:
            reached = self._reached.at_the_end()
            with self._rig.undisturbed():
                rows = [self._row(one, held[one.site], reached[one.site]) for one in self._found]
            self._rows = [row for row in rows if row is not None]
        except Exception as error:  # noqa: BLE001  the user's step may refuse to be run once more
            told = OUR_FAULT if is_ours(error) else "the statistics could not be recomputed"
            self._why_not = f"{told}: {message_of(error)}"

    def filled(self) -> Mapping[str, Sequence[Row] | str]:
        """The rows."""
        return {"normalization": self._why_not or tuple(self._rows)}

    def _watch(self, one: Running) -> Any:
        seen = self._seen[one.site]

        def look(module: nn.Module, args: Any, kwargs: Any) -> None:
            seen.add(samples_of((args, kwargs)), training=module.training)

        return look

    def _unhook(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _row(self, one: Running, held: Statistics, found: Found) -> Row | None:
        seen, start = self._seen[one.site], self._start[one.site]
        if not seen.calls or not found.statistics:
            return None
        goal = Statistics.average(found.statistics)
        per_sampled = (self._last + 1) / self._sampled
        still = torch.equal(held.mean, start.mean) and torch.equal(held.variance, start.variance)
        tried = (
            _Tried(momentum=one.momentum) if found.given is None else _Tried.of(one, found.given, goal)
        )
        return Row(
            name=one.site or "model",
            type=type(one.module).__name__,
            torch=one.own,
            frozen=self._frozen[one.site],
            momentum=tried.momentum,
            plain_average=one.own and getattr(one.module, "momentum", 0) is None,
            tracks=bool(getattr(one.module, "track_running_stats", True)),
            mixes=tried.mixes,
            calls=round(seen.training * per_sampled),
            calls_in_eval=round((seen.calls - seen.training) * per_sampled),
            samples=seen.samples,
            eval_around=_eval_around(self._rig.model, one),
            initial=held.is_initial(),
            changed=not still,
            gap=goal.divergence(held),
            travelled=travelled(start, held, goal),
            heads_for_it=tried.heads_for_it,
        )


@dataclass
class _Seen:
    """How a module was called on sampled steps."""

    calls: int = 0
    training: int = 0
    samples: int = 0

    def add(self, samples: int, *, training: bool) -> None:
        """Count a call; of the batch sizes, the least counts."""
        self.samples = min(samples, self.samples) if self.calls else samples
        self.calls += 1
        self.training += training


@dataclass(frozen=True)
class _Tried:
    """What a module of the user's own does, found out by calling it alone; torch's own are known."""

    mixes: bool = True
    heads_for_it: float | None = None
    momentum: float | None = None

    @classmethod
    def of(cls, one: Running, given: Any, goal: Statistics) -> _Tried:
        with torch.no_grad():
            try:
                return cls(one.mixes(given), *one.one_more(given, goal))
            except Exception:  # noqa: BLE001  it may want more than one tensor
                return cls(mixes=False)


def _is_frozen(rig: Rig, one: Running) -> bool:
    """Whether nothing of it is to learn: declared, or without a trainable parameter in or around it."""
    if rig.is_frozen(f"{one.site}.running_mean"):
        return True
    site, module = one.site, one.module
    while not list(module.parameters()) and site:
        site = site.rpartition(".")[0]
        module = rig.model.get_submodule(site)
    return not any(p.requires_grad for p in module.parameters())


def _eval_around(model: nn.Module, one: Running) -> str:
    """The outermost module around it that is in eval mode and trains more than normalisations."""
    parts = one.site.split(".")
    for count in range(len(parts)):
        site = ".".join(parts[:count])
        module = model.get_submodule(site)
        if module.training:
            continue
        norms = {id(p) for m in module.modules() if Running.of("", m) for p in m.parameters()}
        if any(p.requires_grad and id(p) not in norms for p in module.parameters()):
            return site or "model"
    return ""
