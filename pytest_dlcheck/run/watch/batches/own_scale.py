"""Whether inputs that are evaluated are standardised by statistics of their own. No judgement.

By statistics of other samples, means lie about ``1 / sqrt(samples)`` from 0: only what a mean was taken
of has it exactly there. A part of that has not, so nothing need be known of where it ends.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

BATCHES = 64
"""Batches of evaluations that are summed up: the first ones that are remembered; and"""
TRAINED = 2
"""of those trained on, which may each be standardised by themselves, as a part of the model."""
NUMBERS = 1 << 20
"""Numbers of a batch up to which it is summed up: images of a benchmark are normalised by constants."""
WIDTH = 1024
"""Numbers of a sample up to which each is a column; of more, all are summed up together."""
ROWS = 24
"""Samples (count) from which on the sums say anything."""
COLUMNS = 4
"""Columns (count) that have them, at least: of fewer, a grid may be symmetrical; and"""
MOST = 0.9
"""the share of those that are not all 0 (ratio), as categories may be left as they are."""
CENTRED = 1e-4
"""Distance of a mean from 0 (deviations) that single precision explains, of up to a million numbers."""
SPREAD = 1e-3
"""Distance of a variance from 1 that an epsilon beside the deviation explains, and another divisor."""
SIGNS = 1e-6
"""By how much the fourth power's mean exceeds 1, at least, unless all numbers are 1 and -1."""


def moments_of(batch: Tensor, earlier: int, *, training: bool) -> Tensor | None:
    """Counts and sums of the first, second and fourth powers, shape ``[5, columns]``; None elsewhere.

    The last row is the largest distance of a sample's own mean from 0.

    Args:
        batch: samples along its first axis.
        earlier: how many of its kind were remembered.
        training: whether it may be trained on.
    """
    if earlier >= (TRAINED if training else BATCHES) or not 0 < batch.numel() <= NUMBERS:
        return None
    plain = batch.layout == torch.strided and not batch.is_nested and not batch.is_meta
    if not plain or not batch.is_floating_point() or batch.dim() < 2:  # noqa: PLR2004
        return None
    rows = batch.detach().flatten(1).double()
    own = rows.mean(1).abs().amax()
    if rows.shape[1] > WIDTH:
        rows = rows.reshape(-1, 1)
    squares = rows.square()
    count = torch.full_like(rows[0], len(rows))
    return torch.stack(
        [count, rows.sum(0), squares.sum(0), squares.square().sum(0), own.expand_as(count)]
    )


def own_scale(
    trained: Sequence[Tensor | None], evaluated: Iterable[tuple[object, Tensor | None]]
) -> str:
    """What of evaluated inputs is exactly standardised: ``columns``, all ``numbers``; empty if none.

    Nothing is told where every batch that is trained on is standardised by itself.

    Args:
        trained: moments of some batches that are trained on.
        evaluated: those of others, each with what tells the evaluation that it is of.
    """
    groups: dict[object, list[Tensor]] = defaultdict(list)
    for key, moments in evaluated:
        if moments is not None:
            groups[key].append(moments)
    found = next((told for group in groups.values() if (told := _standardised(group))), "")
    ours = [each.cpu() for each in trained if each is not None]
    return "" if found and _is_by_batches(ours) else found


def _is_by_batches(trained: Sequence[Tensor]) -> bool:
    differ = any(not torch.equal(each, trained[0]) for each in trained)
    return differ and all(_standardised([each], rows=2) for each in trained)


def _standardised(group: Sequence[Tensor], rows: int = ROWS) -> str:
    alike = [each.cpu() for each in group if each.shape == group[0].shape]
    sums = torch.stack([each[:4] for each in alike]).sum(0)
    is_by_samples = max(float(each[4].max()) for each in alike) <= CENTRED
    if len(alike) < len(group) or is_by_samples or not bool(sums.isfinite().all()):
        return ""
    if float(sums[0, 0]) < rows:
        return ""
    exact = _exact(sums)[sums[2] > 0]
    if len(exact) >= COLUMNS and int(exact.sum()) >= MOST * len(exact):
        return "columns"
    is_wide = len(exact) > COLUMNS or float(sums[0, 0]) > ROWS * WIDTH
    return "numbers" if is_wide and bool(_exact(sums.sum(1, keepdim=True))) else ""


def _exact(sums: Tensor) -> Tensor:
    """Where the mean is 0 and the variance 1, and not because all numbers are 1 and -1."""
    mean, square, fourth = sums[1:] / sums[0]
    variance = square - mean.square()
    off, bound = (variance - 1).abs(), SPREAD + 1 / sums[0]
    is_exact: Tensor = (mean.abs() <= CENTRED) & (off <= bound) & (fourth >= 1 + SIGNS)
    return is_exact
