"""Which columns of a file are the features of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vaelocity.cli.console import CommandError
from vaelocity.cli.options import Reading, names
from vaelocity.data import Table
from vaelocity.data.files import find_files
from vaelocity.data.source import Options, index_names

# So few different whole numbers in order may be a feature by which somebody sorted.
_NUMBERED = 1000


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


def chosen_features(
    data: Sequence[str],
    reading: Reading,
    features: str | None,
    exclude: str | None,
    beside: Sequence[str | None],
) -> list[str] | None:
    """The columns that --features and --exclude leave; None where neither is given.

    beside: label and weight, which are never features. Raises CommandError for a column to be
    excluded that there is not.
    """
    excluded = names(exclude)
    if not excluded:
        return names(features)
    found = names(features) or layout(data, reading, beside[0]).names
    if unknown := [name for name in excluded if name not in found]:
        raise CommandError(
            f"--exclude {', '.join(unknown)}: expected columns of the data, such as "
            f"{', '.join(found[:12])}"
        )
    return [name for name in found if name not in {*excluded, *beside}]


def numberings(table: Table) -> list[str]:
    """Features that look like numbers of events: whole numbers, more than a thousand different
    ones, which hardly ever fall or of which none comes twice."""
    found = []
    for name, column in zip(table.feature_names, table.rows.T, strict=True):
        if not (column[:_NUMBERED] == np.floor(column[:_NUMBERED])).all():
            continue
        different = len(np.unique(column))
        if different <= _NUMBERED or not (column == np.floor(column)).all():
            continue
        rises = np.count_nonzero(np.diff(column) >= 0) > 0.99 * (len(column) - 1)
        if rises or different == len(column):
            found.append(name)
    return found


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
