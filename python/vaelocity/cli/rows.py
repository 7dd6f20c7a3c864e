"""Which rows of a file a model learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vaelocity import data as events
from vaelocity.cli.console import CommandError


@dataclass(frozen=True)
class Rows:
    """The rows of a file: normal ones to train on, and those with another label."""

    normal: events.Table
    others: events.Table
    dropped: int


def choose_rows(
    table: events.Table,
    normal: Sequence[str],
    *,
    drop_nan: bool,
    may_miss: Sequence[str] = (),
) -> Rows:
    """Normal rows are those with one of the labels `normal`; all rows, if it is empty.

    Rows that are not finite, in columns other than `may_miss`, are an error, or are left out with
    drop_nan.
    """
    bad = table.nan_rows
    if may_miss:
        asked = ~np.isin(table.feature_names, may_miss)
        bad = bad[~np.isfinite(table.rows[bad][:, asked]).all(axis=1)]
    if len(bad) and not drop_nan:
        raise CommandError(
            f"{len(bad):,} of {len(table):,} rows hold a NaN or an infinity, the first is row "
            f"{bad[0]} (counting from 0): fill them, or --drop-nan to leave them out"
        )
    if len(bad):
        keep = np.ones(len(table), bool)
        keep[bad] = False
        table = table.select(keep)
    chosen = is_normal(table, normal)
    if normal and not chosen.any():
        raise CommandError(f"--normal {', '.join(normal)}: no row has this label")
    return Rows(table.select(chosen), table.select(~chosen), len(bad))


def is_normal(table: events.Table, normal: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which rows have one of the labels `normal`, bool [n]; all of them, if it is empty."""
    if not normal:
        return np.ones(len(table), bool)
    return np.isin(_labels(table), [_code(table, value) for value in normal])


def _labels(table: events.Table) -> npt.NDArray[np.int64]:
    if table.labels is None:
        raise CommandError("--normal needs --label COLUMN: the data have no label of their own")
    return table.labels


def _code(table: events.Table, value: str) -> int:
    """The label that `value` stands for: a class name, or a whole number."""
    if table.class_names is not None and value in table.class_names:
        return table.class_names.index(value)
    try:
        return int(value)
    except ValueError:
        pass
    if table.class_names is not None:
        raise CommandError(f"--normal {value}: expected one of {', '.join(table.class_names)}")
    raise CommandError(f"--normal {value}: the labels are numbers, expected a whole number")
