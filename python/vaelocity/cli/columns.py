"""Which columns of a file are the features of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vaelocity.cli.console import CommandError
from vaelocity.cli.options import Reading
from vaelocity.data.files import find_files
from vaelocity.data.source import Options, index_names


@dataclass(frozen=True)
class Layout:
    """What the headers of the files say: columns that may be features, and the rows of all files.

    rows: None where only reading to the end tells.
    """

    names: list[str]
    rows: int | None


def layout(data: Sequence[str], reading: Reading, label: str | None) -> Layout:
    """Open every file for its header. Raises what `vaelocity.data.read` raises."""
    options = Options(reading.key, reading.header, reading.delimiter)
    names: list[str] | None = None
    rows: int | None = 0
    for file in find_files(data, options, reading.format):
        with file.open() as source:
            beside = (label or source.label, source.weight)
            if names is None:
                names = [name for name in source.names if name not in beside]
            rows = None if rows is None or source.n_rows is None else rows + source.n_rows
    return Layout(names or [], rows)


def match_features(wanted: Sequence[str], found: Sequence[str], where: str) -> list[str]:
    """The columns of a file that are a model's features, in the model's order.

    They are found by name; other columns are left out. Columns without names (x0, x1, ..., on
    either side) are taken by position, where there are exactly as many as features.
    Raises CommandError naming what is missing.
    """
    if set(wanted) <= set(found):
        return list(wanted)
    nameless = _nameless(found) or _nameless(wanted)
    if nameless and len(found) == len(wanted):
        return list(found)
    if nameless:
        raise CommandError(
            f"{where}: the model takes {len(wanted)} features, the data have {len(found)} columns"
        )
    missing = [name for name in wanted if name not in set(found)]
    listed = ", ".join(map(repr, missing[:5])) + (", ..." if len(missing) > 5 else "")
    raise CommandError(
        f"{where}: {len(missing)} of the model's {len(wanted)} features are missing: {listed}"
    )


def _nameless(names: Sequence[str]) -> bool:
    return list(names) == index_names([len(names)])
