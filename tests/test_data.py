"""vaelocity.data: every format gives the same rows, and what is wrong with a file is said."""

from __future__ import annotations

import gzip
import hashlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vaelocity.data import DataError, Table, batches, read
from vaelocity.data.arrow_files import open_ipc
from vaelocity.data.source import Options

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


@pytest.mark.parametrize("write", WRITERS)
def test_every_format_gives_the_same_rows_labels_and_weights(tmp_path: Path, write: Writer) -> None:
    rows = some_rows()
    y, weight = np.arange(23) % 3, np.linspace(-1, 2, 23)
    path = write(tmp_path, rows, {"y": y.astype(np.int32), "weight": weight})
    table = read(path, label="y", weight="weight")
    assert_same(table, rows)
    assert table.feature_names == names_in(path) or "hdf5" in path.name
    assert table.labels is not None
    assert table.labels.dtype == np.int64
    assert table.labels.tolist() == y.tolist()
    assert table.weights is not None
    assert np.array_equal(table.weights, weight.astype(np.float32))
    assert table.class_names is None


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("rows", [1, 4, 5, 22, 23, 24, 1000])
def test_batches_are_the_rows_of_read(tmp_path: Path, write: Writer, rows: int) -> None:
    path = write(tmp_path, some_rows(), {"y": np.arange(23)})
    parts = list(batches(path, rows, label="y"))
    assert [len(part) for part in parts[:-1]] == [rows] * (len(parts) - 1)
    whole = read(path, label="y")
    assert_same(whole, np.concatenate([part.rows for part in parts]))
    assert np.concatenate([p.labels for p in parts if p.labels is not None]).tolist() == list(
        range(23)
    )


@pytest.mark.parametrize("write", WRITERS)
def test_features_are_selected_in_the_order_asked_for(tmp_path: Path, write: Writer) -> None:
    path = write(tmp_path, some_rows(), {})
    wanted = [names_in(path)[j] for j in (3, 0, 2)]
    table = read(path, features=wanted, n_rows=10)
    assert table.feature_names == wanted
    assert_same(table, some_rows()[:10, [3, 0, 2]])
    with pytest.raises(DataError, match=re.escape(str(path)) + r".*'ptt'.*did you mean.*'pt'"):
        read(path, features=["ptt"])
    with pytest.raises(DataError, match="asked for twice"):
        read(path, features=["pt", "pt"])


@pytest.mark.parametrize("write", TEXT_WRITERS)
def test_text_labels_become_codes_in_alphabetical_order(tmp_path: Path, write: Writer) -> None:
    texts = np.array(["W", "quark", "top", "Z"])[np.arange(23) % 4]
    texts[:9] = "quark"
    path = write(tmp_path, some_rows(), {"y": texts})
    table = read(path, label="y")
    assert table.class_names == ["W", "Z", "quark", "top"]
    assert table.labels is not None
    assert [table.class_names[code] for code in table.labels] == texts.tolist()
    for part in batches(path, 5, label="y"):
        assert part.class_names == table.class_names
    joined = [p.labels for p in batches(path, 5, label="y") if p.labels is not None]
    assert np.array_equal(np.concatenate(joined), table.labels)
    fixed = read(path, label="y", class_names=["quark", "top", "W", "Z", "gluon"])
    assert fixed.labels is not None
    assert fixed.labels[0] == 0
    with pytest.raises(DataError, match=r"label 'y' is '(W|Z)' in row \d+ .*not one of"):
        read(path, label="y", class_names=["quark", "top"])


@pytest.mark.parametrize("write", WRITERS)
def test_nan_and_infinity_are_kept_and_visible(tmp_path: Path, write: Writer) -> None:
    rows = some_rows()
    rows[4, 1], rows[20, 0], rows[21, 3] = np.nan, np.inf, -np.inf
    table = read(write(tmp_path, rows, {}))
    assert np.array_equal(table.rows, rows, equal_nan=True)
    assert table.nan_rows.tolist() == [4, 20, 21]


