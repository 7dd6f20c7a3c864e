"""The model of a stream: what it takes, what it makes of it, and how it is exchanged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from vaelocity import rows as _rows
from vaelocity.record_batch import FLAGS, output_schema, score_batch, threshold_value
from vaelocity.scorer import Scorer
from vaelocity.threshold import Threshold

__all__ = ["Scored", "StreamScorer"]


@dataclass(frozen=True)
class Scored:
    """The result of a micro-batch, and what it held. accepted: 0 where there is no threshold."""

    batch: pa.RecordBatch
    rows: int
    accepted: int
    nan: int
    saturated: int


class StreamScorer:
    """score_batch with its arguments, called by any number of threads."""

    def __init__(
        self,
        scorer: Scorer,
        *,
        threshold: float | str | Threshold | None = None,
        columns: Sequence[str] = (),
        accepted_only: bool = False,
    ) -> None:
        """The arguments are score_batch's."""
        self.scorer = scorer
        self.threshold = threshold_value(scorer, threshold)
        if accepted_only and self.threshold is None:
            raise ValueError("accepted_only: needs a threshold, the model has none of its own")
        self.columns, self.accepted_only = list(columns), accepted_only
        self._known: pa.Schema | None = None
        self._passed: pa.Schema | None = None

    def continues(self, other: StreamScorer) -> None:
        """Take over from another model in mid-stream: the columns of the result stay as they are.

        Raises ValueError where only one of them has a threshold: a column would come or go.
        """
        if (self.threshold is None) != (other.threshold is None):
            raise ValueError("a column `anomalous` would come or go: only one has a threshold")
        self._passed = other._passed

    def refuse(self, batch: pa.RecordBatch) -> str:
        """Why the batch cannot be scored; "" if it can.

        Features may move and other columns come and go; the columns passed on keep the types of
        the first batch, since those who read the scores count on them.
        """
        if self._known is not None and batch.schema.equals(self._known):
            return ""
        try:
            _rows.layout_of(batch.slice(0, 0), self.scorer.feature_names)
            found = output_schema(
                self.scorer, batch.schema, threshold=self.threshold, columns=self.columns
            )
        except (TypeError, ValueError) as error:
            return str(error)
        passed = pa.schema([found.field(i) for i in range(len(self.columns))])
        if self._passed is None:
            self._passed = passed
        for field, first in zip(passed, self._passed, strict=True):
            if field.type != first.type:
                return f"columns: {field.name!r} is {field.type}, it was {first.type} before"
        self._known = batch.schema
        return ""

    def __call__(self, batch: pa.RecordBatch) -> Scored:
        scored = score_batch(self.scorer, batch, threshold=self.threshold, columns=self.columns)
        flags = scored.column("flags").to_numpy()
        accepted = 0
        if self.threshold is not None:
            anomalous = scored.column("anomalous")
            accepted = anomalous.true_count
            if self.accepted_only:
                scored = scored.filter(anomalous)
        return Scored(
            scored,
            batch.num_rows,
            accepted,
            int(np.count_nonzero(flags & FLAGS["nan"])),
            int(np.count_nonzero(flags & FLAGS["saturated"])),
        )
