"""The noise of denoising autoencoders, in the standardised space."""

from __future__ import annotations

import torch
from torch import Tensor

from vaelocity import ops

CORRUPTIONS = ("gaussian", "dropout", "salt_and_pepper", "swap")

EXTREME = 3.0
"""Salt and pepper in standard deviations of the feature."""


def corrupt_rows(
    x: Tensor, rng: ops.Rng, corruption: str, level: float, backend: str | None
) -> Tensor:
    """Every element of x [n, d] with noise of its own; swap takes values from other rows of x."""
    if corruption == "gaussian":
        return ops.corrupt(x, rng, noise=level, backend=backend)[0]
    if corruption == "dropout":
        return ops.corrupt(x, rng, drop=level, backend=backend)[0]
    kept, other = replacements(x, rng, corruption, level, x, backend)
    return torch.where(kept, x, other)


def replacements(
    like: Tensor,
    rng: ops.Rng,
    corruption: str,
    level: float,
    pool: Tensor,
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:
    """(kept, other), both of the shape of `like` [n, d]: a corrupted element is `other` where it is
    not kept. For gaussian everything is kept and `other` is the noise that is added.

    pool: rows [m, d] from which swap takes its values, of one row per element.
    """
    nothing = torch.zeros_like(like)
    if corruption == "gaussian":
        noise, kept = ops.corrupt(nothing, rng, noise=level, backend=backend)
        return kept, noise
    _, kept = ops.corrupt(nothing, rng, drop=level, backend=backend)
    if corruption == "dropout":
        return kept, nothing
    eps = ops.philox_normal(like.shape, rng, backend=backend)
    if corruption == "salt_and_pepper":
        return kept, torch.where(eps < 0, -EXTREME, EXTREME)
    # The normal distribution function of a normal number is uniform: a row of the pool.
    row = (torch.special.ndtr(eps) * len(pool)).long().clamp(max=len(pool) - 1)
    return kept, pool.gather(0, row)
