"""What the samples hold: numbers that are not finite, constants, duplicates, scales, labels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from pytest_dlcheck.run.contents.by_rows import between_columns
from pytest_dlcheck.run.contents.doubled import doubled
from pytest_dlcheck.run.contents.gaps import gaps
from pytest_dlcheck.run.contents.interleaving import interleaved
from pytest_dlcheck.run.contents.mirrored import likeness
from pytest_dlcheck.run.contents.one_standardised import one_standardised
from pytest_dlcheck.run.contents.places import Place, all_finite, each_once, places, real
from pytest_dlcheck.run.contents.residuals import same_residual
from pytest_dlcheck.run.contents.target_facts import leak, on_target
from pytest_dlcheck.run.data.samples import Look, look, look_at_val
from pytest_dlcheck.run.errors import NotApplicableError
from pytest_dlcheck.run.experiment import Experiment
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import tensors
from pytest_dlcheck.trace import Row, Scalar

_FEATURES = 4_096
"""Numbers a sample up to which each is a feature with a name; of images, channels are."""
_TABLE = 2


class DataContents(Experiment):
    """Fills ``data_contents``: a row per input and target of the samples that were looked at."""

    fact = "data_contents"
    needs_loss = False

    def run(self, rig: Rig) -> Iterable[Row]:
        """Look at the training data."""
        found = look(rig)
        if rig.recipe.batch_dim is None:
            return [_together(name, t, found) for name, t in _whole(found)]
        given = places(rig, found)
        if not given:
            raise NotApplicableError("the data holds no tensors that could be looked at")
        val = _val_inputs(rig)
        targets = [each_once(place) for place in given if place.is_target]
        return [
            Row(
                {
                    **_row(rig, found, place),
                    **_beside(place, val),
                    **_to_targets(place, targets),
                    **doubled(place, given),
                }
            )
            for place in given
        ]


def _to_targets(place: Place, targets: list[Place]) -> dict[str, Scalar]:
    once = each_once(place)
    return {**leak(once, targets), **same_residual(once, targets)}


# -- validation ---------------------------------------------------------------------------------


def _val_inputs(rig: Rig) -> dict[str, Place]:
    """The inputs of the validation data, by place; empty where it cannot be read."""
    if rig.recipe.val_data is None:
        return {}
    try:
        given = places(rig, look_at_val(rig))
    except Exception:  # noqa: BLE001  the user's validation data may raise anything
        return {}
    return {place.name: place for place in given if not place.is_target}


def _beside(place: Place, val: dict[str, Place]) -> dict[str, Scalar]:
    """The same inputs in training and in validation: rms, ninth decile, and features' means."""
    if place.name not in val or not place.values.is_floating_point():
        return {}
    other = val[place.name]
    sizes, others = _size(place), _size(other)
    if min(*sizes, *others) <= 0:
        return {}
    alike = likeness(place.values, other.values)
    facts: dict[str, Scalar] = {} if math.isnan(alike) else {"val_likeness": alike}
    facts |= one_standardised(place.values, other.values)
    return {"val_rms_ratio": others[0] / sizes[0], "val_decile_ratio": others[1] / sizes[1], **facts}


def _size(place: Place) -> tuple[float, float]:
    numbers = real(place.values).flatten()
    numbers = numbers[:: max(1, numbers.numel() >> 16)]
    numbers = numbers if numbers.is_floating_point() else numbers.double()
    if not all_finite(numbers):
        numbers = numbers[numbers.isfinite()]
    if not numbers.numel():
        return 0.0, 0.0
    norm = torch.linalg.vector_norm(numbers, dtype=torch.float64)
    sizes, decile = numbers.abs().numpy(), round(0.9 * (len(numbers) - 1))
    sizes.partition(decile)  # an eighth of the time of numpy's quantile, which looks for NaN, too
    return float(norm) / len(numbers) ** 0.5, float(sizes[decile])


# -- training -----------------------------------------------------------------------------------


def _row(rig: Rig, found: Look, place: Place) -> Row:
    place = each_once(place)
    values = place.values
    facts: dict[str, Scalar] = {
        "place": place.name,
        "is_target": place.is_target,
        "samples": len(values),
        "total": found.total,
        "whole": found.whole,
        "limited": found.limited,
        "dtype": str(values.dtype).removeprefix("torch."),
        "dims": values.dim(),
        **gaps(rig, found, place),
    }
    flat = real(values).reshape(len(values), -1)
    if flat.size(1):
        facts |= _scale(flat, values)
        facts |= _sameness(flat)
    if place.is_target:
        facts |= on_target(rig, place)
    elif values.is_floating_point():
        numbers = {"interleaved": interleaved(values), "between_columns": between_columns(values)}
        facts |= {name: number for name, number in numbers.items() if not math.isnan(number)}
    return Row(facts)


# -- scale --------------------------------------------------------------------------------------


def _scale(flat: Tensor, values: Tensor) -> dict[str, Scalar]:
    numbers = flat.double() if flat.numel() <= 1 << 20 else flat.float()
    numbers = numbers.nan_to_num(0.0, 0.0, 0.0)
    facts: dict[str, Scalar] = {
        "lowest": float(numbers.min()),
        "highest": float(numbers.max()),
        "mean": float(numbers.mean()),
        "rms": float(numbers.square().mean().sqrt()),
        "features": flat.size(1),
        "whole_numbers": not flat.is_floating_point() or bool((numbers == numbers.round()).all()),
    }
    if values.dim() == _TABLE and 1 < flat.size(1) <= _FEATURES and len(flat) > 1:
        spread = numbers.std(0)
        largest, alive = int(spread.argmax()), spread > 0
        if alive.any():
            smallest = int(torch.where(alive, spread, torch.inf).argmin())
            facts |= {
                "largest_feature": largest,
                "largest_spread": float(spread[largest]),
                "smallest_feature": smallest,
                "smallest_spread": float(spread[smallest]),
            }
    return facts


def _sameness(flat: Tensor) -> dict[str, Scalar]:
    same = (flat == flat[:1]).all(0)
    together = flat.contiguous().numpy().tobytes()
    width = len(together) // len(flat)
    distinct = {together[begin : begin + width] for begin in range(0, len(together), width)}
    return {"constant_features": int(same.sum()), "distinct": len(distinct), "steady": bool(same.all())}


# -- samples that do not stand alone -------------------------------------------------------------


def _whole(found: Look) -> Iterator[tuple[str, Tensor]]:
    for chunk in found.chunks[:1]:
        yield from ((f"tensor {i}", t) for i, t in enumerate(tensors(chunk.batch)))


def _together(name: str, tensor: Tensor, found: Look) -> Row:
    values = tensor.coalesce().values() if tensor.is_sparse else tensor
    values = real(values) if values.layout == torch.strided else torch.zeros(1)
    floats = values.is_floating_point()
    return Row(
        place=name,
        is_target=False,
        samples=1,
        total=found.total,
        whole=found.whole,
        limited="samples do not stand alone (batch_dim=None)",
        dtype=str(tensor.dtype).removeprefix("torch."),
        nan_samples=int(floats and bool(values.isnan().any())),
        inf_samples=int(floats and bool(values.isinf().any())),
    )
