"""Reading events: every supported file becomes one `Table` of float32 rows.

    table = vaelocity.data.read("run/*.parquet", features=["pt", "eta"], label="process")
    for part in vaelocity.data.batches("huge.csv", rows=65536): ...

Importing this package needs NumPy only; pyarrow, h5py and uproot are imported when a file of
their format is opened. `vaelocity.data.jets` is imported when it is first used.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from vaelocity.data.read import batches, read
from vaelocity.data.source import DataError
from vaelocity.data.table import Table

__all__ = ["DataError", "Table", "batches", "jets", "read"]


def __getattr__(name: str) -> ModuleType:
    if name == "jets":
        return importlib.import_module("vaelocity.data.jets")
    raise AttributeError(f"module 'vaelocity.data' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
