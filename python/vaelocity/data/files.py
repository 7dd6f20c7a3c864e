"""From paths to blocks of rows: which files, which of their columns, and that these agree."""

from __future__ import annotations

import errno
import glob
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vaelocity.data.formats import Format, format_of, reading
from vaelocity.data.source import AnyArray, DataError, Options, Source, check_known

# Values of one block on their way from a file to the rows: 32 MB as float64.
_BLOCK_VALUES = 1 << 22


@dataclass(frozen=True)
class File:
    path: Path
    format: Format
    options: Options

    def open(self) -> Source:
        return self.format.open(self.path, self.options)


@dataclass(frozen=True)
class Piece:
    """n consecutive rows of a file, unconverted, the first of them being number `row`.

    ahead: rows known to come, this piece included; None where it is not known.
    """

    features: AnyArray | list[AnyArray]
    names: Sequence[str]
    label: AnyArray | None
    weight: AnyArray | None
    weight_name: str
    n: int
    path: Path
    row: int
    ahead: int | None


def find_files(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    options: Options,
    format_name: str | None,
) -> list[File]:
    """The files that a path, a glob or a list of these names, in order."""
    if isinstance(path, str | os.PathLike):
        given = [path]
    elif isinstance(path, Sequence) and all(isinstance(p, str | os.PathLike) for p in path):
        given = list(path)
    else:
        raise TypeError(f"path: expected a path or a list of paths, got {type(path).__name__}")
    if not given:
        raise ValueError("path: expected at least one file, got an empty list")
    paths = [found for one in given for found in _expand(os.path.expanduser(os.fspath(one)))]
    return [File(p, format_of(p, format_name, options), options) for p in paths]


def _expand(text: str) -> list[Path]:
    path = Path(text)
    if not path.exists() and glob.has_magic(text):
        found = [Path(name) for name in glob.glob(text, recursive=True) if Path(name).is_file()]
        if not found:
            raise FileNotFoundError(errno.ENOENT, "no file matches", text)
        return sorted(found, key=_natural)
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, "no such file", text)
    if path.is_dir():
        raise DataError(f"{path}: is a folder; name its files, as in {path}/*.parquet")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: is empty (0 bytes)")
    return [path]


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """part-2 before part-10: digits compare as numbers."""
    parts = re.split(r"(\d+)", str(path))
    return [(0, int(p), p) if p.isdecimal() else (1, 0, p) for p in parts]


class Job:
    """What is to be read. `names` and the label's and weight's columns are known after opening.

    class_names  given by the caller, or else found in the files
    """

    def __init__(
        self,
        files: Sequence[File],
        features: Sequence[str] | None,
        label: str | None,
        weight: str | None,
        class_names: list[str] | None,
    ) -> None:
        self.files, self.features = files, features
        self.label, self.weight, self.class_names = label, weight, class_names
        self.names: list[str] = []
        self.label_name, self.weight_name = label or "", weight or ""
        self._first: Path | None = None

    @property
    def has_label(self) -> bool:
        return self.label_name != ""

    @property
    def has_weight(self) -> bool:
        return self.weight_name != ""

    def pieces(self, rows: int, labels_only: bool = False) -> Iterator[Piece]:
        """Every file's rows in order, at most about `rows` at a time, one file open at a time."""
        for file in self.files:
            with file.open() as source:
                self._settle(source)
                yield from self._pieces_of(source, file, rows, labels_only)

    def _pieces_of(self, source: Source, file: File, rows: int, only: bool) -> Iterator[Piece]:
        features = [] if only else self.names
        label = self.label_name if self.has_label else None
        weight = self.weight_name if self.has_weight and not only else None
        step = max(1, min(rows, _BLOCK_VALUES // max(1, len(features))))
        row, total = 0, source.n_rows
        blocks = source.blocks(features, label, weight, step)
        while True:
            with reading(file.path, file.format.name):
                block = next(blocks, None)
            if block is None:
                break
            yield Piece(
                features=block.features,
                names=features,
                label=None if label is None else block.others[label],
                weight=None if weight is None else block.others[weight],
                weight_name=self.weight_name,
                n=block.n,
                path=file.path,
                row=row,
                ahead=total - row if total is not None and len(self.files) == 1 else None,
            )
            row += block.n
        if total is not None and row != total:
            raise DataError(f"{file.path}: it declares {total} rows and holds {row}")

    def _settle(self, source: Source) -> None:
        """Choose the columns from the first file; check that every other file agrees."""
        doubled = [name for name, count in Counter(source.names).items() if count > 1]
        if doubled:
            raise DataError(f"{source.path}: column {doubled[0]!r} occurs more than once")
        label, weight = self.label or source.label, self.weight or source.weight
        anything = [*source.names, *source.extras]
        for what, name in (("label", label), ("weight", weight)):
            if name is not None:
                check_known(what, [name], anything, source.path)
        if label is not None and label == weight:
            raise DataError(f"{source.path}: {label!r} is asked for as label and as weight")
        if self.features is None:
            names = [name for name in source.names if name not in (label, weight)]
            self._check_default(source, names)
        else:
            names = list(self.features)
            check_known("features", names, source.names, source.path)
            for name in {label, weight} & set(names):
                raise DataError(f"features: {name!r} is asked for as a label or weight too")
        classes = source.class_names if label in (source.label, "y") else None
        if self._first is None:
            self._first, self.names = source.path, names
            self.label_name, self.weight_name = label or "", weight or ""
            self.class_names = self.class_names or (classes if label else None)
        else:
            self._agree(source, names, label or "", weight or "")
        if classes is not None and label and classes != self.class_names:
            raise DataError(
                f"{source.path}: it has the class_names {classes}, where {self.class_names} "
                f"are expected"
            )

    def _check_default(self, source: Source, names: Sequence[str]) -> None:
        if not names:
            raise DataError(f"{source.path}: it has no feature columns")
        if "" in names:
            raise DataError(
                f"{source.path}: column {source.names.index('') + 1} of {len(source.names)} has no "
                f"name (a row index?); choose the columns by features="
            )

    def _agree(self, source: Source, names: Sequence[str], label: str, weight: str) -> None:
        for name in self.names:
            if name not in names:
                raise DataError(f"{source.path}: it has no column {name!r}; {self._first} has it")
        for name in names:
            if name not in self.names:
                raise DataError(f"{source.path}: it has a column {name!r}; {self._first} has not")
        for what, mine, first in (
            ("label", label, self.label_name),
            ("weight", weight, self.weight_name),
        ):
            if mine != first:
                raise DataError(
                    f"{source.path}: its {what} is {mine or 'absent'}; "
                    f"in {self._first} it is {first or 'absent'}"
                )
