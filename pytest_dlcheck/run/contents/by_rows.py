"""Whether each row of a table was standardised by itself, and how its columns differ. No judgement."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_SAMPLES, _COLUMNS, _MOST = 32, 4, 64
"""Fewest rows, and fewest and most columns, of a table of different quantities; series have more."""
_EXACT = 1e-3
"""How far means may be from 0 and deviations from 1: rounding, and what is added to a divisor."""
_SMOOTH = 0.5
"""Correlation of neighbouring columns' means from which on a row is a series or a spectrum, which is
usually standardised by itself; of columns that have no order it is 0, give or take 0.3."""


def between_columns(values: Tensor) -> float:
    """The share of the variance that lies between columns, where rows are standardised; else NaN.

    Args:
        values: samples, floating.
    """
    table = values.dim() == 2 and _COLUMNS <= values.size(1) <= _MOST  # noqa: PLR2004
    if not table or len(values) < _SAMPLES:
        return math.nan
    rows = values.double()
    if not rows.isfinite().all() or float(rows.mean(1).abs().max()) > _EXACT:
        return math.nan
    deviations = [rows.std(1, correction=correction) for correction in (0, 1)]
    if not any(float((each - 1).abs().max()) <= _EXACT for each in deviations):
        return math.nan
    means = rows.mean(0)
    if float(torch.corrcoef(torch.stack([means[:-1], means[1:]]))[0, 1].nan_to_num()) >= _SMOOTH:
        return math.nan
    return float(means.var(correction=0) / rows.var(correction=0))
