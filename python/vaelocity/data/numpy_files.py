"""NumPy files: npy (memory-mapped) and npz. Nothing is unpickled: object arrays are refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from vaelocity.data.source import (
    AnyArray,
    ArraySource,
    DataError,
    Options,
    Source,
    check_known,
    index_names,
)

ROWS, LABEL, WEIGHT = "X", "y", "weight"  # the names of the npz and HDF5 convention
FEATURE_NAMES, CLASS_NAMES = "feature_names", "class_names"


def open_npy(path: Path, options: Options) -> Source:
    """[n, ...] numbers, or a structured [n] whose fields are the columns; read through a map."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        if "pickle" in str(error) or "Python objects" in str(error):
            raise _pickled(path, "it") from error
        raise
    if not isinstance(array, np.ndarray):
        array.close()
        raise DataError(f"{path}: expected an npy file, got a zip archive (npz?)")
    return from_arrays(path, array, "the array")


def open_npz(path: Path, options: Options) -> Source:
    """X, and by convention y, weight, feature_names, class_names; or 1-D arrays, one a column."""
    # Opened here, not by np.load, which leaves a damaged archive open.
    file = path.open("rb")
    try:
        opened = np.load(file, allow_pickle=False)
        if not isinstance(opened, np.lib.npyio.NpzFile):
            raise DataError(f"{path}: expected an npz archive, got another NumPy file")
        archive = _Archive(path, opened)
        key = _rows_key(archive, options.key)
        if key is None:
            return _columns(archive, file)
        by_convention = options.key in (None, ROWS)
        return by_names(archive, key, by_convention, path, file)
    except BaseException:
        file.close()
        raise


def by_names(
    arrays: Mapping[str, Any], key: str, by_convention: bool, path: Path, handle: Any
) -> ArraySource:
    """The source made of arrays[key] and what the convention puts beside it.

    y and weight beside rows that the caller chose by `key` may belong to other rows, so they are
    taken only where they are asked for; feature_names, only where their number fits.
    """
    rows = arrays[key]
    names = arrays.get(FEATURE_NAMES)
    if names is not None and not by_convention and len(names) != np.prod(rows.shape[1:]):
        names = None
    beside = [name for name in arrays if name != key]
    source = from_arrays(path, rows, repr(key), names)
    source.extras, source.columns, source.handle = beside, arrays, handle
    if CLASS_NAMES in beside:
        source.class_names = text_list(arrays[CLASS_NAMES])
    if by_convention:
        source.label = LABEL if LABEL in beside else None
        source.weight = WEIGHT if WEIGHT in beside else None
        for name in {source.label, source.weight} & set(source.names):
            raise DataError(f"{path}: {name!r} is both a feature of {key!r} and an array beside it")
    return source


def from_arrays(path: Path, rows: Any, what: str, feature_names: Any = None) -> ArraySource:
    """The source of rows ([n, ...] or structured [n]), named by feature_names or by index."""
    if rows.dtype.names is not None and len(rows.shape) == 1:
        names = list(rows.dtype.names)
    elif len(rows.shape) >= 2:
        names = index_names(rows.shape[1:])
        if feature_names is not None:
            given = text_list(feature_names)
            if len(given) != len(names):
                raise DataError(
                    f"{path}: {len(given)} {FEATURE_NAMES} for {len(names)} columns of {what}"
                )
            names = given
    else:
        raise DataError(
            f"{path}: {what} has shape {tuple(rows.shape)}; "
            f"expected rows and columns [n, d], or a structured array [n]"
        )
    return ArraySource(path=path, names=names, n_rows=int(rows.shape[0]), array=rows)


def text_list(values: Any) -> list[str]:
    """Names as a list of str; bytes are decoded."""
    flat = np.asarray(values).reshape(-1).tolist()
    return [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in flat]


class _Archive(Mapping[str, AnyArray]):
    """The arrays of an npz, each read once and only when it is wanted."""

    def __init__(self, path: Path, archive: np.lib.npyio.NpzFile) -> None:
        self._path, self._archive = path, archive
        self._read: dict[str, AnyArray] = {}

    def __getitem__(self, name: str) -> AnyArray:
        if name not in self._read:
            try:
                self._read[name] = self._archive[name]
            except ValueError as error:
                if "pickle" in str(error):
                    raise _pickled(self._path, f"array {name!r}") from error
                raise
        return self._read[name]

    def __contains__(self, name: object) -> bool:
        return name in self._archive.files

    def __iter__(self) -> Iterator[str]:
        return iter(self._archive.files)

    def __len__(self) -> int:
        return len(self._archive.files)


def _rows_key(archive: _Archive, key: str | None) -> str | None:
    """The name of the rows array; None where the archive holds 1-D columns only."""
    if key is not None:
        check_known("key", [key], list(archive), archive._path)
        return key
    if ROWS in archive:
        return ROWS
    tables = [name for name in archive if archive[name].ndim > 1 or archive[name].dtype.names]
    if len(tables) > 1:
        listed = ", ".join(tables[:12]) + (", ..." if len(tables) > 12 else "")
        raise DataError(f"{archive._path}: it has no array {ROWS!r}; choose one by key=: {listed}")
    return tables[0] if tables else None


def _columns(archive: _Archive, file: IO[bytes]) -> ArraySource:
    beside = {LABEL, WEIGHT, CLASS_NAMES}
    names = [name for name in archive if name not in beside and archive[name].ndim == 1]
    if not names:
        raise DataError(f"{archive._path}: it holds no rows: expected an array {ROWS!r} [n, d]")
    return ArraySource(
        path=archive._path,
        names=names,
        extras=[name for name in archive if name not in names],
        n_rows=len(archive[names[0]]),
        label=LABEL if LABEL in archive else None,
        weight=WEIGHT if WEIGHT in archive else None,
        class_names=text_list(archive[CLASS_NAMES]) if CLASS_NAMES in archive else None,
        columns=archive,
        handle=file,
    )


def _pickled(path: Path, what: str) -> DataError:
    return DataError(
        f"{path}: {what} holds Python objects, which only unpickling could read; "
        f"that is never done: save numbers instead"
    )
