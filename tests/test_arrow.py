"""Rows that Arrow holds: columns by the C data interface, and what goes another way."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vaelocity
from vaelocity import _core
from vaelocity.rows import layout_of

MakeBundle = Callable[..., Path]
pa = pytest.importorskip("pyarrow")

NAMES = ("a", "b", "c")
VALUES = np.arange(15, dtype=np.float32).reshape(5, 3)


def batch(**more: Any) -> Any:
    """Columns c, b, a and others."""
    columns = {name: pa.array(VALUES[:, j]) for j, name in enumerate(NAMES)}
    return pa.record_batch({**more, **dict(reversed(columns.items()))})


def taken(rows: Any) -> Any:
    """What the C data interface gives, None where it refuses."""
    return _core.arrow_columns(*rows.__arrow_c_array__(), NAMES)


def test_columns_are_read_where_they_lie_in_the_order_of_the_model() -> None:
    rows = batch(id=pa.array(range(5)))
    columns = taken(rows)
    assert [column.tolist() for column in columns] == VALUES.T.tolist()
    for name, column in zip(NAMES, columns, strict=True):
        assert column.ctypes.data == rows.column(name).buffers()[1].address
        assert column.dtype == np.float32
        assert not column.flags.writeable


def test_columns_keep_the_memory_and_let_it_go() -> None:
    n = 1 << 12
    before = pa.total_allocated_bytes()
    columns = taken(pa.record_batch({name: pa.array([3.0] * n, pa.float32()) for name in NAMES}))
    gc.collect()
    assert pa.total_allocated_bytes() - before >= 3 * 4 * n
    assert all((column == 3).all() for column in columns)
    del columns
    gc.collect()
    assert pa.total_allocated_bytes() == before


@pytest.mark.parametrize("part", [(0, 5), (1, 3), (4, 1), (5, 0)])
def test_a_slice_begins_where_it_begins(part: tuple[int, int]) -> None:
    start, n = part
    columns = taken(batch().slice(start, n))
    assert [column.tolist() for column in columns] == VALUES[start : start + n].T.tolist()


def test_a_column_that_is_itself_a_slice() -> None:
    longer = pa.array(np.arange(9, dtype=np.float32))
    rows = pa.record_batch({name: longer.slice(j, 5) for j, name in enumerate(NAMES)})
    found = [column.tolist() for column in taken(rows.slice(2))]
    assert found == [[j + 2.0, j + 3.0, j + 4.0] for j in range(3)]


def test_a_bitmap_without_nulls_is_no_null() -> None:
    values = pa.array([1.0, None, 3.0], pa.float32())
    whole = pa.record_batch({name: values.slice(2) for name in NAMES})
    found = layout_of(whole, NAMES)
    assert [column.tolist() for column in found] == [[3.0]] * 3


@pytest.mark.parametrize(
    "column",
    [pa.array([1.0] * 5, pa.float64()), pa.array([1.0, None, 3.0, 4.0, 5.0], pa.float32())],
    ids=["float64", "null"],
)
def test_what_is_not_plain_float32_goes_another_way(column: Any) -> None:
    rows = batch().set_column(0, "c", column)
    assert taken(rows) is None
    if column.null_count:
        assert np.isnan(layout_of(rows, NAMES)[2]).tolist() == [False, True, False, False, False]
    else:
        with pytest.raises(TypeError, match="column 'c': expected Arrow float32, got double"):
            layout_of(rows, NAMES)


def test_a_missing_column_is_named() -> None:
    rows = batch().drop_columns(["b"])
    assert taken(rows) is None
    with pytest.raises(ValueError, match="1 of the model's 3 features are missing: b"):
        layout_of(rows, NAMES)


def test_another_capsule_is_refused() -> None:
    schema, array = batch().__arrow_c_array__()
    with pytest.raises(ValueError, match="PyCapsule"):
        _core.arrow_columns(array, schema, NAMES)


class Elsewhere:
    """A table of another package, which has Arrow's protocol and nothing else of pyarrow."""

    def __init__(self, method: str, held: Any) -> None:
        setattr(type(self), method, lambda self, requested_schema=None: getattr(held, method)())


@pytest.mark.parametrize("method", ["__arrow_c_array__", "__arrow_c_stream__"])
def test_what_hands_out_arrow_data_is_scored(make_bundle: MakeBundle, method: str) -> None:
    scorer = vaelocity.load(make_bundle([7, 12, 3]))
    rows = np.random.default_rng(0).standard_normal((7, scorer.n_features)).astype(np.float32)
    columns = {name: rows[:, j] for j, name in enumerate(scorer.feature_names)}
    made = pa.table(columns) if "stream" in method else pa.record_batch(columns)
    other = type("Frame", (Elsewhere,), {})(method, made)
    assert scorer.score(other).tobytes() == scorer.score(rows).tobytes()
