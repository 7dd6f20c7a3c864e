"""The same rows written in every format that vaelocity.data reads."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import uproot

from vaelocity.data import Table

__all__ = ["NAMES", "TEXT_WRITERS", "WRITERS", "Writer", "assert_same", "names_in", "some_rows"]

NAMES = ["pt", "eta", "n tracks", "a.b"]
Writer = Callable[[Path, np.ndarray, dict[str, Any]], Path]


def _columns(rows: np.ndarray, more: dict[str, Any]) -> dict[str, Any]:
    return {name: rows[:, j].copy() for j, name in enumerate(NAMES)} | more


def write_npz(folder: Path, rows: np.ndarray, more: dict[str, Any]) -> Path:
    np.savez_compressed(folder / "a.npz", X=rows, feature_names=np.array(NAMES), **more)
    return folder / "a.npz"


def write_npz_columns(folder: Path, rows: np.ndarray, more: dict[str, Any]) -> Path:
    np.savez(folder / "c.npz", **_columns(rows, more))
    return folder / "c.npz"


def write_npy(folder: Path, rows: np.ndarray, more: dict[str, Any]) -> Path:
    columns = {name: np.asarray(column) for name, column in _columns(rows, more).items()}
    array = np.empty(len(rows), [(name, column.dtype) for name, column in columns.items()])
    for name, column in columns.items():
        array[name] = column
    np.save(folder / "a.npy", array)
    return folder / "a.npy"


def write_csv(folder: Path, rows: np.ndarray, more: dict[str, Any]) -> Path:
    pa.csv.write_csv(pa.table(_columns(rows, more)), folder / "a.csv")
    return folder / "a.csv"


def write_csv_gz(folder: Path, rows: np.ndarray, more: dict[str, Any]) -> Path:
    path = folder / "z.csv.gz"
    path.write_bytes(gzip.compress(write_csv(folder, rows, more).read_bytes()))
    return path


def write_parquet(folder: Path, rows: np.ndarray, more: dict[str, Any]) -> Path:
    table = pa.table(_columns(rows, more))
    pa.parquet.write_table(table, folder / "a.parquet", row_group_size=7)
    return folder / "a.parquet"


def write_feather(folder: Path, rows: np.ndarray, more: dict[str, Any]) -> Path:
    pa.feather.write_feather(pa.table(_columns(rows, more)), folder / "a.feather", chunksize=7)
    return folder / "a.feather"


def write_arrow(folder: Path, rows: np.ndarray, more: dict[str, Any]) -> Path:
    table = pa.table(_columns(rows, more))
    with pa.ipc.new_file(folder / "a.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=5)
    return folder / "a.arrow"


def write_stream(folder: Path, rows: np.ndarray, more: dict[str, Any]) -> Path:
    table = pa.table(_columns(rows, more))
    with pa.ipc.new_stream(folder / "a.arrows", table.schema) as writer:
        writer.write_table(table, max_chunksize=5)
    return folder / "a.arrows"


def _h5(array: Any) -> Any:
    array = np.asarray(array)
    return array.astype(h5py.string_dtype()) if array.dtype.kind == "U" else array


def write_hdf5(folder: Path, rows: np.ndarray, more: dict[str, Any]) -> Path:
    with h5py.File(folder / "a.h5", "w") as file:
        file["X"] = rows
        file["feature_names"] = _h5(NAMES)
        for name, column in more.items():
            file[name] = _h5(column)
    return folder / "a.h5"


def write_hdf5_columns(folder: Path, rows: np.ndarray, more: dict[str, Any]) -> Path:
    with h5py.File(folder / "c.hdf5", "w", track_order=True) as file:
        for name, column in _columns(rows, more).items():
            file[name] = _h5(column)
    return folder / "c.hdf5"


def write_root(folder: Path, rows: np.ndarray, more: dict[str, Any]) -> Path:
    with uproot.recreate(folder / "a.root") as file:
        columns = {name.replace(" ", "_"): column for name, column in _columns(rows, more).items()}
        tree = file.mktree("events", {name: column.dtype for name, column in columns.items()})
        for start in range(0, len(rows), 9):
            tree.extend({name: column[start : start + 9] for name, column in columns.items()})
    return folder / "a.root"


WRITERS = [value for name, value in list(globals().items()) if name.startswith("write_")]
TEXT_WRITERS = [writer for writer in WRITERS if writer is not write_root]


def some_rows(n: int = 23) -> np.ndarray:
    rows = np.random.default_rng(1).normal(size=(n, 4)).astype(np.float32)
    rows[:, 2] = np.arange(n)
    return rows


def names_in(path: Path) -> list[str]:
    return [name.replace(" ", "_") for name in NAMES] if path.suffix == ".root" else NAMES


def assert_same(table: Table, rows: np.ndarray) -> None:
    assert table.rows.dtype == np.float32
    assert table.rows.flags.c_contiguous
    assert table.rows.tobytes() == np.ascontiguousarray(rows).tobytes()
