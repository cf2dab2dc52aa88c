"""The first place at which a training breaks: where finite numbers go in and others come out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pytest_dlcheck.run.probe import Probe
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.norms import norms
from pytest_dlcheck.run.tensors.tree import tensors
from pytest_dlcheck.trace import Row
from pytest_dlcheck.trial import Trial

GROWTH = 4.0
"""Root mean square of outputs over inputs above which a module's weights are large: 1 keeps it."""


@dataclass(frozen=True)
class _Event:
    """One thing that happened in a step: its largest magnitude, and that of what went in."""

    kind: str
    site: str
    type: str
    leaf: bool
    peaks: Tensor  # largest magnitudes of input and output, then their root mean squares: shape [4]


class BreakageProbe(Probe[Rig]):
    """Fills the fact ``breakage``, in dense trials only, because it reads the device at every step.

    Rows, by ``kind``: ``input`` and ``signal`` describe the first step (the batch's scale, and the
    first module that blows the signal up); one of ``data``, ``forward``, ``loss``, ``backward`` and
    ``update`` names the step and the site where numbers first stopped being finite.
    """

    channels = frozenset({"breakage"})

    def begin(self, rig: Rig, trial: Trial) -> None:
        """Find the modules."""
        self._rig, self._active = rig, trial.dense
        self._rows: list[Row] = []
        self._events: list[_Event] = []
        self._handles: list[RemovableHandle] = []
        self._masking: set[str] = set()
        self._scales: tuple[float, float] | None = None
        self._scaled = rig.recipe.precision == "fp16-mixed"
        self._broken = self.idle = not self._active

    def step_begins(self, step: int) -> None:
        """Hang the hooks."""
        del step
        if not self._broken:
            self._handles = [
                module.register_forward_hook(self._hook(name))
                for name, module in self._rig.model.named_modules()
            ]

    def batch(self, step: int, batch: Any) -> None:
        """Look at the data."""
        self._note("data", "data", "", batch, batch)
        if step == 0 and not self._broken:
            self._scales = _scales_of(batch)

    def loss(self, step: int, loss: Tensor) -> None:
        """Look at the loss."""
        del step
        self._note("loss", "loss", "", loss, loss)

    def gradients(self, step: int, optimizer: torch.optim.Optimizer | None) -> None:
        """Look at every gradient; overflow under a gradient scaler is no breakage."""
        del step, optimizer
        if not self._broken and not self._scaled:
            self._note_each("backward", {n: p.grad for n, p in self._rig.parameters.items()})

    def after_update(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Look at every parameter."""
        del step, optimizer
        if not self._broken:
            self._note_each("update", {n: p.detach() for n, p in self._rig.parameters.items()})

    def step_ends(self, step: int) -> None:
        """Read back, and look for the first place."""
        self._unhook()
        if self._broken or not self._events:
            return
        events, self._events = self._events, []
        table = torch.stack([e.peaks.to(self._rig.device) for e in events]).tolist()
        if step == 0:
            self._rows += [*_data_rows(self._scales), *_first_step(events, table)]
        bad = [(e, row) for e, row in zip(events, table, strict=True) if not math.isfinite(row[1])]
        if all(event.kind in {"forward", "data"} for event, _ in bad):
            self._masking |= {event.site for event, _ in bad}  # such as scores masked with -inf
            return
        self._broken = True
        event, row = next((e, r) for e, r in _to_blame(bad, events) if e.site not in self._masking)
        index = next(i for i, other in enumerate(events) if other is event)
        before, between = _before(events[:index], table), ""
        if before is not None and event.kind in {"forward", "loss"} and not math.isfinite(row[0]):
            # What goes in was broken outside of modules: by the loss, or by code between modules.
            between = f"{before[0]} and {event.site}" if event.kind == "forward" else ""
            row = [before[1], *row[1:]]
        self._rows.append(self._row(step, event, row, [e for e, _ in bad], between))

    def end(self) -> None:
        """Leave no hook behind."""
        self._unhook()

    def filled(self) -> Mapping[str, Sequence[Row]]:
        """The rows; nothing in trials that are not dense."""
        return {"breakage": tuple(self._rows)} if self._active else {}

    def _row(self, step: int, event: _Event, row: list[float], bad: list[_Event], between: str) -> Row:
        site = event.site
        if event.kind == "backward":
            same = [e.site for e in bad if e.kind == "backward"]
            site = same[-1]  # the one nearest to the loss
        elif between:
            site = _caller(self._rig.model, site)
        finite = math.isfinite(row[0])
        return Row(
            kind=event.kind,
            step=step,
            site=site,
            type=event.type if site == event.site else _type_of(self._rig.model, site),
            value="nan" if math.isnan(row[1]) else "inf",
            input_peak=row[0] if finite else None,
            between=between or None,
        )

    def _note(self, kind: str, site: str, kind_of: str, given: Any, result: Any) -> None:
        if not self._broken:
            peaks = torch.stack([*_sizes(given), *_sizes(result)])[[0, 2, 1, 3]]
            self._events.append(_Event(kind, site, kind_of, kind == "data", peaks))

    def _note_each(self, kind: str, by_name: Mapping[str, Tensor | None]) -> None:
        present = [(n, t) for n, t in by_name.items() if t is not None and t.is_floating_point()]
        for (name, _), norm in zip(present, norms([t for _, t in present]), strict=True):
            self._events.append(_Event(kind, name, "", leaf=True, peaks=norm.expand(4).clone()))

    def _unhook(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _hook(self, name: str) -> Any:
        def look(module: nn.Module, inputs: Any, output: Any) -> None:
            if not torch.compiler.is_compiling():
                given, result = _sizes(inputs), _sizes(output)
                peaks = torch.stack([given[0], result[0], given[1], result[1]])
                leaf = next(module.children(), None) is None
                self._events.append(_Event("forward", name, type(module).__name__, leaf, peaks))

        return look


def _sizes(tree: Any) -> tuple[Tensor, Tensor]:
    """The largest magnitude and the largest root mean square among the floating tensors of a nest."""
    found = [t.detach() for t in tensors(tree) if t.is_floating_point() and t.numel()]
    if not found:
        return torch.zeros(()), torch.zeros(())
    peaks = torch.stack([t.abs().max().float() for t in found])
    scales = torch.stack([torch.linalg.vector_norm(t.float()) / t.numel() ** 0.5 for t in found])
    return peaks.max().cpu(), scales.max().cpu()


def _before(events: Sequence[_Event], table: Sequence[list[float]]) -> tuple[str, float] | None:
    """The module that returned last, and its largest output."""
    for event, row in zip(reversed(events), reversed(table[: len(events)]), strict=True):
        if event.kind == "forward":
            return event.site, row[1]
    return None


def _scales_of(batch: Any) -> tuple[float, float]:
    """The largest root mean square of inputs and of targets, where a batch is a pair of them."""
    pair = isinstance(batch, (tuple, list)) and len(batch) == 2  # noqa: PLR2004  inputs and targets
    parts = batch if pair else (batch, None)
    inputs, targets = (float(_sizes(part)[1]) for part in parts)
    return inputs, targets


def _data_rows(scales: tuple[float, float] | None) -> list[Row]:
    if scales is None or not all(map(math.isfinite, scales)):
        return []
    return [Row(kind="input", step=0, site="data", rms=scales[0], targets=scales[1])]


def _first_step(events: Sequence[_Event], table: Sequence[list[float]]) -> list[Row]:
    """How large the signal is at the first step, as far as it is finite."""
    rows = []
    pairs = [(e, r) for e, r in zip(events, table, strict=True) if all(map(math.isfinite, r))]
    leaves = [(row[3], event, row) for event, row in pairs if event.kind == "forward" and event.leaf]
    if leaves:
        largest, _, _ = max(leaves, key=lambda item: item[0])
        growing = [leaf for leaf in leaves if leaf[0] > GROWTH * leaf[2][2]]
        _, event, row = (growing or [max(leaves, key=lambda item: item[0])])[0]
        rows.append(
            Row(
                kind="signal",
                step=0,
                site=event.site,
                type=event.type,
                rms=row[3],
                input_rms=row[2],
                largest=largest,
            )
        )
    return rows


def _to_blame(
    bad: Sequence[tuple[_Event, list[float]]], events: Sequence[_Event]
) -> Sequence[tuple[_Event, list[float]]]:
    """Without modules whose result was made finite again before the model returned."""
    first = next(index for index, (e, _) in enumerate(bad) if e.kind not in {"forward", "data"})
    until = next(i for i, e in enumerate(events) if e is bad[first][0])
    returned = [e for e in events[:until] if e.kind == "forward" and not e.site]
    healed = bool(returned) and all(e is not returned[-1] for e, _ in bad)
    return bad[first:] if healed else bad


def _caller(model: nn.Module, name: str) -> str:
    """The module in whose own code a module is called; containers call nothing."""
    while name:
        name = name.rpartition(".")[0]
        if not isinstance(model.get_submodule(name), (nn.ModuleDict, nn.ModuleList)):
            break
    return name


def _type_of(model: nn.Module, name: str) -> str:
    try:
        return type(model.get_submodule(name)).__name__
    except AttributeError:
        return ""
