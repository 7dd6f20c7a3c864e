"""vaelocity.data: several files as one, labels and weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from vaelocity.data import DataError, batches, read


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
