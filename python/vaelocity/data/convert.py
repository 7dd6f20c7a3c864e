"""From the values of a file to float32 rows, float32 weights and int64 labels, with checks.

Reading is the one place where values change type. float64 and integers are rounded to the nearest
float32 (integers beyond 2^24 may lose their last digits, and what is smaller than float32 can
express becomes 0); a finite value beyond the range of float32 is an error, never an infinity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vaelocity.data.source import AnyArray, DataError

# Rows converted at a time: a tile of a hundred float32 columns stays within a 1 MiB cache while
# its columns are written one after the other.
_TILE = 2048


@dataclass(frozen=True)
class Place:
    """Where some rows come from, for messages: the file, and the number of their first row."""

    path: Path
    row: int


def fill(
    out: npt.NDArray[np.float32],
    values: AnyArray | Sequence[AnyArray],
    names: Sequence[str],
    place: Place,
) -> None:
    """Write `values` ([n, d], or d arrays [n]; bool, integer or float) into out, float32 [n, d].

    Raises DataError naming file, column and row for what is not numeric or does not fit.
    """
    if isinstance(values, np.ndarray):
        _check_numeric(values, f"the array of {len(names)} columns", place)
        for start in range(0, len(out), _TILE):
            tile = slice(start, start + _TILE)
            _cast(out[tile], values[tile], names, Place(place.path, place.row + start))
        return
    for name, column in zip(names, values, strict=True):
        if column.ndim != 1:
            raise DataError(
                f"{place.path}: column {name!r} holds arrays of shape {column.shape[1:]} "
                f"where one number per row is expected"
            )
        _check_numeric(column, f"column {name!r}", place)
    for start in range(0, len(out), _TILE):
        tile = slice(start, start + _TILE)
        at = Place(place.path, place.row + start)
        for j, (name, column) in enumerate(zip(names, values, strict=True)):
            _cast(out[tile, j : j + 1], column[tile, None], [name], at)


def weights(values: AnyArray, name: str, place: Place) -> npt.NDArray[np.float32]:
    """Weights [n] as float32; one that is NaN or infinite is an error (negative ones are not)."""
    out = np.empty((len(values), 1), np.float32)
    fill(out, [one_column(values, name, place)], [name], place)
    bad = np.flatnonzero(~np.isfinite(out[:, 0]))
    if len(bad):
        raise DataError(
            f"{place.path}: weight {name!r} is {out[bad[0], 0]} in row {place.row + bad[0]} "
            f"(counting from 0)"
        )
    return out[:, 0]


def one_column(values: AnyArray, name: str, place: Place) -> AnyArray:
    """values as [n]; [n, 1] is accepted."""
    if values.ndim == 2 and values.shape[1] == 1:
        return values[:, 0]
    if values.ndim != 1:
        raise DataError(
            f"{place.path}: {name!r} has shape {values.shape}, where one value per row is expected"
        )
    return values


def _check_numeric(values: AnyArray, what: str, place: Place) -> None:
    if values.dtype.kind in "biuf":
        return
    held = {"U": "text", "S": "text", "T": "text", "M": "dates", "m": "time spans"}
    found = held.get(values.dtype.kind, str(values.dtype))
    if values.dtype.kind == "O":
        value = next((v for v in values.reshape(-1) if v is not None), None)
        found = "text" if isinstance(value, str | bytes) else f"{type(value).__name__} objects"
    raise DataError(
        f"{place.path}: {what} is not numeric (it holds {found}); "
        f"choose other features, or name it as the label"
    )


def _cast(
    out: npt.NDArray[np.float32], values: AnyArray, names: Sequence[str], place: Place
) -> None:
    """out = values, both [n, d], refusing finite values that would become infinite."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        np.copyto(out, values, casting="same_kind")
    if values.dtype.kind != "f" or values.dtype.itemsize <= 4:
        return
    infinite = np.isinf(out)
    if not infinite.any():
        return
    lost = np.argwhere(infinite & np.isfinite(values))
    if len(lost):
        i, j = (int(k) for k in lost[0])
        raise DataError(
            f"{place.path}: column {names[j]!r} has {values[i, j]!s} in row {place.row + i} "
            f"(counting from 0), which is beyond the range of float32"
        )
