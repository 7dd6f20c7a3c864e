"""Parquet and Arrow files (IPC file, Feather, IPC stream) through pyarrow."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vaelocity.data.source import AnyArray, Block, DataError, Options, Source, need


def open_parquet(path: Path, options: Options) -> Source:
    """Flat columns of a Parquet file; checksums of its pages, where it has them, are verified."""
    parquet = need("pyarrow.parquet", "io")
    # pre_buffer would hold all that has been read until the file is closed.
    file = parquet.ParquetFile(path, page_checksum_verification=True, pre_buffer=False)

    def stream(names: Sequence[str], rows: int) -> Iterator[Any]:
        yield from file.iter_batches(batch_size=rows, columns=list(names))

    return _source(path, file.schema_arrow, int(file.metadata.num_rows), stream, file)


def open_ipc(path: Path, options: Options) -> Source:
    """An Arrow IPC file (Feather version 2 is one) or an IPC stream, told apart by its bytes."""
    pa = need("pyarrow", "io")
    with path.open("rb") as file:
        magic = file.read(6)
    if magic[:4] == b"FEA1":
        raise DataError(f"{path}: Feather version 1 is not supported; write it as version 2")
    return _open_ipc_file(pa, path) if magic == b"ARROW1" else _open_ipc_stream(pa, path)


def _open_ipc_file(pa: Any, path: Path) -> Source:
    mapped = pa.memory_map(str(path))
    reader = pa.ipc.open_file(mapped)

    def stream(names: Sequence[str], rows: int) -> Iterator[Any]:
        chosen = reader
        if reader.num_record_batches and not _lies_in(mapped, reader.get_batch(0)):
            fields = [reader.schema.names.index(name) for name in names]
            chosen = pa.ipc.open_file(mapped, options=pa.ipc.IpcReadOptions(included_fields=fields))
        for k in range(chosen.num_record_batches):
            yield from _slices(chosen.get_batch(k), rows)

    # The footer does not tell the number of rows, and counting would decompress every batch.
    return _source(path, reader.schema, None, stream, mapped)


def _open_ipc_stream(pa: Any, path: Path) -> Source:
    with pa.OSFile(str(path)) as file:
        schema = pa.ipc.open_stream(file).schema

    def stream(names: Sequence[str], rows: int) -> Iterator[Any]:
        with pa.OSFile(str(path)) as file:
            for batch in pa.ipc.open_stream(file):
                yield from _slices(batch.select(list(names)), rows)

    return _source(path, schema, None, stream, None)


@dataclass
class ArrowSource(Source):
    """stream(names, rows) gives record batches that hold at least the named columns."""

    stream: Callable[[Sequence[str], int], Iterator[Any]] | None = None
    handle: Any = None

    def blocks(
        self, features: Sequence[str], label: str | None, weight: str | None, rows: int
    ) -> Iterator[Block]:
        assert self.stream is not None
        others = [name for name in (label, weight) if name is not None]
        for batch in self.stream([*features, *others], rows):
            yield Block(
                [to_numpy(batch.column(name)) for name in features],
                {name: to_numpy(batch.column(name)) for name in others},
                batch.num_rows,
            )

    def close(self) -> None:
        self.stream = None
        if self.handle is not None:
            self.handle.close()


def to_numpy(column: Any) -> AnyArray:
    """An Arrow array as NumPy [n]: a null number is NaN, a null text is None (object array)."""
    pa = need("pyarrow", "io")
    kind = column.type
    if isinstance(column, pa.ExtensionArray):
        column, kind = column.storage, column.type.storage_type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if pa.types.is_decimal(kind) or (pa.types.is_boolean(kind) and column.null_count):
        column = column.cast(pa.float64())
    array = column.to_numpy(zero_copy_only=False)
    return np.asarray(array)


def _source(path: Path, schema: Any, n: int | None, stream: Any, handle: Any) -> ArrowSource:
    """A row index that pandas stored is no feature; it may still be named as a label."""
    index = [name for name in schema.names if re.fullmatch(r"__index_level_\d+__", name)]
    return ArrowSource(
        path=path,
        names=[name for name in schema.names if name not in index],
        extras=index,
        n_rows=n,
        stream=stream,
        handle=handle,
    )


def _lies_in(mapped: Any, batch: Any) -> bool:
    """Whether a record batch is the file's own memory: where the file is not compressed. Columns
    that nobody reads then cost nothing, whereas pyarrow copies those that it is told to choose."""
    mapped.seek(0)
    start = mapped.read_buffer(1).address
    parts = [part for column in batch.columns for part in column.buffers() if part and part.size]
    return all(start <= part.address < start + mapped.size() for part in parts)


def _slices(batch: Any, rows: int) -> Iterator[Any]:
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)
