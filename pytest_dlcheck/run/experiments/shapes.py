"""Which shapes come out when other numbers of samples, or other lengths, go in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.calls.shape_claims import claims, matched
from pytest_dlcheck.run.errors import CannotTellError, NotApplicableError
from pytest_dlcheck.run.experiment import Experiment
from pytest_dlcheck.run.passes.own_pass import own_pass
from pytest_dlcheck.run.passes.shape_probes import (
    PROBED,
    Passed,
    astray,
    needs_this_batch,
    passed,
    resized,
)
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import batch_size, map_tensors, named_tensors, tensors
from pytest_dlcheck.shapes import ShapeContract
from pytest_dlcheck.trace import Row

_ODD = 3


class Shapes(Experiment):
    """Fills ``shapes``: a row per claim, with the size expected and the size measured.

    With declared shapes the claims are the contract's; without, they are that every output that has
    a row per sample at the loader's own batch size has one at others too, and keeps its rank.
    """

    fact = "shapes"
    needs_loss = False

    def run(self, rig: Rig) -> Iterable[Row]:
        """Probe the loader's own batch, then 1, 2 and 3 samples, then other named dims."""
        contract = rig.recipe.shape_contract
        if contract is not None:
            return list(_declared(rig, contract))
        if rig.recipe.batch_dim is None:
            raise NotApplicableError(
                "samples do not stand alone (batch_dim=None) and no shapes are declared"
            )
        return list(_inferred(rig, rig.recipe.batch_dim))


# -- declared ---------------------------------------------------------------------------------


def _declared(rig: Rig, contract: ShapeContract) -> Iterator[Row]:
    own = own_pass(rig).passed
    if own.error:
        raise CannotTellError(f"the model does not run in eval mode: {own.error}")
    takes = _takes_declared(rig, contract)
    dim = _batch_axis(rig, contract)
    batch = "" if dim is None else str(contract.inputs[0].dims[dim])

    def told(found: Passed, probe: str, samples: int, dim: int, *, firm: bool = True) -> Iterator[Row]:
        inputs = found.inputs if takes else None
        for claim in claims(contract, inputs, found.outputs, dtypes=rig.recipe.precision == "fp32"):
            size = batch_size(rig.call.inputs, dim) or 0
            stray = astray(rig, own.path, found.path, dim, (size, samples)) if not claim.kept else None
            yield Row(
                probe=probe,
                samples=samples,
                tensor=claim.tensor,
                kind=claim.kind,
                axis=claim.axis,
                dim=claim.dim,
                expected=claim.expected,
                measured=claim.measured,
                found=claim.found,
                of_batch=claim.dim == batch,
                site=stray.site or "model" if stray else "",
                where=stray.where if stray else "",
                firm=firm,
            )

    size = batch_size(rig.call.inputs, dim or 0) or 0
    yield from told(own, "the loader's own batch", size, dim or 0)
    if dim is None or rig.recipe.batch_dim is None:
        return
    yield from _at_other_sizes(rig, own, dim, told)
    if takes:
        yield from _at_other_lengths(rig, contract, dim, told)


def _takes_declared(rig: Rig, contract: ShapeContract) -> bool:
    """Whether the declared inputs can be told among what the call takes."""
    if rig.recipe.forward is None and rig.recipe.training_step is None:
        return True
    inputs = rig.call.inputs
    count = len(tensors(inputs))
    return rig.recipe.forward is None and count >= len(contract.inputs)


def _batch_axis(rig: Rig, contract: ShapeContract) -> int | None:
    """The axis of samples: that of ``b`` where one is named so, else the recipe's own."""
    for shape in contract.inputs:
        if "b" in shape.dims:
            return shape.dims.index("b")
    dim = rig.recipe.batch_dim
    first = contract.inputs[0].dims
    named = dim is not None and dim < len(first) and isinstance(first[dim], str)
    return dim if named else None


