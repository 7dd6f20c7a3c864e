"""Rows at the edges of float32, which every model file promises scores for."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def edge_rows(mean: Floats, scale: Floats) -> Floats:
    """Zeros, the mean and one deviation around it, huge and tiny numbers, a NaN, infinities.

    mean, scale: float32 [d], those of the standardisation. Returns float32 [11, d].
    """
    d = len(mean)
    alternating = np.where(np.arange(d) % 2 == 0, 1, -1).astype(np.float32)
    largest = np.finfo(np.float32).max
    with np.errstate(over="ignore"):
        rows = np.stack(
            [
                np.zeros(d, np.float32),
                mean,
                np.clip(mean + scale, -largest, largest),
                np.clip(mean - alternating * scale, -largest, largest),
                np.full(d, 1e30, np.float32),
                alternating * np.float32(-1e30),
                alternating * largest,
                alternating * np.float32(1e-40),
                *np.tile(mean, (3, 1)),
            ]
        ).astype(np.float32)
    rows[-3, d // 2] = np.nan
    rows[-2, 0] = np.inf
    rows[-1, d - 1] = -np.inf
    return rows