@pytest.mark.parametrize("write", WRITERS)
def test_a_value_beyond_float32_is_an_error_with_column_and_row(
    tmp_path: Path, write: Writer
) -> None:
    rows = some_rows().astype(np.float64)
    rows[17, 1] = -3.5e38
    path = write(tmp_path, rows, {})
    with pytest.raises(DataError, match=r"column 'eta' has -3.5e\+38 in row 17"):
        read(path)
    with pytest.raises(DataError, match=r"column 'eta' has -3.5e\+38 in row 17"):
        list(batches(path, 4))
    rows[17, 1] = 3.4028235677e38  # rounds to the largest float32, not beyond it
    rows[3, 0] = 1e-60
    table = read(write(tmp_path, rows, {}))
    assert table.rows[17, 1] == np.finfo(np.float32).max
    assert table.rows[3, 0] == 0


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("n", [0, 1])
def test_no_rows_and_one_row(tmp_path: Path, write: Writer, n: int) -> None:
    path = write(tmp_path, some_rows(n), {"y": np.arange(n)})
    table = read(path, label="y")
    assert table.rows.shape == (n, 4)
    assert table.labels is not None
    assert table.labels.shape == (n,)
    assert sum(len(part) for part in batches(path, 10)) == n


@pytest.mark.parametrize("write", WRITERS)
def test_a_truncated_file_is_one_error_with_the_path(tmp_path: Path, write: Writer) -> None:
    path = write(tmp_path, some_rows(2000), {})
    whole = path.read_bytes()
    size = len(whole)
    # A CSV file cut within the numbers of a last row is a CSV file: cut after the second column.
    cuts = [whole.rindex(b",", 0, -40)] if path.suffix == ".csv" else [5, size // 2, size - 9]
    for cut in cuts:
        path.write_bytes(whole[:cut])
        with pytest.raises(DataError, match=re.escape(str(path))):
            read(path)
        with pytest.raises(DataError, match=re.escape(str(path))):
            list(batches(path, 100))
    path.write_bytes(b"")
    with pytest.raises(DataError, match=re.escape(str(path)) + r".*empty \(0 bytes\)"):
        read(path)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".parquet", ".arrow", ".h5", ".root"])
def test_a_file_of_something_else_is_an_error_with_the_path(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"this is no such file\n" * 50)
    with pytest.raises(DataError, match=re.escape(str(path))):
        read(path)


@pytest.mark.parametrize(
    "dtype", ["?", "i1", "u1", ">i2", "u4", "i8", "u8", "f2", ">f4", "f8", ">f8", "g"]
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_numeric_type_becomes_float32(tmp_path: Path, dtype: str, order: Any) -> None:
    values = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0], [0, 0, 1]])
    np.save(tmp_path / "a.npy", np.asarray(values, dtype, order=order))
    table = read(tmp_path / "a.npy")
    assert_same(table, values.astype(np.float32))
    assert table.feature_names == ["x0", "x1", "x2"]


def test_integers_beyond_2_to_24_are_rounded_to_the_nearest(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[2**24 + 1, 2**63 - 1]], np.int64))
    assert read(tmp_path / "a.npy").rows.tolist() == [[2.0**24, 2.0**63]]


@settings(max_examples=30, deadline=None)
@given(
    hnp.arrays(
        np.float64,
        st.tuples(st.integers(0, 40), st.integers(1, 5)),
        elements=st.floats(width=32) | st.floats(-3e38, 3e38),
    ),
    st.integers(1, 50),
)
def test_any_float64_survives_csv_and_parquet_as_its_float32(
    tmp_path_factory: pytest.TempPathFactory, rows: np.ndarray, size: int
) -> None:
    folder = tmp_path_factory.mktemp("any")
    table = pa.table({f"c{j}": rows[:, j] for j in range(rows.shape[1])})
    pa.parquet.write_table(table, folder / "a.parquet", row_group_size=size)
    pa.csv.write_csv(table, folder / "a.csv")
    for path in (folder / "a.parquet", folder / "a.csv"):
        assert np.array_equal(read(path).rows, rows.astype(np.float32), equal_nan=True)
        parts = [part.rows for part in batches(path, size)]
        joined = np.concatenate([np.empty((0, rows.shape[1]), np.float32), *parts])
        assert np.array_equal(joined, rows.astype(np.float32), equal_nan=True)


