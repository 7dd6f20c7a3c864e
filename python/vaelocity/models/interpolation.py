"""Ways between two points of a latent space."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Fractions = npt.NDArray[np.float64]

_PARALLEL = 1e-4
"""Radians below which, or within which of pi, an arc is not told from a line."""


def linear(a: Floats, b: Floats, t: Fractions) -> Floats:
    """(1 - t) a + t b: a, b [n, latent], t [steps] from 0 to 1; float32 [n, steps, latent]."""
    share = t.astype(np.float32)[:, None]
    return (1 - share) * a[:, None, :] + share * b[:, None, :]


def spherical(a: Floats, b: Floats, t: Fractions) -> Floats:
    """(sin((1 - t) w) a + sin(t w) b) / sin w, w being the angle between a and b (Shoemake,
    SIGGRAPH 1985). Shapes as for `linear`, which stands in where a and b are parallel or opposite,
    or one of them is 0."""
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(wide_a, axis=1) * np.linalg.norm(wide_b, axis=1)
    cosine = (wide_a * wide_b).sum(axis=1) / np.where(lengths > 0, lengths, 1)
    angle = np.arccos(cosine.clip(-1, 1))
    usable = (lengths > 0) & (angle > _PARALLEL) & (angle < np.pi - _PARALLEL)
    w = np.where(usable, angle, 1)[:, None]  # [n, 1]
    from_a, from_b = np.sin((1 - t) * w) / np.sin(w), np.sin(t * w) / np.sin(w)  # [n, steps]
    arc = from_a[:, :, None] * wide_a[:, None, :] + from_b[:, :, None] * wide_b[:, None, :]
    return np.where(usable[:, None, None], arc, linear(a, b, t)).astype(np.float32)


PATHS: dict[str, Callable[[Floats, Floats, Fractions], Floats]] = {
    "linear": linear,
    "spherical": spherical,
}
