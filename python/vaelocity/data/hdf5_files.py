"""HDF5 files through h5py: a dataset of rows, a compound dataset, or a group of 1-D columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vaelocity.data.numpy_files import (
    CLASS_NAMES,
    FEATURE_NAMES,
    LABEL,
    ROWS,
    WEIGHT,
    by_names,
    text_list,
)
from vaelocity.data.source import ArraySource, DataError, Options, Source, check_known, need


def open_hdf5(path: Path, options: Options) -> Source:
    """The dataset or group `key`, else X, else the only table of the file.

    [n, a, b] is flattened to [n, a * b]. Labels and weights: datasets of the same group.
    """
    h5py = need("h5py", "io")
    file = h5py.File(path, "r")
    try:
        return _choose(h5py, path, file, options.key)
    except BaseException:
        file.close()
        raise


def _choose(h5py: Any, path: Path, file: Any, key: str | None) -> Source:
    tables, columns = _contents(h5py, file)
    if key is None:
        if ROWS in tables:
            key = ROWS
        elif len(tables) == 1:
            key = tables[0]
        elif tables:
            listed = ", ".join(tables[:12])
            raise DataError(f"{path}: it has several datasets of rows; choose by key=: {listed}")
        else:
            return _columns(h5py, path, file, file)
        by_convention = True
    else:
        key = key.strip("/")
        check_known("key", [key], sorted({*tables, *columns, *_groups(h5py, file)}), path)
        by_convention = key == ROWS
    if isinstance(file[key], h5py.Group):
        return _columns(h5py, path, file[key], file)
    group, name = file[key].parent, file[key].name.rpartition("/")[2]
    return by_names(_Group(h5py, group), name, by_convention, path, file)


def _contents(h5py: Any, file: Any) -> tuple[list[str], list[str]]:
    """Paths of the datasets that are tables ([n, d, ...] or compound), and of the 1-D ones."""
    tables: list[str] = []
    columns: list[str] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim:
            is_table = item.ndim > 1 or item.dtype.names is not None
            (tables if is_table else columns).append(name)

    file.visititems(visit)
    return tables, columns


def _groups(h5py: Any, file: Any) -> list[str]:
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Group) else None)
    return found


def _columns(h5py: Any, path: Path, group: Any, file: Any) -> Source:
    """Every 1-D dataset of the group is a column."""
    arrays = _Group(h5py, group)
    beside = {LABEL, WEIGHT, CLASS_NAMES, FEATURE_NAMES}
    names = [name for name in arrays if name not in beside and len(arrays.shape(name)) == 1]
    if not names:
        raise DataError(
            f"{path}: {group.name!r} holds no 1-D columns; choose a dataset by key=: "
            f"{', '.join(_contents(h5py, file)[0][:12]) or 'there is none'}"
        )
    return ArraySource(
        path=path,
        names=names,
        extras=[name for name in arrays if name not in names],
        n_rows=len(arrays[names[0]]),
        label=LABEL if LABEL in arrays else None,
        weight=WEIGHT if WEIGHT in arrays else None,
        class_names=text_list(arrays[CLASS_NAMES][:]) if CLASS_NAMES in arrays else None,
        columns=arrays,
        handle=file,
    )


class _Group(Mapping[str, Any]):
    """The datasets of a group by name; text is decoded as it is sliced."""

    def __init__(self, h5py: Any, group: Any) -> None:
        self._group = group
        self._text = h5py.check_string_dtype
        self._names = [name for name in group if isinstance(group[name], h5py.Dataset)]

    def __getitem__(self, name: str) -> Any:
        dataset = self._group[name]
        return dataset if self._text(dataset.dtype) is None else dataset.asstr()

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._group[name].shape)
