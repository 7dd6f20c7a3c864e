"""The supported file formats: suffix, the module that opens them, and the options they take."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from vaelocity.data.source import DataError, Options, Source

_COMPRESSED = (".gz", ".bz2", ".zst")


@dataclass(frozen=True)
class Format:
    """A new format is one module with an `opener(path, options) -> Source`, and a line below."""

    name: str
    suffixes: tuple[str, ...]
    module: str
    opener: str
    options: tuple[str, ...] = ()

    def open(self, path: Path, options: Options) -> Source:
        with reading(path, self.name):
            module = importlib.import_module(f"vaelocity.data.{self.module}")
            opener = cast(Callable[[Path, Options], Source], getattr(module, self.opener))
            return opener(path, options)


_CSV = tuple(kind + end for kind in (".csv", ".tsv") for end in ("", *_COMPRESSED))
_IDX = tuple(kind + end for kind in (".idx", "-ubyte") for end in ("", ".gz"))
FORMATS = (
    Format("npy", (".npy",), "numpy_files", "open_npy"),
    Format("npz", (".npz",), "numpy_files", "open_npz", ("key",)),
    Format("csv", _CSV, "csv_files", "open_csv", ("header", "delimiter")),
    Format("parquet", (".parquet", ".pq"), "arrow_files", "open_parquet"),
    Format("arrow", (".arrow", ".arrows", ".feather", ".ipc"), "arrow_files", "open_ipc"),
    Format("hdf5", (".h5", ".hdf5", ".hdf"), "hdf5_files", "open_hdf5", ("key",)),
    Format("root", (".root",), "root_files", "open_root", ("key",)),
    Format("idx", _IDX, "idx_files", "open_idx"),
)


def format_of(path: Path, name: str | None, options: Options) -> Format:
    """The format called `name`, or the one of the suffix, once `options` are known to fit it."""
    found = None
    for entry in FORMATS:
        if entry.name == name or (name is None and path.name.lower().endswith(entry.suffixes)):
            found = entry
    if found is None:
        known = ", ".join(entry.name for entry in FORMATS)
        if name is not None:
            raise ValueError(f"format: expected one of {known}; got {name!r}")
        suffixes = " ".join(suffix for entry in FORMATS for suffix in entry.suffixes)
        raise DataError(
            f"{path}: the suffix {path.suffix!r} is none of {suffixes}; "
            f"give format=, one of {known}"
        )
    for option in ("key", "header", "delimiter"):
        if getattr(options, option) is not None and option not in found.options:
            raise ValueError(f"{option}: {path} is {found.name}, which has no {option}")
    return found


@contextmanager
def reading(path: Path, name: str) -> Iterator[None]:
    """Whatever a library says about a damaged file becomes one DataError with the path.

    Damaged bytes make the libraries raise nearly any exception, so all are taken; the original is
    kept as the cause.
    """
    try:
        yield
    except (DataError, ImportError, MemoryError, FileNotFoundError, PermissionError):
        raise
    except Exception as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(f"{path}: cannot be read as {name}: {said[0]}") from error
