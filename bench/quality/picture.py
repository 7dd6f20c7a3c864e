"""Grids of digits as PNG files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from digits import Floats
from PIL import Image

_EDGE = 2


def grid(rows: Floats, columns: int, path: Path, scale: int = 1) -> None:
    """Write rows [n, 784] of pixels from 0 to 1 as a picture, `columns` digits a line, dark on
    white, 2 pixels apart; every pixel scale x scale."""
    lines = -(-len(rows) // columns)
    step = 28 + _EDGE
    picture = np.zeros((lines * step - _EDGE, columns * step - _EDGE))
    for i, digit in enumerate(rows.clip(0, 1).reshape(-1, 28, 28)):
        down, right = i // columns * step, i % columns * step
        picture[down : down + 28, right : right + 28] = digit
    bytes_ = np.round(255 * (1 - picture)).astype(np.uint8)
    Image.fromarray(bytes_.repeat(scale, 0).repeat(scale, 1)).save(path, optimize=True)
