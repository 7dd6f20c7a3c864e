"""Arrow in, Arrow out: `score_batch`, which every stream and every cluster engine calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vaelocity import rows as _rows
from vaelocity.scorer import Scorer
from vaelocity.threshold import Threshold

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "FLAGS",
    "count_flags",
    "flags_text",
    "join",
    "model_metadata",
    "output_schema",
    "score_batch",
    "score_batches",
    "threshold_value",
]

_ROWS_A_PART = 256

FLAGS = {"nan": 1, "saturated": 2, "missing": 4}
"""The bits of the column `flags`: see Scorer.flags."""

_FLAG_TEXTS = {
    "nan": "with NaN or infinity",
    "saturated": "saturated",
    "missing": "with missing values left out or replaced",
}


def count_flags(flags: npt.NDArray[np.uint8]) -> dict[str, int]:
    """The rows with each of FLAGS, by its name. flags: uint8 [n]."""
    if not flags.any():
        return dict.fromkeys(FLAGS, 0)
    return {name: int(np.count_nonzero(flags & bit)) for name, bit in FLAGS.items()}


def flags_text(counts: Mapping[str, int]) -> str:
    """`count_flags` in words: 3 with NaN or infinity, 0 saturated, 1 with missing values ..."""
    return ", ".join(f"{counts[name]:,} {text}" for name, text in _FLAG_TEXTS.items())


def score_batch(
    scorer: Scorer,
    batch: pa.RecordBatch,
    *,
    threshold: float | str | Threshold | None = None,
    columns: Sequence[str] = (),
    accepted_only: bool = False,
    threads: int = 1,
) -> pa.RecordBatch:
    """Scores of a record batch, as a record batch of as many rows in the same order.

    Its columns: those of `columns` as they came; score, float32; flags, uint8 (1 a NaN or inf among
    the features, 2 saturated, 4 a missing value left out or replaced); and where there is a
    threshold anomalous, bool: `not score <= threshold`, so that an event that cannot be scored is
    kept. The schema's metadata names the
    model: `vaelocity.fingerprint`, `vaelocity.kind`, `vaelocity.threshold`.

    Args:
        batch: a float32 column for every feature, or one fixed_size_list<float32>[n_features]
            column; other columns are left alone.
        threshold: as Scorer.predict takes it; None takes the file's first one for this kind of
            score, if it has any.
        columns: columns of `batch` to pass through; none may be called score, flags or anomalous.
        accepted_only: leave out the rows that are not anomalous.
        threads: rows are shared out to so many threads.

    Raises:
        TypeError: a feature that is not float32.
        ValueError: a feature or a column of `columns` is missing, the threshold is NaN or for
            another model or kind of score, or accepted_only without a threshold.
    """
    cut = threshold_value(scorer, threshold)
    if accepted_only and cut is None:
        raise ValueError("accepted_only: needs a threshold, the model has none of its own")
    scored = score_batches(scorer, [batch], threshold=cut, columns=columns, threads=threads)
    return scored.filter(scored.column("anomalous")) if accepted_only else scored


def score_batches(
    scorer: Scorer,
    batches: Sequence[pa.RecordBatch],
    *,
    threshold: float | None,
    columns: Sequence[str] = (),
    threads: int = 1,
) -> pa.RecordBatch:
    """`score_batch` of neighbouring batches of one schema, at least one, as of one batch.

    Only what is passed on is copied together; features lie as they are where that is faster.
    """
    import pyarrow as pa

    schema = output_schema(scorer, batches[0].schema, threshold=threshold, columns=columns)
    score, flags = _scores(scorer, batches, threads)
    found = []
    for name in columns:
        parts = [batch.column(batch.schema.get_field_index(name)) for batch in batches]
        found.append(parts[0] if len(parts) == 1 else pa.concat_arrays(parts))
    found += [pa.array(score), pa.array(flags)]
    if threshold is not None:
        found.append(pa.array(~(score <= np.float32(threshold))))
    return pa.record_batch(found, schema=schema)


def _scores(
    scorer: Scorer, batches: Sequence[pa.RecordBatch], threads: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Scores and flags of the rows of all batches."""
    names, n = scorer.feature_names, sum(batch.num_rows for batch in batches)
    # To take a batch costs as much as some dozen rows, and columns are taken apart one by one.
    if threads == 1 and len(batches) > 1 and n >= _ROWS_A_PART * len(batches):
        parts = _rows.rows_of_lists(batches, names)
        if parts is not None:
            return scorer.score_flags_of(parts)
    layout = _rows.layout_of(join(batches, batches[0].schema), names)
    return scorer.score_flags(layout, threads=threads)


def join(batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatch:
    """Batches of one schema, copied together; of a single one without a copy."""
    import pyarrow as pa

    if len(batches) == 1:
        return batches[0]
    whole = pa.Table.from_batches(batches, schema).combine_chunks().to_batches()
    return whole[0] if whole else pa.RecordBatch.from_pylist([], schema=schema)


def output_schema(
    scorer: Scorer, given: pa.Schema, *, threshold: float | None, columns: Sequence[str] = ()
) -> pa.Schema:
    """The schema of what score_batch returns. Raises ValueError for a column of `columns` that
    `given` has not, has twice, or that is called like a column of the result."""
    import pyarrow as pa

    made = [pa.field("score", pa.float32()), pa.field("flags", pa.uint8())]
    if threshold is not None:
        made.append(pa.field("anomalous", pa.bool_()))
    for name in columns:
        if given.get_field_index(name) < 0:
            count = len(given.get_all_field_indices(name))
            there = f"{count} of that name" if count else ", ".join(given.names[:12])
            raise ValueError(f"columns: {name!r} is not one column of the batch; it has {there}")
        if name in {field.name for field in made}:
            raise ValueError(f"columns: {name!r} is the name of a column that scoring adds")
    passed = [given.field(name) for name in columns]
    return pa.schema([*passed, *made], metadata=model_metadata(scorer, threshold))


def threshold_value(scorer: Scorer, threshold: float | str | Threshold | None) -> float | None:
    """Scorer.threshold, but None where none is asked for and the file has none for this kind."""
    if threshold is None and not scorer.thresholds:
        return None
    return scorer.threshold(threshold)


def model_metadata(scorer: Scorer, threshold: float | None) -> dict[str, str]:
    """What files and messages of scores say of the model that made them."""
    found = {"vaelocity.fingerprint": scorer.fingerprint, "vaelocity.kind": scorer.kind}
    if threshold is not None:
        found["vaelocity.threshold"] = repr(threshold)
    return found