@pytest.mark.parametrize("suffix", [".parquet", ".feather", ".arrows"])
def test_batches_hold_a_part_of_the_file_only(tmp_path: Path, suffix: str) -> None:
    rows = np.random.default_rng(0).integers(0, 9, size=(1 << 15, 64)).astype(np.float32)
    table = pa.table({f"c{j}": rows[:, j] for j in range(64)})
    path = tmp_path / f"a{suffix}"
    if suffix == ".parquet":
        pa.parquet.write_table(table, path, row_group_size=1024, use_dictionary=False)
    elif suffix == ".feather":
        pa.feather.write_feather(table, path, chunksize=1024)
    else:
        with pa.ipc.new_stream(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=1024)
    del table
    before, held = pa.total_allocated_bytes(), 0
    for _ in batches(path, 1024):
        held = max(held, pa.total_allocated_bytes() - before)
    assert held < rows.nbytes / 4


# ---- several files


def test_a_glob_concatenates_in_the_order_of_the_numbers(tmp_path: Path) -> None:
    for k in (10, 2, 1):
        (tmp_path / f"part-{k}.csv").write_text(f"a,b\n{k},0\n{k},1\n")
    table = read(tmp_path / "part-*.csv")
    assert table.rows[:, 0].tolist() == [1, 1, 2, 2, 10, 10]
    assert read(tmp_path / "part-*.csv", n_rows=3).rows.tolist() == [[1, 0], [1, 1], [2, 0]]
    assert [len(part) for part in batches(str(tmp_path / "part-*.csv"), 4)] == [4, 2]
    with pytest.raises(FileNotFoundError, match="none-"):
        read(tmp_path / "none-*.csv")
    with pytest.raises(FileNotFoundError, match=r"none\.csv"):
        read(tmp_path / "none.csv")


def test_files_of_a_list_keep_their_order_and_are_matched_by_name(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("x,y\n1,2\n")
    pa.parquet.write_table(pa.table({"y": [4.0], "x": [3]}), tmp_path / "a.parquet")
    table = read([tmp_path / "b.csv", tmp_path / "a.parquet"])
    assert table.feature_names == ["x", "y"]
    assert table.rows.tolist() == [[1, 2], [3, 4]]


def test_files_that_differ_name_the_file_and_the_column(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.csv").write_text("x\n1\n")
    (tmp_path / "c.csv").write_text("x,y,z\n1,2,3\n")
    with pytest.raises(DataError, match=r"b\.csv: it has no column 'y'; .*a\.csv has it"):
        read([tmp_path / "a.csv", tmp_path / "b.csv"])
    with pytest.raises(DataError, match=r"c\.csv: it has a column 'z'; .*a\.csv has not"):
        list(batches([tmp_path / "a.csv", tmp_path / "c.csv"]))
    both = read([tmp_path / "a.csv", tmp_path / "c.csv"], features=["y"])
    assert both.rows.tolist() == [[2], [2]]


def test_text_labels_get_one_set_of_codes_across_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,kind\n1,top\n")
    (tmp_path / "b.csv").write_text("x,kind\n2,W\n3,top\n")
    for table in (
        read(tmp_path / "?.csv", label="kind"),
        next(batches(tmp_path / "?.csv", label="kind")),
    ):
        assert table.class_names == ["W", "top"]
        assert table.labels is not None
        assert table.labels.tolist() == [1, 0, 1]


def test_numbers_in_one_file_and_text_in_the_next_is_an_error(tmp_path: Path) -> None:
    pa.parquet.write_table(pa.table({"x": [1.0], "y": [0]}), tmp_path / "a.parquet")
    pa.parquet.write_table(pa.table({"x": [1.0], "y": ["top"]}), tmp_path / "b.parquet")
    for order in ("ab", "ba"):
        paths = [tmp_path / f"{name}.parquet" for name in order]
        with pytest.raises(DataError, match="label 'y' is"):
            read(paths, label="y")
        with pytest.raises(DataError, match="label 'y' is"):
            list(batches(paths, 1, label="y"))


# ---- labels and weights


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.0, 1.5], r"label 'y' is 1\.5 in row 1"),
        ([0.0, np.nan], r"label 'y' is nan in row 1"),
        ([0.0, np.inf], r"label 'y' is inf in row 1"),
        (np.array([1, 2**63], np.uint64), r"label 'y' is 9223372036854775808 in row 1"),
        (np.array(["a", ""]), r"label 'y' is missing in row 1"),
        (np.array([[1, 2], [3, 4]]), r"'y' has shape \(2, 2\)"),
        (np.array([1, 2, 3]), r"'y' has 3 values for 2 rows"),
    ],
)
def test_labels_that_cannot_be_used(tmp_path: Path, values: Any, message: str) -> None:
    np.savez(tmp_path / "a.npz", X=np.zeros((2, 3)), y=np.asarray(values))
    with pytest.raises(DataError, match=message):
        read(tmp_path / "a.npz")


