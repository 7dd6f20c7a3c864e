"""vaelocity.data.Table: what it refuses, its parts, its hash."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from data_writers import NAMES, assert_same, some_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from vaelocity.data import DataError, Table


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
