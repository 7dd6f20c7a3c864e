"""Pictures of image-shaped rows: reconstructions and interpolations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

Images = npt.NDArray[np.floating[Any]]

_GAP = 2


def reconstruction_grid(
    images: Mapping[str, tuple[Images, Images]],
    shape: tuple[int, int],
    *,
    ax: Axes | None = None,
) -> Axes:
    """Events and their reconstructions below them, two lines a class.

    images: class name to rows [n, height * width] and reconstructions of the same shape; classes
    may have different n. All are drawn on one grey scale, that of the rows.
    """
    lines = [line for pair in images.values() for line in pair]
    names = [text for name in images for text in (name, "model")]
    limits = _limits(*(rows for rows, _ in images.values()))
    return _drawn(lines, names, shape, limits, ax)


def interpolation_strip(
    strips: Sequence[Images], shape: tuple[int, int], *, ax: Axes | None = None
) -> Axes:
    """Images that change from one into another, one strip [n, height * width] a line."""
    return _drawn(strips, [""] * len(strips), shape, _limits(*strips), ax)


def pixel_contributions(
    means: Mapping[str, Images], shape: tuple[int, int], *, ax: Axes | None = None
) -> Axes:
    """Mean contribution of every pixel to the score [height * width], one image a class; the scale
    is that of the square root, and the same for all."""
    roots = {name: np.sqrt(mean)[None] for name, mean in means.items()}
    ax = _drawn([np.concatenate(list(roots.values()))], [""], shape, _limits(*roots.values()), ax)
    width = shape[1] + _GAP
    ax.set_xticks([j * width + shape[1] / 2 for j in range(len(means))], list(means))
    return ax


def _limits(*images: Images) -> tuple[float, float]:
    low, high = np.quantile(np.concatenate([part.ravel() for part in images]), [0.001, 0.999])
    return float(low), float(max(high, low + 1e-12))


def _drawn(
    lines: Sequence[Images],
    names: Sequence[str],
    shape: tuple[int, int],
    limits: tuple[float, float],
    ax: Axes | None,
) -> Axes:
    if ax is None:
        ax = plt.subplots(figsize=(6.4, 4.2), layout="constrained")[1]
    height, width = shape
    for line in lines:
        if line.ndim != 2 or line.shape[1] != height * width:
            raise ValueError(f"images: expected [n, {height * width}], got {line.shape}")
    most = max(len(line) for line in lines)
    step = (height + _GAP, width + _GAP)
    canvas = np.full((len(lines) * step[0] - _GAP, most * step[1] - _GAP), np.nan)
    for i, line in enumerate(lines):
        for j, image in enumerate(line):
            at = i * step[0], j * step[1]
            canvas[at[0] : at[0] + height, at[1] : at[1] + width] = image.reshape(shape)
    ax.imshow(canvas, cmap="gray_r", vmin=limits[0], vmax=limits[1], interpolation="nearest")
    ax.set_yticks([i * step[0] + height / 2 for i in range(len(lines))], names)
    ax.set_xticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax
