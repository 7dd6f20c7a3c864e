"""What a file format has to offer the reader: named columns, handed out in blocks of rows."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

AnyArray = npt.NDArray[Any]


class DataError(ValueError):
    """A file that cannot be read as asked; the message names the file and the column."""


@dataclass(frozen=True)
class Options:
    """How to open a file, beyond its path. None: decide from the file."""

    key: str | None = None
    header: bool | None = None
    delimiter: str | None = None


@dataclass(frozen=True)
class Block:
    """Some consecutive rows as they are in the file, before conversion.

    features  either one array [n, d], or d arrays [n]; any dtype
    others    label and weight columns by name, each [n]
    """

    features: AnyArray | list[AnyArray]
    others: Mapping[str, AnyArray]
    n: int


@dataclass
class Source:
    """One open file. Subclasses add `blocks`, and `close` where something is to be closed.

    names        the columns that are features unless the caller chooses
    extras       further columns that a label or a weight may name
    n_rows       rows in the file, None where only reading to the end tells
    label        column that is the label by the file's own convention; likewise weight
    class_names  names of the label codes, where the file has them
    """

    path: Path
    names: list[str] = field(default_factory=list)
    extras: list[str] = field(default_factory=list)
    n_rows: int | None = None
    label: str | None = None
    weight: str | None = None
    class_names: list[str] | None = None

    def blocks(
        self, features: Sequence[str], label: str | None, weight: str | None, rows: int
    ) -> Iterator[Block]:
        """The named columns in file order, about `rows` rows at a time."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the file; more than once does no harm."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()


@dataclass
class ArraySource(Source):
    """Columns held by arrays that can be sliced: NumPy arrays, memory maps, HDF5 datasets.

    `array` is [n, ...] with one name per trailing element, or structured [n]; None where every
    feature is an entry of `columns` ([n] each). `handle` is closed with the source.
    """

    array: Any = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    handle: Any = None

    def blocks(
        self, features: Sequence[str], label: str | None, weight: str | None, rows: int
    ) -> Iterator[Block]:
        others = [name for name in (label, weight) if name is not None]
        n = self.n_rows or 0
        place = {} if self.array is None else {name: j for j, name in enumerate(self.names)}
        beside = {name for name in (*features, *others) if name not in place}
        for name in beside:
            if len(self.columns[name]) != n:
                raise DataError(
                    f"{self.path}: column {name!r} has {len(self.columns[name])} values "
                    f"for {n} rows"
                )
        only_beside = not any(name in place for name in (*features, *others))
        for start in range(0, n, rows):
            at = slice(start, min(start + rows, n))
            part = None if only_beside else np.asarray(self.array[at])
            yield Block(
                self._features(part, features, place, at),
                {name: self._column(part, name, place, at) for name in others},
                at.stop - start,
            )

    def close(self) -> None:
        self.array, self.columns = None, {}
        if self.handle is not None:
            self.handle.close()

    def _features(
        self, part: AnyArray | None, names: Sequence[str], place: Mapping[str, int], at: slice
    ) -> AnyArray | list[AnyArray]:
        rectangular = part is not None and part.dtype.names is None
        if not rectangular or not all(name in place for name in names):
            return [self._column(part, name, place, at) for name in names]
        assert part is not None
        flat = part.reshape(len(part), len(place))
        chosen = [place[name] for name in names]
        return flat if chosen == list(range(flat.shape[1])) else flat[:, chosen]

    def _column(
        self, part: AnyArray | None, name: str, place: Mapping[str, int], at: slice
    ) -> AnyArray:
        if part is None or name not in place:
            return np.asarray(self.columns[name][at])
        if part.dtype.names is not None:
            return np.asarray(part[name])
        return part.reshape(len(part), len(place))[:, place[name]]


def index_names(shape: Sequence[int]) -> list[str]:
    """Names for columns that have none: x0, x1, ... for [n, d]; x0_0, x0_1, ... for [n, a, b]."""
    return ["x" + "_".join(map(str, index)) for index in product(*map(range, shape))]


def check_known(what: str, wanted: Iterable[str], known: Sequence[str], where: object) -> None:
    """Raise DataError for a name asked for twice or not known, with the closest known names."""
    seen: set[str] = set()
    present = set(known)
    for name in wanted:
        if name in seen:
            raise DataError(f"{what}: {name!r} is asked for twice")
        seen.add(name)
        if name not in present:
            close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
            listed = ", ".join(map(repr, close or known[:12]))
            more = ", ..." if not close and len(known) > 12 else ""
            hint = f"did you mean {listed}?" if close else f"it has {listed or 'none'}{more}"
            raise DataError(f"{what}: {where} has no column {name!r}; {hint}")


def need(module: str, extra: str | None = None) -> Any:
    """Import a library that only some formats need, or say how to get it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        install = f"vaelocity[{extra}]" if extra else package
        raise ImportError(
            f"reading this file needs {package}, which cannot be imported ({error}): "
            f'pip install "{install}"'
        ) from error
