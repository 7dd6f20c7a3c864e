"""vaelocity.data: what is particular to a format."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
import uproot
from data_writers import assert_same

from vaelocity.data import DataError, batches, read
from vaelocity.data.arrow_files import open_ipc
from vaelocity.data.source import Options


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
