"""vaelocity.data: every format gives the same rows, and what is wrong with a file is said."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import pytest
from data_writers import TEXT_WRITERS, WRITERS, Writer, assert_same, names_in, some_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vaelocity.data import DataError, batches, read


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