def _at_other_lengths(
    rig: Rig, contract: ShapeContract, dim: int, told: Callable[..., Iterator[Row]]
) -> Iterator[Row]:
    """Named dims other than the batch, halved and doubled; a model may refuse, not answer wrongly."""
    few = resized(rig, 2, dim)
    pairs, _ = matched(contract.inputs, few, "input")
    shapes = {id(tensor): shape.dims for shape, (_, tensor) in pairs}
    batch = contract.inputs[0].dims[dim] if dim < len(contract.inputs[0].dims) else ""
    names = [n for n in contract.names if n != batch and any(n in dims for dims in shapes.values())]
    for name in names:
        size = next(
            t.size(shapes[id(t)].index(name)) for t in tensors(few) if name in shapes.get(id(t), ())
        )
        whole = all(not t.is_floating_point() for t in tensors(few) if name in shapes.get(id(t), ()))
        # Doubling keeps what strides divide; halves are tried where the model refuses longer inputs.
        for length in (2 * size, size // 2):

            def change(tensor: Tensor, name: str = name, length: int = length) -> Tensor:
                dims = shapes.get(id(tensor), ())
                if name not in dims:
                    return tensor
                axis = dims.index(name)
                index = torch.arange(length, device=tensor.device) % tensor.size(axis)
                return tensor.index_select(axis, index)

            found = passed(rig, map_tensors(few, change))
            if not found.error and length > 1:
                firm = whole or length > size
                yield from told(found, f"{name} = {length}", 2, dim, firm=firm)
                break


# -- inferred ---------------------------------------------------------------------------------


def _inferred(rig: Rig, dim: int) -> Iterator[Row]:
    size = batch_size(rig.call.inputs, dim)
    own = own_pass(rig).passed
    if own.error:
        raise CannotTellError(f"the model does not run in eval mode: {own.error}")
    outputs = {n: t for n, t in named_tensors(own.outputs, "output") if t.is_floating_point()}
    if size is None or not any(t.dim() for t in outputs.values()):
        raise NotApplicableError("no output has an axis: whether samples keep apart is not seen")
    following = {n: t for n, t in outputs.items() if t.dim() > dim and t.size(dim) == size}
    rows_each = 1
    if not following:
        name, main = next((n, t) for n, t in outputs.items() if t.dim())
        mismatch = _flattened(rig, name, main, size)
        if mismatch is not None:
            yield mismatch
            return
        following, rows_each, dim = {name: main}, main.size(0) // size, 0

    def told(found: Passed, probe: str, samples: int, dim: int) -> Iterator[Row]:
        now = dict(named_tensors(found.outputs, "output"))
        stray = astray(rig, own.path, found.path, dim, (size, samples))
        for name, tensor in following.items():
            other = now.get(name)
            if other is None:
                continue
            rank = other.dim() != tensor.dim()
            yield Row(
                probe=probe,
                samples=samples,
                tensor=name,
                kind="rank" if rank else "size",
                axis=-1 if rank else dim,
                dim="batch",
                expected=tensor.dim() if rank else samples * rows_each,
                measured=other.dim() if rank else other.size(dim),
                found=str(tuple(other.shape)),
                of_batch=True,
                site=stray.site or "model" if stray else "",
                where=stray.where if stray else "",
                firm=not _by_accident(tensor, other, dim, samples),
            )

    yield from told(own, "the loader's own batch", size, dim)
    yield from _at_other_sizes(rig, own, dim, told)


def _by_accident(own: Tensor, other: Tensor, dim: int, samples: int) -> bool:
    """Whether the axis is as long as the batch by chance, and the batch lies on another or nowhere."""
    if own.size(dim) > max(PROBED):
        return any(
            a == own.size(dim) and b == samples
            for axis, (a, b) in enumerate(zip(own.shape, other.shape, strict=False))
            if axis != dim and own.dim() == other.dim() and other.size(dim) == own.size(dim)
        )
    return own.dim() == other.dim() and other.size(dim) == own.size(dim)


def _flattened(rig: Rig, name: str, main: Tensor, size: int) -> Row | None:
    """Another number of rows than samples: sound (None) if the targets have as many."""
    target = next((t for t in tensors(rig.objective.targets(rig.batch)) if t.dim()), None)
    rows = main.size(0)
    if target is not None and rows % size == 0 and rows in {target.size(0), target.numel()}:
        return None
    if (
        target is None
        or size in main.shape
        or target.size(0) != size
        or not _is_torch_loss(rig.recipe.loss)
    ):
        raise NotApplicableError("no output has a row per sample: declare shapes= to have it checked")
    return Row(
        probe="the loader's own batch",
        samples=size,
        tensor=name,
        kind="size",
        axis=0,
        dim="batch",
        expected=size,
        measured=rows,
        found=str(tuple(main.shape)),
        of_batch=True,
        site="",
        where="",
        firm=True,
    )


def _is_torch_loss(loss: Any) -> bool:
    module = type(loss).__module__ if isinstance(loss, nn.Module) else getattr(loss, "__module__", "")
    return str(module).startswith("torch.nn")


# -- both -------------------------------------------------------------------------------------


def _at_other_sizes(
    rig: Rig, own: Passed, dim: int, told: Callable[..., Iterator[Row]]
) -> Iterator[Row]:
    excuse = needs_this_batch(rig, dim)
    size = batch_size(rig.call.inputs, dim) or 0
    found = {count: passed(rig, resized(rig, count, dim)) for count in PROBED}
    in_pairs = bool(found[1].error and found[_ODD].error and not found[2].error)
    for count, result in found.items():
        probe = f"{count} sample{'s' if count > 1 else ''}"
        if not result.error:
            yield from told(result, probe, count, dim)
            continue
        normalises = "more than 1 value per channel" in result.error
        refused_alone = count == _ODD and not found[2].error
        stray = astray(rig, own.path, result.path, dim, (size, count))
        site = stray.site if stray else result.site
        place = f"in `{result.site}`" if result.site else "in the model's forward"
        yield Row(
            probe=probe,
            samples=count,
            tensor=result.site or "model",
            kind="refused",
            axis=-1,
            dim="batch",
            expected=1,
            measured=0,
            found=result.error,
            of_batch=True,
            site=site or "model",
            where=stray.where if stray else place,
            firm=not (excuse or normalises or in_pairs or refused_alone),
        )
