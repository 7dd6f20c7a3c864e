"""Batches of the rows that a model scores, from files of any format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

import vaelocity
from vaelocity import data as events
from vaelocity.cli.columns import layout, match_features
from vaelocity.cli.console import CommandError
from vaelocity.cli.options import Reading
from vaelocity.cli.rows import is_normal


def feature_batches(
    scorer: vaelocity.Scorer,
    data: Sequence[str],
    reading: Reading,
    *,
    batch_size: int,
    label: str | None = None,
    normal: Sequence[str] = (),
    weight: str | None = None,
) -> Iterator[events.Table]:
    """Tables with the model's features in the model's order, of normal rows only if these are
    named. Raises CommandError if features are missing, or if no row is left."""
    if normal and label is None:
        raise CommandError("--normal needs --label COLUMN")
    found = layout(data, reading, label)
    names = match_features(scorer.feature_names, found.names, data[0])
    rows = 0
    for table in events.batches(
        data, rows=batch_size, features=names, label=label, weight=weight, **reading.arguments()
    ):
        chosen = table.select(is_normal(table, normal)) if normal else table
        rows += len(chosen)
        yield chosen
    if rows == 0:
        raise CommandError(
            f"--normal {', '.join(normal)}: no row has this label"
            if normal
            else "the data hold no rows"
        )


def some_rows(tables: Iterator[events.Table], most: int) -> npt.NDArray[np.float32]:
    """The first rows, at most so many, as one array."""
    parts, n = [], 0
    for table in tables:
        parts.append(table.rows[: most - n])
        n += len(parts[-1])
        if n == most:
            break
    return np.concatenate(parts)
