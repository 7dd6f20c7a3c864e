"""Where scores go: Parquet, Arrow, CSV and NumPy files, written batch by batch.

A file appears under its name only when it is complete: it is written beside it and renamed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from vaelocity.cli.console import CommandError

Columns = Mapping[str, npt.NDArray[Any]]


class Format(Protocol):
    """One open output in one format. Columns of every call have the names of the first call."""

    def write(self, columns: Columns) -> None: ...
    def close(self, metadata: Mapping[str, str]) -> None: ...


class _ArrowTables:
    """Columns as Arrow tables; the first ones decide the schema."""

    def __init__(self, handle: IO[bytes]) -> None:
        self._handle = handle
        self._writer: Any = None

    def write(self, columns: Columns) -> None:
        table = _arrow(columns)
        if self._writer is None:
            self._writer = self._open(table.schema)
        self._writer.write_table(table)

    def close(self, metadata: Mapping[str, str]) -> None:
        if self._writer is not None:
            self._writer.close()

    def _open(self, schema: Any) -> Any:
        raise NotImplementedError


class ParquetFormat(_ArrowTables):
    """Parquet, one row group a batch, zstd; dictionary pages only help the label, not floats."""

    def _open(self, schema: Any) -> Any:
        import pyarrow.parquet as pq

        return pq.ParquetWriter(self._handle, schema, compression="zstd", use_dictionary=["label"])

    def close(self, metadata: Mapping[str, str]) -> None:
        if self._writer is not None:
            self._writer.add_key_value_metadata(dict(metadata))
        super().close(metadata)


class ArrowFormat(_ArrowTables):
    """An Arrow IPC file (Feather version 2)."""

    def _open(self, schema: Any) -> Any:
        import pyarrow.ipc

        return pyarrow.ipc.new_file(self._handle, schema)


class CsvFormat:
    """CSV with a header; scores in the shortest form that reads back as the same float32."""

    def __init__(self, handle: IO[bytes]) -> None:
        self._handle = handle
        self._header = True

    def write(self, columns: Columns) -> None:
        import pyarrow.csv

        table = _arrow(columns)
        options = pyarrow.csv.WriteOptions(include_header=self._header, quoting_style="needed")
        pyarrow.csv.write_csv(table, self._handle, options)
        self._header = False

    def close(self, metadata: Mapping[str, str]) -> None:
        self._handle.flush()


class NumpyFormat:
    """A structured npy array. The number of rows is put into the header at the end: NumPy pads
    the header so that the first axis can grow in place (numpy.lib.format, "format version 1.0").
    """

    def __init__(self, handle: IO[bytes]) -> None:
        self._handle = handle
        self._dtype: np.dtype[Any] | None = None
        self._n = 0

    def write(self, columns: Columns) -> None:
        if self._dtype is None:
            self._dtype = np.dtype([(name, values.dtype) for name, values in columns.items()])
            self._write_header()
        n = len(next(iter(columns.values())))
        records = np.empty(n, self._dtype)
        for name, values in columns.items():
            records[name] = values
        self._handle.write(records.tobytes())
        self._n += n

    def close(self, metadata: Mapping[str, str]) -> None:
        if self._dtype is None:
            return
        end = self._handle.tell()
        self._handle.seek(0)
        self._write_header()
        self._handle.seek(end)

    def _write_header(self) -> None:
        assert self._dtype is not None
        header = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self._n,),
        }
        np.lib.format.write_array_header_1_0(self._handle, header)


_FORMATS: dict[str, Callable[[IO[bytes]], Format]] = {
    ".parquet": ParquetFormat,
    ".pq": ParquetFormat,
    ".arrow": ArrowFormat,
    ".feather": ArrowFormat,
    ".csv": CsvFormat,
    ".npy": NumpyFormat,
}


class ScoreWriter(AbstractContextManager["ScoreWriter"]):
    """Writes columns to `target`: a path, by its suffix, or "-" for CSV on stdout.

    metadata: what a Parquet file says of itself beside its schema; filled in until the end.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.metadata: dict[str, str] = {}
        self._final: Path | None = None
        if target == "-":
            self._handle: IO[bytes] = sys.stdout.buffer
            self._format: Format = CsvFormat(self._handle)
            return
        self._final = Path(target)
        self._partial = self._final.with_name(f".{self._final.name}.{os.getpid()}.partial")
        self._handle = self._partial.open("wb")
        self._format = _FORMATS[self._final.suffix.lower()](self._handle)

    def write(self, columns: Columns) -> None:
        """Append one batch: arrays [n] by column name, every time the same names."""
        self._format.write(columns)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if self._final is None:
            if error is None:
                self._format.close(self.metadata)
            return
        try:
            if error is None:
                self._format.close(self.metadata)
                self._handle.close()
                os.replace(self._partial, self._final)
        finally:
            self._handle.close()
            self._partial.unlink(missing_ok=True)


def check_target(target: str) -> None:
    """Raise CommandError for a suffix that no writer knows."""
    if target != "-" and Path(target).suffix.lower() not in _FORMATS:
        known = " ".join(sorted(_FORMATS))
        raise CommandError(f"--output {target}: expected -, or a name that ends in one of {known}")


def _arrow(columns: Columns) -> Any:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise CommandError('this output needs pyarrow: pip install "vaelocity[cli]"') from error
    return pa.table({name: pa.array(values) for name, values in columns.items()})
