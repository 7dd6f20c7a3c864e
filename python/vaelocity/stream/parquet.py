"""Parquet files of scores: one file for all, or a folder that gets one for every commit."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vaelocity.record_batch import join
from vaelocity.stream.ends import Source

__all__ = ["ParquetFileSink", "ParquetFolderSink", "parquet_sink"]

log = logging.getLogger(__name__)

# Rows of a row group, at least; and batches that wait for it: a batch of few rows takes a kilobyte.
_GROUP_ROWS = 65536
_HELD_BATCHES = 1024


def parquet_sink(address: str, source: Source) -> ParquetFileSink | ParquetFolderSink:
    """NAME.parquet is a file; a folder that exists, or a name that ends in /, is a folder."""
    path = Path(address)
    if address.endswith("/") or path.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        return ParquetFolderSink(path)
    if path.suffix not in (".parquet", ".pq"):
        raise ValueError(f"{address}: expected kafka://, zmq://, -, null:, NAME.parquet or FOLDER/")
    if source.commits or not source.replays:
        raise ValueError(
            f"{address}: a Parquet file is lost if it is not finished, and {source.name} may have "
            "no end: give FOLDER/, which gets a file for every commit"
        )
    if not path.parent.is_dir():
        raise ValueError(f"{address}: there is no folder {path.parent}")
    return ParquetFileSink(path)


class ParquetFileSink:
    """One file, which appears under its name when it is complete.

    Its schema's metadata names the model; where that changed on the way, the first one stands in
    the schema, and `vaelocity.models` lists all with their first rows. Its row groups are of many
    rows, however few of a micro-batch were accepted.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        self._partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        self._writer: Any = None
        self._schema: pa.Schema | None = None
        self._models: list[tuple[int, str]] = []
        self._rows = 0
        self._held: list[pa.RecordBatch] = []
        self._held_rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        if self._writer is None:
            self._schema = batch.schema
            self._writer = pq.ParquetWriter(
                self._partial, batch.schema, compression="zstd", use_dictionary=_texts(batch.schema)
            )
        model = (batch.schema.metadata or {}).get(b"vaelocity.fingerprint", b"").decode()
        if not self._models or self._models[-1][1] != model:
            self._models.append((self._rows, model))
        assert self._schema is not None
        if batch.num_rows:
            self._hold(batch.replace_schema_metadata(self._schema.metadata))
        self._rows += batch.num_rows
        if self._held_rows >= _GROUP_ROWS:
            self._write_group()

    def flush(self, positions: Sequence[Any]) -> None:
        """Rows are safe only once the file is complete, and it is not."""

    def _hold(self, batch: pa.RecordBatch) -> None:
        self._held.append(batch)
        self._held_rows += batch.num_rows
        if len(self._held) >= _HELD_BATCHES:
            self._held = [join(self._held, batch.schema)]

    def _write_group(self) -> None:
        held, self._held, self._held_rows = self._held, [], 0
        if held:
            self._writer.write_table(pa.Table.from_batches(held))

    def close(self, *, complete: bool) -> None:
        writer = self._writer
        if writer is None:
            return
        try:
            if complete:
                self._write_group()
                models = " ".join(f"{row}:{model}" for row, model in self._models)
                writer.add_key_value_metadata({"vaelocity.models": models})
                writer.close()
                _sync(self._partial)
                self._partial.replace(self._path)
                _sync(self._path.parent)
            else:
                log.warning("%s: not written, for it would not be complete", self.name)
                with suppress(OSError, pa.ArrowException):
                    writer.close()
        finally:
            self._writer = None
            self._partial.unlink(missing_ok=True)


class ParquetFolderSink:
    """FOLDER/<start>-<process>-<number>.parquet, a new one for every flush that has rows.

    A file that can be seen is complete and on the disk. After a crash the events since the last
    commit are scored again: they may be in two files.
    """

    def __init__(self, folder: Path) -> None:
        self.name = f"{folder}/"
        self._folder = folder
        self._stem = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}"
        self._count = 0
        self._part: ParquetFileSink | None = None

    def write(self, batch: pa.RecordBatch) -> None:
        if batch.num_rows == 0:
            return
        if self._part is None:
            path = self._folder / f"{self._stem}-{self._count:06}.parquet"
            self._part = ParquetFileSink(path)
        self._part.write(batch)

    def flush(self, positions: Sequence[Any]) -> None:
        self.close(complete=True)

    def close(self, *, complete: bool) -> None:
        part, self._part = self._part, None
        if part is not None:
            self._count += 1
            part.close(complete=complete)


def _texts(schema: pa.Schema) -> list[str]:
    """Dictionary pages help columns of text; scores are all different."""
    return [field.name for field in schema if pa.types.is_string(field.type)]


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
