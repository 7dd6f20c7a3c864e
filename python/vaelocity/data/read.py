"""`read` and `batches`: files of any supported format into tables of float32 rows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from vaelocity.data.convert import Place, fill
from vaelocity.data.convert import weights as to_weights
from vaelocity.data.files import Job, Piece, find_files
from vaelocity.data.labels import Coder, as_text, is_text
from vaelocity.data.source import AnyArray, Options
from vaelocity.data.table import Table

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

_BATCH_ROWS = 65536


def read(
    path: Paths,
    features: Sequence[str] | None = None,
    label: str | None = None,
    weight: str | None = None,
    key: str | None = None,
    n_rows: int | None = None,
    *,
    class_names: Sequence[str] | None = None,
    header: bool | None = None,
    delimiter: str | None = None,
    format: str | None = None,
) -> Table:
    """All rows of one file, of a glob, or of a list of files, in file order.

    path         files are recognised by suffix: npy npz csv tsv parquet arrow feather arrows h5
                 hdf5 root idx; csv and tsv also compressed (gz, bz2, zst), idx gzipped. A glob is
                 sorted by name, with numbers by value (part-2 before part-10). All files need the
                 same columns; their order may differ.
    features     columns to take, in this order; default: all but label and weight
    label        column of labels: whole numbers are kept, text becomes codes into class_names
                 (in alphabetical order). npz and HDF5: `y` beside `X` is read without asking; idx:
                 `y` from *labels-idx1-ubyte beside *images-idx3-ubyte
    weight       column of weights; npz and HDF5: `weight` beside `X` is read without asking
    key          npz: array of rows (default `X`); HDF5: dataset or group; ROOT: tree
    n_rows       stop after so many rows
    class_names  the classes in the order of their codes, to give several files the same codes
    header       csv: False if the first row is data (columns are then x0, x1, ...); True if it is
                 names although they look like numbers; default: names, and an error for numbers
    delimiter    csv: one character; default a comma, for tsv a tab
    format       npy npz csv parquet arrow hdf5 root idx, where the suffix does not say

    Values become float32 here: float64 is rounded, integers beyond 2^24 may lose their last
    digits, bool is 0 and 1, missing numbers are NaN. NaN and infinities are kept: `Table.nan_rows`.

    Raises FileNotFoundError; ImportError naming what to install; and DataError (a ValueError) that
    names the file and the column, for a file that is damaged, a column that is unknown, doubled or
    not numeric, a finite value beyond float32, a label or weight that is missing.
    """
    job = Job(
        find_files(path, Options(key, header, delimiter), format),
        None if features is None else _names("features", features),
        label,
        weight,
        None if class_names is None else _names("class_names", class_names),
    )
    parts = list(_assemble(job, None, _positive("n_rows", n_rows)))
    coder = Coder(job.class_names, _texts(job, parts))
    return _join([part.table(job, coder) for part in parts], job)


def batches(
    path: Paths,
    rows: int = _BATCH_ROWS,
    features: Sequence[str] | None = None,
    label: str | None = None,
    weight: str | None = None,
    key: str | None = None,
    n_rows: int | None = None,
    *,
    class_names: Sequence[str] | None = None,
    header: bool | None = None,
    delimiter: str | None = None,
    format: str | None = None,
) -> Iterator[Table]:
    """The rows that `read` would give, as tables of `rows` rows (the last one may be shorter).

    Memory is bounded by a few batches, whatever the size of the files; only an npz array is loaded
    whole. No rows, no tables. The arguments are those of `read`. Labels get the codes that `read`
    gives them: for labels that are text this reads the label column once before the first batch,
    unless class_names are given.
    """
    files = find_files(path, Options(key, header, delimiter), format)
    chosen = None if features is None else _names("features", features)
    classes = None if class_names is None else _names("class_names", class_names)
    size, limit = _positive("rows", rows), _positive("n_rows", n_rows)
    return _batches(Job(files, chosen, label, weight, classes), size, limit)


def _batches(job: Job, rows: int | None, limit: int | None) -> Iterator[Table]:
    coder: Coder | None = None
    for part in _assemble(job, rows, limit):
        if coder is None:
            coder = Coder(job.class_names, _scan_texts(job, part, limit))
        yield part.table(job, coder)


@dataclass
class _Part:
    """Converted rows, with labels as they are in the file until every one of them is known."""

    rows: npt.NDArray[np.float32]
    labels: list[tuple[AnyArray, Place]] = field(default_factory=list)
    weights: list[npt.NDArray[np.float32]] = field(default_factory=list)
    n: int = 0

    def add(self, piece: Piece, start: int, n: int) -> None:
        at, place = slice(start, start + n), Place(piece.path, piece.row + start)
        values = piece.features
        cut = values[at] if isinstance(values, np.ndarray) else [v[at] for v in values]
        fill(self.rows[self.n : self.n + n], cut, piece.names, place)
        if piece.label is not None:
            self.labels.append((piece.label[at], place))
        if piece.weight is not None:
            self.weights.append(to_weights(piece.weight[at], piece.weight_name, place))
        self.n += n

    def table(self, job: Job, coder: Coder) -> Table:
        name = job.label_name
        codes = [coder.encode(values, name, place) for values, place in self.labels]
        return Table(
            self.rows[: self.n],
            list(job.names),
            np.concatenate(codes) if codes else None,
            np.concatenate(self.weights) if self.weights else None,
            coder.class_names if codes else None,
        )


def _assemble(job: Job, rows: int | None, limit: int | None) -> Iterator[_Part]:
    """Parts of `rows` rows across blocks and files; None: as many as are known to come."""
    part: _Part | None = None
    left = limit
    for piece in job.pieces(rows or _BATCH_ROWS):
        start = 0
        while start < piece.n and left != 0:
            if part is None:
                size = rows or max(piece.ahead or _BATCH_ROWS, 1)
                size = size if left is None else min(size, left)
                part = _Part(np.empty((size, len(job.names)), np.float32))
            n = min(len(part.rows) - part.n, piece.n - start)
            part.add(piece, start, n)
            start += n
            left = None if left is None else left - n
            if part.n == len(part.rows):
                yield part
                part = None
        if left == 0:
            return
    if part is not None:
        yield part


def _texts(job: Job, parts: Sequence[_Part]) -> set[str]:
    """Every label that is text."""
    found: set[str] = set()
    for part in parts:
        for values, place in part.labels:
            if is_text(values):
                found.update(np.unique(as_text(values, job.label_name, place)).tolist())
    return found


def _scan_texts(job: Job, first: _Part, limit: int | None) -> set[str]:
    """Every label that is text, from a pass over the label column alone; none if not needed."""
    if job.class_names is not None or not any(is_text(values) for values, _ in first.labels):
        return set()
    found: set[str] = set()
    left = limit
    for piece in job.pieces(_BATCH_ROWS, labels_only=True):
        assert piece.label is not None
        values = piece.label if left is None else piece.label[:left]
        if is_text(values):
            place = Place(piece.path, piece.row)
            found.update(np.unique(as_text(values, job.label_name, place)).tolist())
        left = None if left is None else left - len(values)
        if left == 0:
            break
    return found


def _join(tables: list[Table], job: Job) -> Table:
    """One table of all rows; the parts are let go one by one, so memory is used once."""
    if len(tables) == 1:
        return tables[0]
    n = sum(len(table) for table in tables)
    rows = np.empty((n, len(job.names)), np.float32)
    labels = np.empty(n, np.int64) if job.has_label else None
    weights = np.empty(n, np.float32) if job.has_weight else None
    class_names = tables[0].class_names if tables else job.class_names if job.has_label else None
    start = 0
    tables.reverse()
    while tables:
        table = tables.pop()
        at = slice(start, start + len(table))
        rows[at] = table.rows
        if labels is not None and table.labels is not None:
            labels[at] = table.labels
        if weights is not None and table.weights is not None:
            weights[at] = table.weights
        start = at.stop
    return Table(rows, list(job.names), labels, weights, class_names)


def _positive(what: str, value: int | None) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{what}: expected a whole number, got {value!r}")
    if value < 1:
        raise ValueError(f"{what}: expected at least 1, got {value}")
    return int(value)


def _names(what: str, names: Sequence[str]) -> list[str]:
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"{what}: expected a list of names, got {names!r}")
    if len(names) == 0:
        raise ValueError(f"{what}: expected at least one name, got none")
    return list(names)
