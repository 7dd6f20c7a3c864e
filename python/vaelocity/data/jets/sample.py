"""The file of a sample: written by `simulate`, read by NumPy alone and without pickle.

An npz archive with X (float32 [n, 59], column-major because that compresses better), y (uint8 [n],
codes into class_names), feature_names, class_names, and provenance (JSON text). Keys and shapes
are those that `vaelocity.data.read` expects of any npz file.

X is rounded to 12 bits after the leading one: a relative error of at most 2^-13 = 0.012 %, far
below the width of any observable, and whole numbers up to 8192 stay exact. It makes the file a
third smaller.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from vaelocity.data.jets.features import FEATURES
from vaelocity.data.table import Table

CLASS_NAMES = ("quark", "gluon", "W", "Z", "top")
MANTISSA_BITS = 12


def round_mantissa(
    rows: npt.NDArray[np.float32], bits: int = MANTISSA_BITS
) -> npt.NDArray[np.float32]:
    """Finite float32 values to the nearest with `bits` (1..23) mantissa bits, ties to even."""
    dropped = 23 - bits
    if dropped == 0:
        return rows.copy()
    raw = np.ascontiguousarray(rows, dtype=np.float32).view(np.uint32)
    half = np.uint32((1 << (dropped - 1)) - 1)
    odd = (raw >> np.uint32(dropped)) & np.uint32(1)
    mask = np.uint32(0xFFFFFFFF & ~((1 << dropped) - 1))
    return ((raw + half + odd) & mask).view(np.float32)


def write_sample(path: Path, table: Table, provenance: dict[str, Any]) -> None:
    """Writes an npz file; `table` holds labels, and its rows are already rounded."""
    if table.labels is None:
        raise ValueError("table: expected labels, got None")
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            X=np.asfortranarray(table.rows),
            y=table.labels.astype(np.uint8),
            feature_names=np.array(table.feature_names),
            class_names=np.array(table.class_names),
            provenance=np.array(json.dumps(provenance)),
        )


def read_sample(file: Path | IO[bytes]) -> tuple[Table, dict[str, Any]]:
    """The table and the provenance of a sample file. ValueError where it is another's."""
    with np.load(file, allow_pickle=False) as archive:
        wanted = ("X", "y", "feature_names", "class_names", "provenance")
        missing = [name for name in wanted if name not in archive.files]
        if missing:
            raise ValueError(f"not a sample of jets: the file has no {', '.join(missing)}")
        names = archive["feature_names"].tolist()
        if names != [feature.name for feature in FEATURES]:
            raise ValueError("a sample of other observables than vaelocity.data.jets.FEATURES")
        table = Table(
            rows=archive["X"],
            feature_names=names,
            labels=archive["y"].astype(np.int64),
            class_names=archive["class_names"].tolist(),
        )
        provenance: dict[str, Any] = json.loads(str(archive["provenance"]))
    return table, provenance
