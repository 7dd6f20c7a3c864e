"""CSV files, plain or compressed, through pyarrow's streaming reader."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaelocity.data.arrow_files import to_numpy
from vaelocity.data.source import Block, DataError, Options, Source, need

_BLOCK_BYTES = 2 << 20  # a row must fit into one; some 40 of them are read ahead


def open_csv(path: Path, options: Options) -> Source:
    """Columns of numbers under a header row, or x0, x1, ... with header=False.

    Every feature is parsed as float64 (true/false as 1/0), empty fields and NA as NaN.
    """
    tabbed = any(part.lower() == ".tsv" for part in path.suffixes)
    delimiter = options.delimiter or ("\t" if tabbed else ",")
    if len(delimiter) != 1:
        raise ValueError(f"delimiter: expected one character, got {delimiter!r}")
    with _reader(path, delimiter, options.header is not False) as reader:
        schema = reader.schema
    raw = list(schema.names)
    if options.header is False:
        names = [f"x{j}" for j in range(len(raw))]
    else:
        names = _header_names(raw)
        if options.header is None:
            _check_header(path, names)
    _check_delimiter(path, raw, delimiter)
    booleans = frozenset(n for n, kind in zip(names, schema.types, strict=True) if kind == "bool")
    texts = frozenset(
        name
        for name, kind in zip(names, schema.types, strict=True)
        if str(kind) in ("string", "binary") or str(kind).startswith(("time", "date", "duration"))
    )
    return CsvSource(
        path=path,
        names=names,
        raw=raw,
        delimiter=delimiter,
        header=options.header is not False,
        booleans=booleans,
        texts=texts,
    )


@dataclass
class CsvSource(Source):
    """raw: the names as pyarrow has them; booleans, texts: what the first block looks like."""

    raw: Sequence[str] = ()
    delimiter: str = ","
    header: bool = True
    booleans: frozenset[str] = frozenset()
    texts: frozenset[str] = frozenset()

    def blocks(
        self, features: Sequence[str], label: str | None, weight: str | None, rows: int
    ) -> Iterator[Block]:
        pa = need("pyarrow", "io")
        raw = dict(zip(self.names, self.raw, strict=True))
        types = {}
        for name in features:
            if name in self.texts:
                continue  # stays text and is refused by its name, not by its first value
            types[raw[name]] = pa.bool_() if name in self.booleans else pa.float64()
        if weight is not None and weight not in self.texts:
            types[raw[weight]] = pa.float64()
        if label is not None:
            types[raw[label]] = pa.string()
        others = [name for name in (label, weight) if name is not None]
        wanted = [raw[name] for name in (*features, *others)]
        with _reader(self.path, self.delimiter, self.header, wanted, types) as reader:
            for batch in self._named(reader):
                columns = [to_numpy(column) for column in batch.columns]
                beside = dict(zip(others, columns[len(features) :], strict=True))
                yield Block(columns[: len(features)], beside, batch.num_rows)

    def _named(self, reader: Any) -> Iterator[Any]:
        """The batches; where pyarrow complains of column #2, the message gets the name."""
        try:
            yield from reader
        except need("pyarrow", "io").ArrowInvalid as error:
            found = re.match(r"In CSV column #(\d+): (?:CSV conversion error to )?(.*)", str(error))
            if found is None or int(found[1]) >= len(self.names):
                raise
            name = self.names[int(found[1])]
            raise DataError(f"{self.path}: column {name!r} is not numeric: {found[2]}") from error


def _reader(
    path: Path,
    delimiter: str,
    header: bool,
    columns: Sequence[str] | None = None,
    types: dict[str, Any] | None = None,
) -> Any:
    csv = need("pyarrow.csv", "io")
    return csv.open_csv(
        path,
        read_options=csv.ReadOptions(
            block_size=_BLOCK_BYTES, autogenerate_column_names=not header, use_threads=True
        ),
        parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=False),
        convert_options=csv.ConvertOptions(
            include_columns=None if columns is None else list(columns),
            column_types=types,
            strings_can_be_null=False,
        ),
    )


def _header_names(raw: Sequence[str]) -> list[str]:
    """Names without blanks around them, and without the # that numpy.savetxt puts in front."""
    names = [name.strip() for name in raw]
    if names and names[0].startswith("#"):
        names[0] = names[0][1:].strip()
    return names


def _check_header(path: Path, names: Sequence[str]) -> None:
    """Refuse a first row that is data: numbers, unless they count 0, 1, 2, ... as pandas does."""
    numbers = [name for name in names if _is_number(name)]
    counts = [str(k) for k in range(len(numbers))]
    one_based = [str(k + 1) for k in range(len(numbers))]
    if not numbers or (len(numbers) > 2 and numbers in (counts, one_based)):
        return
    raise DataError(
        f"{path}: its first row ({', '.join(names[:4])}{', ...' if len(names) > 4 else ''}) "
        f"looks like data, not like names: give header=False, or header=True if it is names"
    )


def _check_delimiter(path: Path, raw: Sequence[str], delimiter: str) -> None:
    if len(raw) != 1:
        return
    for other in ",;\t|":
        if other != delimiter and other in raw[0]:
            raise DataError(
                f"{path}: it has one column, {raw[0]!r}, as if separated by {other!r}: "
                f"give delimiter={other!r}"
            )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
