"""Latent codes, reconstructions and interpolations of a model file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity import frozen

Array = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Inside:
    """encode: rows [n, d] to codes [n, latent]; decode: the way back, in the units of the rows."""

    encode: Callable[[Array], Array]
    decode: Callable[[Array], Array]


def inside(path: Path) -> Inside | str:
    """The two halves of a model file, or why they cannot be had.

    A network of dense layers is computed from the file in NumPy; any other by its torch module.
    """
    try:
        network = frozen.read(path.stem, path)
        return Inside(network.encode, network.decode)
    except frozen.Unsupported as error:
        if find_spec("torch") is None:
            return f"{error}: PyTorch is needed to look inside, and it is not installed"
    from vaelocity import models
    from vaelocity.bundle import BundleError

    try:
        model: Any = models.load(path)
    except BundleError as error:
        return str(error)
    if not (hasattr(model, "encode") and hasattr(model, "decode")):
        return f"a {type(model).__name__} has no encoder and decoder"
    return Inside(
        lambda rows: np.asarray(model.encode(rows)), lambda z: np.asarray(model.decode(z))
    )


def interpolations(inner: Inside, rows: Array, steps: int = 10) -> list[Array]:
    """Decoded points on the line from rows[0] to rows[1], from rows[2] to rows[3], ...: of each
    pair [steps, d]."""
    codes = inner.encode(rows)
    parts = np.linspace(0, 1, steps)[:, None]
    return [
        inner.decode(((1 - parts) * a + parts * b).astype(np.float32))
        for a, b in zip(codes[::2], codes[1::2], strict=False)
    ]
