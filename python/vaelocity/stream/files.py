"""Events from files: every format of vaelocity.data, block by block, as Arrow."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vaelocity.data.arrow_files import ArrowSource
from vaelocity.data.convert import Place, fill
from vaelocity.data.files import File, find_files
from vaelocity.data.formats import reading
from vaelocity.data.source import AnyArray, DataError, Options, check_known, index_names
from vaelocity.data.source import Source as OpenFile
from vaelocity.stream.message import Message

__all__ = ["FILE_ROWS", "FileSource"]

FILE_ROWS = 65536
"""Rows of a block, at most."""

_ROWS = "features"


class FileSource:
    """The rows of one file, a glob or a list of files, in file order.

    Features that are float32 columns in Parquet or Arrow stay as they lie; others become float32
    as vaelocity.data.read makes them, in one column of whole rows. Other columns keep their types.
    """

    commits = False
    replays = True

    def __init__(
        self,
        path: str | Sequence[str],
        features: Sequence[str],
        columns: Sequence[str] = (),
        *,
        key: str | None = None,
        rows: int = FILE_ROWS,
    ) -> None:
        """columns: what to read beside the features. Raises what vaelocity.data.read raises."""
        self.name = path if isinstance(path, str) else ", ".join(path)
        self._features, self._columns = list(features), list(columns)
        self._stopped = False
        files = find_files(path, Options(key), None)
        self._messages = self._read(files, rows)

    def poll(self, timeout: float) -> Sequence[Message] | None:
        if self._stopped:
            return None
        found = next(self._messages, None)
        return None if found is None else [found]

    def stop(self) -> None:
        self._stopped = True

    def commit(self, positions: Sequence[Any]) -> None:
        """Files can be read again from the start."""

    def close(self) -> None:
        self._stopped = True
        self._messages.close()

    def _read(self, files: Sequence[File], rows: int) -> Any:
        for file in files:
            with file.open() as source:
                features = self._features_of(source)
                check_known("columns", self._columns, [*source.names, *source.extras], source.path)
                row, batches = 0, self._batches(source, file, features, rows)
                while True:
                    with reading(file.path, file.format.name):
                        batch = next(batches, None)
                    if batch is None:
                        break
                    yield Message(batch, time.perf_counter(), f"{file.path} row {row}")
                    row += batch.num_rows

    def _features_of(self, source: OpenFile) -> list[str]:
        """The file's columns that are the features: by name, or all of them if they have none."""
        wanted, found = self._features, source.names
        beside = {source.label, source.weight, *self._columns}
        nameless = [name for name in found if name not in beside]
        if not set(wanted) <= set(found) and nameless == index_names([len(wanted)]):
            return nameless
        lists = isinstance(source, ArrowSource) and _ROWS in found
        if lists and not set(wanted) <= set(found):
            return [_ROWS]
        check_known("features", wanted, found, source.path)
        return list(wanted)

    def _batches(
        self, source: OpenFile, file: File, features: list[str], rows: int
    ) -> Iterator[pa.RecordBatch]:
        if isinstance(source, ArrowSource):
            assert source.stream is not None
            wanted = list(dict.fromkeys([*features, *self._columns]))
            row = 0
            for batch in source.stream(wanted, rows):
                yield self._arrow(batch.select(wanted), features, file.path, row)
                row += batch.num_rows
            return
        if self._columns and file.format.name == "csv":
            raise DataError(
                f"{file.path}: csv has no types, so no column but the features can be passed on; "
                "use parquet or arrow"
            )
        row = 0
        for block in source.blocks([*features, *self._columns], None, None, rows):
            yield self._arrays(block.features, features, block.n, Place(file.path, row))
            row += block.n

    def _arrow(
        self, batch: pa.RecordBatch, features: list[str], path: Path, row: int
    ) -> pa.RecordBatch:
        if features == [_ROWS]:
            return batch
        if all(batch.column(name).type == pa.float32() for name in features):
            # Columns without names get the model's.
            model = dict(zip(features, self._features, strict=True))
            return batch.rename_columns([model.get(name, name) for name in batch.schema.names])
        values = [np.asarray(batch.column(n).to_numpy(zero_copy_only=False)) for n in features]
        place = Place(path, row)
        return self._made(
            self._float32(values, features, batch.num_rows, place),
            [batch.column(name) for name in self._columns],
        )

    def _arrays(self, values: Any, features: list[str], n: int, place: Place) -> pa.RecordBatch:
        d, rectangular = len(features), isinstance(values, np.ndarray)
        rows = values[:, :d] if rectangular else values[:d]
        others = values[:, d:].T if rectangular else values[d:]
        return self._made(
            self._float32(rows, features, n, place),
            [pa.array(np.ascontiguousarray(column)) for column in others],
        )

    def _float32(self, values: Any, features: list[str], n: int, place: Place) -> AnyArray:
        """Rows [n, d], float32 in C order."""
        if isinstance(values, np.ndarray) and values.dtype == np.float32:
            return np.ascontiguousarray(values)
        out = np.empty((n, len(features)), np.float32)
        fill(out, values, features, place)
        return out

    def _made(self, rows: AnyArray, others: list[pa.Array]) -> pa.RecordBatch:
        lists = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])
        return pa.record_batch([lists, *others], names=[_ROWS, *self._columns])
