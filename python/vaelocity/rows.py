"""Rows as people hold them, turned into what the kernels read, without a copy where it can be.

The kernels read a float32 array [n, d] with any strides, or d float32 columns [n] of one stride.
Nothing is cast: a float64 array is refused, because what its rounding loses is for its owner to
accept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from vaelocity import _core

Floats: TypeAlias = npt.NDArray[np.float32]
Layout: TypeAlias = Floats | list[Floats]

EXPECTED = (
    "a float32 numpy array [n, d] or CPU torch tensor, a list or dict of float32 columns, "
    "a pyarrow RecordBatch or what else hands out Arrow data, or a pandas DataFrame"
)

FLOAT32 = np.dtype(np.float32)


def layout_of(rows: Any, feature_names: Sequence[str]) -> Layout:
    """One array [n, d], or the d columns in the model's order.

    Columns that have names (dict, structured array, Arrow, pandas) are taken by the model's feature
    names and may be more than these; columns without names must be exactly these.

    Raises TypeError for a type or dtype that is not float32, ValueError for a missing column.
    """
    if isinstance(rows, np.ndarray):
        return _named(rows, rows.dtype.names, feature_names) if rows.dtype.names else rows
    package = type(rows).__module__.partition(".")[0]
    if package == "torch":
        return _from_torch(rows)
    if package == "pyarrow":
        return _from_arrow(rows, feature_names)
    if package == "pandas":
        return _named(rows, rows.columns, feature_names, lambda column: column.to_numpy())
    if isinstance(rows, Mapping):
        return _named(rows, rows.keys(), feature_names)
    if isinstance(rows, (list, tuple)):
        return _columns(rows, str)
    if hasattr(rows, "__arrow_c_stream__") or hasattr(rows, "__arrow_c_array__"):
        import pyarrow as pa

        return _from_arrow(pa.table(rows), feature_names)
    raise TypeError(f"rows: expected {EXPECTED}, got {type(rows).__name__}")


def n_rows(layout: Layout) -> int:
    """Rows in a layout; 0 for no columns at all."""
    if isinstance(layout, list):
        return len(layout[0]) if layout else 0
    return layout.shape[0] if layout.ndim else 0


def part(layout: Layout, start: int, stop: int) -> Layout:
    """Rows start to stop, as a view."""
    if isinstance(layout, list):
        return [column[start:stop] for column in layout]
    return layout[start:stop]


def _from_torch(tensor: Any) -> Floats:
    if not hasattr(tensor, "detach"):
        raise TypeError(f"rows: expected {EXPECTED}, got {type(tensor).__name__}")
    if tensor.device.type != "cpu":
        raise ValueError(f"rows: expected a tensor on the CPU, got one on {tensor.device}")
    if str(tensor.dtype) != "torch.float32":
        raise TypeError(f"rows: expected float32, got {tensor.dtype}; convert it yourself")
    array: Floats = tensor.detach().numpy()
    return array


def _from_arrow(batch: Any, feature_names: Sequence[str]) -> Layout:
    if not hasattr(batch, "schema") or not hasattr(batch, "column"):
        raise TypeError(f"rows: expected {EXPECTED}, got pyarrow {type(batch).__name__}")

    # A table in one chunk, or a record batch.
    parts = batch.to_batches() if hasattr(batch, "to_batches") else [batch]
    if len(parts) == 1:
        schema, array = parts[0].__arrow_c_array__()
        columns = _core.arrow_columns(schema, array, feature_names)
        if columns is not None:
            return columns
    names = batch.schema.names
    at = _list_column(batch.schema, feature_names)
    if at is not None:
        return _rows_of_lists(_one_chunk(batch.column(at)))

    def to_numpy(column: Any) -> npt.NDArray[Any]:
        column = _one_chunk(column)
        if str(column.type) != "float":  # pyarrow's name of float32
            raise TypeError(f"expected Arrow float32, got {column.type}; convert it yourself")
        # A null becomes NaN, and its row is flagged.
        array: npt.NDArray[Any] = column.to_numpy(zero_copy_only=column.null_count == 0)
        return array

    named = {name: batch.column(i) for i, name in enumerate(names)}
    return _named(named, names, feature_names, to_numpy)


def rows_of_lists(batches: Sequence[Any], feature_names: Sequence[str]) -> list[Floats] | None:
    """The rows [n, d] of each Arrow RecordBatch, all of one schema; None where it has no column of
    whole rows."""
    at = _list_column(batches[0].schema, feature_names)
    return None if at is None else [_rows_of_lists(batch.column(at)) for batch in batches]


def _list_column(schema: Any, feature_names: Sequence[str]) -> int | None:
    """Where a schema has whole rows in one column; None if features have columns of their own."""
    if set(feature_names) <= set(schema.names):
        return None
    lists = [i for i, kind in enumerate(schema.types) if _holds_rows(kind, feature_names)]
    return lists[0] if len(lists) == 1 else None


def _one_chunk(column: Any) -> Any:
    """The only chunk of a Table's column, or its chunks copied together; an array as it is."""
    if not hasattr(column, "combine_chunks"):
        return column
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _holds_rows(kind: Any, feature_names: Sequence[str]) -> bool:
    """Whether an Arrow type is fixed_size_list<float32>[d]: whole rows in one column."""
    size = getattr(kind, "list_size", None)
    return size == len(feature_names) and str(kind.value_type) == "float"


def _rows_of_lists(column: Any) -> Floats:
    """Rows [n, d] of a fixed_size_list column; a null row is a row of NaN, and is flagged."""
    d = column.type.list_size
    values = column.values.slice(column.offset * d, len(column) * d)
    array: Floats = values.to_numpy(zero_copy_only=values.null_count == 0).reshape(-1, d)
    if column.null_count:
        array = array.copy()
        array[column.is_null().to_numpy(zero_copy_only=False)] = np.nan
    return array


def _named(
    columns: Any, names: Iterable[str], feature_names: Sequence[str], to_numpy: Any = None
) -> list[Floats]:
    present = set(names)
    missing = [name for name in feature_names if name not in present]
    if missing:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise ValueError(
            f"rows: {len(missing)} of the model's {len(feature_names)} features are missing: "
            f"{shown}"
        )
    taken = []
    for name in feature_names:
        try:
            taken.append(to_numpy(columns[name]) if to_numpy else columns[name])
        except TypeError as error:
            raise TypeError(f"rows: column {name!r}: {error}") from None
    return _columns(taken, lambda j: repr(feature_names[j]))


def _columns(columns: Sequence[Any], name: Callable[[int], str]) -> list[Floats]:
    """Checked. The kernels walk all columns with one stride: where strides differ, copies that are
    dense."""
    for j, column in enumerate(columns):
        if not isinstance(column, np.ndarray):
            raise TypeError(
                f"rows: column {name(j)}: expected a numpy array, got {type(column).__name__}"
            )
        # A dtype is nearly always numpy's own object; comparing two takes ten times as long.
        if column.dtype is not FLOAT32 and column.dtype != FLOAT32:
            raise TypeError(
                f"rows: column {name(j)}: expected float32, got {column.dtype}; convert it yourself"
            )
    if len({column.strides for column in columns}) > 1:
        return [np.ascontiguousarray(column) for column in columns]
    return list(columns)