def test_a_missing_label_is_an_error_with_its_row(tmp_path: Path) -> None:
    pa.parquet.write_table(pa.table({"x": [1.0, 2], "y": ["a", None]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="label 'y' is missing in row 1"):
        read(tmp_path / "a.parquet", label="y")
    (tmp_path / "a.csv").write_text("x,y\n1,top\n2,\n")
    with pytest.raises(DataError, match="label 'y' is missing in row 1"):
        read(tmp_path / "a.csv", label="y")
    with pytest.raises(DataError, match=r"label: .*no column 'z'"):
        read(tmp_path / "a.csv", label="z")


def test_numbers_in_csv_labels_are_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,0.000e+00\n2,1\n3,12\n")
    table = read(tmp_path / "a.csv", label="y")
    assert table.labels is not None
    assert table.labels.tolist() == [0, 1, 12]
    assert table.class_names is None


def test_categories_of_arrow_are_labels(tmp_path: Path) -> None:
    kind = pa.array(["top", "W", "top"]).dictionary_encode()
    pa.parquet.write_table(pa.table({"x": [1.0, 2, 3], "kind": kind}), tmp_path / "a.parquet")
    table = read(tmp_path / "a.parquet", label="kind")
    assert table.class_names == ["W", "top"]
    assert len(table.of_class("top")) == 2


def test_codes_beyond_the_class_names_are_an_error(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=np.zeros((2, 1)), y=[0, 2], class_names=np.array(["a", "b"]))
    with pytest.raises(DataError, match="label 'y' is 2 in row 1"):
        read(tmp_path / "a.npz")


def test_a_weight_that_is_missing_or_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,w,t\n1,1,a\n2,,b\n")
    with pytest.raises(DataError, match="weight 'w' is nan in row 1"):
        read(tmp_path / "a.csv", features=["x"], weight="w")
    with pytest.raises(DataError, match="column 't' is not numeric"):
        read(tmp_path / "a.csv", features=["x"], weight="t")
    with pytest.raises(DataError, match="'x' is asked for as a label or weight too"):
        read(tmp_path / "a.csv", features=["x"], label="x")


# ---- what is particular to a format


def test_npz_by_key_takes_labels_only_where_asked(tmp_path: Path) -> None:
    arrays = {"train": np.ones((3, 2)), "test": np.zeros((2, 2)), "y": [0, 1], "t": [[1], [0]]}
    np.savez(tmp_path / "a.npz", **{name: np.asarray(value) for name, value in arrays.items()})
    table = read(tmp_path / "a.npz", key="test")
    assert table.rows.shape == (2, 2)
    assert table.labels is None
    assert read(tmp_path / "a.npz", key="test", label="t").labels is not None
    with pytest.raises(DataError, match=r"no array 'X'; choose one by key=: train, test"):
        read(tmp_path / "a.npz")
    with pytest.raises(DataError, match=r"no column 'tests'; did you mean 'test'"):
        read(tmp_path / "a.npz", key="tests")


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_python_objects_are_refused_and_not_unpickled(tmp_path: Path, suffix: str) -> None:
    path, array = tmp_path / f"a{suffix}", np.array([["a", 1.0]], object)
    np.save(path, array) if suffix == ".npy" else np.savez(path, X=array)
    with pytest.raises(DataError, match=r"Python objects.*never done"):
        read(path)


def test_arrays_of_more_dimensions_are_flattened(tmp_path: Path) -> None:
    particles = np.arange(2 * 19 * 4, dtype=np.float32).reshape(2, 19, 4)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["Particles"] = particles
    table = read(tmp_path / "a.h5", key="Particles")
    assert_same(table, particles.reshape(2, 76))
    assert table.feature_names[:5] == ["x0_0", "x0_1", "x0_2", "x0_3", "x1_0"]
    assert read(tmp_path / "a.h5", features=["x18_3"]).rows.tolist() == [[75.0], [151.0]]


def test_hdf5_groups_compounds_and_several_datasets(tmp_path: Path) -> None:
    compound = np.array([(1.0, 2, 0), (3.0, 4, 1)], [("pt", "f8"), ("n", "i4"), ("kind", "u1")])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["jets/table"] = compound
        file["rows"] = np.zeros((2, 2))
        file["events/met"], file["events/ht"] = [1.0, 2.0], [3.0, 4.0]
    table = read(tmp_path / "a.h5", key="jets/table", label="kind")
    assert (table.feature_names, table.rows.tolist()) == (["pt", "n"], [[1, 2], [3, 4]])
    assert read(tmp_path / "a.h5", key="events", features=["met", "ht"]).rows.tolist() == [
        [1, 3],
        [2, 4],
    ]
    with pytest.raises(DataError, match=r"several datasets.*jets/table, rows"):
        read(tmp_path / "a.h5")
    with pytest.raises(DataError, match=r"no column 'event'; did you mean 'events'"):
        read(tmp_path / "a.h5", key="event")


def test_root_trees_and_ntuples(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mktree("low", {"pt": np.float32, "m-s": np.float64})
        file["low"].extend({"pt": np.float32([1, 2]), "m-s": np.array([3.0, 4.0])})
        file.mkrntuple("high", {"pt": np.array([5.0, 6.0]), "n": np.array([7, 8])})
    with pytest.raises(DataError, match="several trees; choose by key=: low, high"):
        read(tmp_path / "a.root")
    assert read(tmp_path / "a.root", key="low").rows.tolist() == [[1, 3], [2, 4]]
    high = read(tmp_path / "a.root", key="high", features=["n", "pt"])
    assert high.rows.tolist() == [[7, 5], [8, 6]]
    with pytest.raises(DataError, match="no column 'lows'; did you mean 'low'"):
        read(tmp_path / "a.root", key="lows")


def test_a_jagged_branch_is_named(tmp_path: Path) -> None:
    import awkward as ak

    with uproot.recreate(tmp_path / "a.root") as file:
        file.mktree("t", {"pt": "var * float32", "met": "float32"})
        file["t"].extend({"pt": ak.Array([[1.0], [], [2.0, 3.0]]), "met": np.float32([1, 2, 3])})
    with pytest.raises(DataError, match="column 'pt' is not numeric"):
        read(tmp_path / "a.root", features=["met", "pt"])
    assert read(tmp_path / "a.root", features=["met"]).rows.tolist() == [[1], [2], [3]]


def test_a_csv_header_that_is_data_is_never_taken_as_names(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("1.5,2.5,quark\n3.5,4.5,top\n")
    with pytest.raises(DataError, match=r"looks like data.*header=False"):
        read(path)
    table = read(path, header=False, label="x2")
    assert table.rows.tolist() == [[1.5, 2.5], [3.5, 4.5]]
    assert table.class_names == ["quark", "top"]
    path.write_text("0,1,2,kind\n3,4,5,6\n")  # what pandas writes for unnamed columns
    assert read(path).feature_names == ["0", "1", "2", "kind"]
    path.write_text("7,9\n1,2\n")
    assert read(path, header=True).feature_names == ["7", "9"]


def test_csv_as_people_write_it(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbfpt, "eta" ,ok\r\n1, 2.5,true\r\n,NA,false\r\n')
    table = read(path)
    assert table.feature_names[0] == "pt"
    assert np.array_equal(table.rows, np.float32([[1, 2.5, 1], [np.nan, np.nan, 0]]), True)
    path.write_text("# a,b\n1,2\n")
    assert read(path).feature_names == ["a", "b"]
    path.write_text("a;b\n1;2\n")
    with pytest.raises(DataError, match="delimiter=';'"):
        read(path)
    assert read(path, delimiter=";").rows.tolist() == [[1, 2]]
    (tmp_path / "a.tsv").write_text("a\tb\n1\t2\n")
    assert read(tmp_path / "a.tsv").rows.tolist() == [[1, 2]]
    path.write_text(",a\n0,5\n")
    with pytest.raises(DataError, match=r"column 1 of 2 has no name \(a row index\?\)"):
        read(path)
    path.write_text("a,b,a\n1,2,3\n")
    with pytest.raises(DataError, match="column 'a' occurs more than once"):
        read(path)
    path.write_text("a,b\n1,2\n3\n")
    with pytest.raises(DataError, match=r"a\.csv: cannot be read as csv: .*Expected 2 columns"):
        read(path)


def test_csv_types_do_not_depend_on_the_first_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaelocity.data.csv_files._BLOCK_BYTES", 1 << 14)
    n = 7000  # several blocks: whole numbers first, a fraction at the end
    path = tmp_path / "a.csv"
    path.write_text("count,empty\n" + "123456789,\n" * n + "0.25,7\n")
    last = None
    for part in batches(path, 2000):
        last = part
    assert last is not None
    assert last.rows[-1].tolist() == [0.25, 7.0]
    path.write_text("i,count\n" + "1,123456789\n" * n + "1,many\n")
    for features in (None, ["count"]):
        with pytest.raises(DataError, match=r"a\.csv: column 'count' is not numeric: .*'many'"):
            read(path, features=features)


def test_a_column_of_text_or_dates_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,when,kind\n1,2020-01-01,a\n")
    with pytest.raises(DataError, match=r"column 'when' is not numeric.*dates"):
        read(tmp_path / "a.csv", features=["x", "when"])
    with pytest.raises(DataError, match=r"column 'kind' is not numeric.*text"):
        read(tmp_path / "a.csv", features=["x", "kind"])
    pa.parquet.write_table(pa.table({"x": [1.0], "v": [[1.0, 2.0]]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="column 'v' is not numeric"):
        read(tmp_path / "a.parquet")


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_of_an_arrow_file_only_what_is_asked_for_takes_memory(
    tmp_path: Path, compression: str | None
) -> None:
    """Columns of a plain file stay where they are mapped; of a compressed one the others are not
    unpacked."""
    n = 100_000
    values = np.random.default_rng(0).normal(size=(8, n)).astype(np.float32)
    table = pa.table({f"x{j}": column for j, column in enumerate(values)})
    pa.feather.write_feather(
        table, tmp_path / "a.arrow", compression or "uncompressed", chunksize=n
    )
    with open_ipc(tmp_path / "a.arrow", Options()) as source:
        before = pa.total_allocated_bytes()
        (batch,) = source.stream(["x5", "x2"], n)
        taken = pa.total_allocated_bytes() - before
        for name in ("x5", "x2"):
            np.testing.assert_array_equal(batch.column(name), values[int(name[1])])
    columns = taken / values[0].nbytes
    assert columns < 0.1 if compression is None else 2 <= columns < 3


def test_arrow_nulls_decimals_and_the_index_of_pandas(tmp_path: Path) -> None:
    table = pa.table(
        {
            "i": pa.array([1, None], pa.int64()),
            "b": pa.array([None, True]),
            "d": pa.array([1, 2]).cast(pa.decimal128(21, 2)),
            "n": pa.nulls(2),
            "__index_level_0__": pa.array(["a", "b"]),
        }
    )
    pa.parquet.write_table(table, tmp_path / "a.parquet")
    found = read(tmp_path / "a.parquet")
    nan = np.nan
    assert found.feature_names == ["i", "b", "d", "n"]
    assert np.array_equal(found.rows, np.float32([[1, nan, 1, nan], [nan, 1, 2, nan]]), True)


def test_options_that_do_not_apply_are_errors(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    with pytest.raises(ValueError, match=r"key: .* is csv, which has no key"):
        read(tmp_path / "a.csv", key="X")
    (tmp_path / "a.dat").write_text("a\n1\n")
    with pytest.raises(DataError, match=r"'\.dat' is none of"):
        read(tmp_path / "a.dat")
    assert read(tmp_path / "a.dat", format="csv").rows.tolist() == [[1]]
    with pytest.raises(ValueError, match="format: expected one of"):
        read(tmp_path / "a.dat", format="xls")
    with pytest.raises(DataError, match="is a folder"):
        read(tmp_path)
    with pytest.raises(ValueError, match="n_rows: expected at least 1"):
        read(tmp_path / "a.csv", n_rows=0)
    with pytest.raises(TypeError, match="features: expected a list of names"):
        read(tmp_path / "a.csv", features="a")
    with pytest.raises(ValueError, match="rows: expected at least 1"):
        batches(tmp_path / "a.csv", 0)


def test_an_absent_library_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, suffix in (("h5py", ".h5"), ("uproot", ".root"), ("pyarrow.csv", ".csv")):
        (tmp_path / f"a{suffix}").write_text("a\n1\n")
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(ImportError, match=r'pip install "vaelocity\[io\]"'):
            read(tmp_path / f"a{suffix}")


def test_importing_the_readers_imports_no_format_library() -> None:
    heavy = {"pyarrow", "h5py", "uproot", "pandas", "torch", "scipy", "vaelocity.data.jets"}
    code = f"import sys, vaelocity.data; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---- Table


def test_a_table_refuses_what_is_not_float32_and_what_does_not_fit() -> None:
    rows = some_rows(5)
    with pytest.raises(TypeError, match="rows: expected a float32 array, got float64"):
        Table(rows.astype(np.float64), NAMES)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"rows: expected shape \[n, d\]"):
        Table(rows[0], NAMES)
    with pytest.raises(ValueError, match="feature_names: expected 4 distinct names"):
        Table(rows, ["a", "b", "b", "c"])
    with pytest.raises(TypeError, match="labels: expected an integer array"):
        Table(rows, NAMES, labels=np.zeros(5))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"labels: expected \[5\]"):
        Table(rows, NAMES, labels=np.zeros(4, np.int64))
    with pytest.raises(ValueError, match=r"labels: codes 0\.\.2 do not fit 2 class_names"):
        Table(rows, NAMES, labels=np.array([0, 1, 2, 0, 0]), class_names=["a", "b"])
    with pytest.raises(TypeError, match="weights: expected a float32 array"):
        Table(rows, NAMES, weights=np.zeros(5))  # type: ignore[arg-type]
    assert Table(np.asfortranarray(rows), NAMES).rows.flags.c_contiguous


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 200), st.floats(0, 1), st.integers(0, 2**32))
def test_split_parts_are_disjoint_complete_and_in_order(n: int, fraction: float, seed: int) -> None:
    rows = np.arange(n, dtype=np.float32)[:, None]
    table = Table(rows, ["i"], labels=np.arange(n), weights=rows[:, 0])
    one, two = table.split(fraction, seed)
    assert len(one) == round(fraction * n)
    assert sorted([*one.rows[:, 0], *two.rows[:, 0]]) == list(range(n))
    for part in (one, two):
        assert part.labels is not None
        assert (np.diff(part.rows[:, 0]) > 0).all()
        assert part.labels.tolist() == part.rows[:, 0].tolist()
    assert one.sha256() == table.split(fraction, seed)[0].sha256()


def test_select_by_mask_index_and_slice() -> None:
    table = Table(some_rows(5), NAMES, labels=np.arange(5))
    mask = np.array([True, False, False, True, False])
    for which in (mask, [0, 3], slice(0, 5, 3)):
        part = table.select(which)
        assert part.labels is not None
        assert part.labels.tolist() == [0, 3]
    assert len(table.select([])) == 0
    with pytest.raises(ValueError, match="mask of 5 rows, got 4"):
        table.select(mask[:4])
    with pytest.raises(TypeError, match="1-D mask"):
        table.select([0.5])


def test_with_features_and_of_class() -> None:
    table = Table(some_rows(6), NAMES, labels=np.arange(6) % 3, class_names=["q", "W", "top"])
    assert_same(table.with_features(["a.b", "pt"]), table.rows[:, [3, 0]])
    with pytest.raises(DataError, match="did you mean 'eta'"):
        table.with_features(["etta"])
    assert_same(table.of_class("q", "top"), table.rows[[0, 2, 3, 5]])
    with pytest.raises(ValueError, match="no class 'Z'"):
        table.of_class("Z")


def test_sha256_is_of_the_names_the_shape_and_the_rows() -> None:
    rows = np.float32([[1, 2], [3, 4]])
    head = b'{"features":["a","b"],"shape":[2,2]}\n'
    expected = hashlib.sha256(head + rows.astype("<f4").tobytes()).hexdigest()
    assert Table(rows, ["a", "b"]).sha256() == expected
    others = [
        Table(rows, ["a", "c"]),
        Table(rows[::-1], ["a", "b"]),
        Table(np.nextafter(rows, np.float32(9)), ["a", "b"]),
    ]
    assert expected not in {table.sha256() for table in others}


# ---- real data


@pytest.mark.parametrize(
    ("name", "shape", "anomalies"),
    [("32_shuttle", (49097, 9), 3511), ("22_magic.gamma", (19020, 10), 6688)],
)
def test_adbench(data_dir: Path, name: str, shape: tuple[int, int], anomalies: int) -> None:
    path = data_dir / "adbench" / f"{name}.npz"
    table = read(path)
    assert table.rows.shape == shape
    assert table.labels is not None
    assert int(table.labels.sum()) == anomalies
    with np.load(path, allow_pickle=False) as archive:
        assert_same(table, archive["X"].astype(np.float32))
    assert_same(table, np.concatenate([part.rows for part in batches(path, 10_000)]))


def test_jets53_through_every_other_format(data_dir: Path, tmp_path: Path) -> None:
    table = read(data_dir / "jets" / "jets53_dev.npz", n_rows=3000)
    assert table.n_features == 53
    assert table.class_names is not None
    assert table.labels is not None
    kinds = np.array(table.class_names)[table.labels]
    frame = pa.table(dict(zip(table.feature_names, table.rows.T, strict=True)) | {"kind": kinds})
    pa.parquet.write_table(frame, tmp_path / "a.parquet")
    pa.csv.write_csv(frame, tmp_path / "a.csv")
    for path in (tmp_path / "a.parquet", tmp_path / "a.csv"):
        again = read(path, label="kind")
        assert again.sha256() == table.sha256()
        assert again.labels is not None
        assert again.class_names == sorted(set(kinds.tolist()))
        assert [again.class_names[code] for code in again.labels] == kinds.tolist()


def test_smap_by_key(data_dir: Path) -> None:
    path = data_dir / "smap" / "SMAP.npz"
    table = read(path, key="test_A-1", label="label_A-1")
    assert table.rows.shape == (8640, 25)
    assert table.labels is not None
    assert set(table.labels.tolist()) == {0, 1}
    with pytest.raises(DataError, match="choose one by key="):
        read(path)
