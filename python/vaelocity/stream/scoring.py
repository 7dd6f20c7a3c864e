"""The model of a stream: what it takes, what it makes of it, and how it is exchanged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vaelocity import rows as _rows
from vaelocity.drift import Reference
from vaelocity.histogram import ScoreHistogram
from vaelocity.record_batch import count_flags, output_schema, score_batches, threshold_value
from vaelocity.scorer import Scorer
from vaelocity.threshold import Threshold

__all__ = ["Expected", "Scored", "StreamScorer"]


@dataclass(frozen=True)
class Expected:
    """What a model's file says of the data: its training rows, its held-out scores; or None."""

    rows: Reference | None = None
    scores: ScoreHistogram | None = None


@dataclass(frozen=True)
class Scored:
    """The result of a micro-batch, and what it held.

    batch     what goes out: accepted events only, where that was asked for
    scores    float32 [rows], of all events
    accepted  0 where there is no threshold
    flagged   events with each of record_batch.FLAGS, by its name
    model     that made it
    """

    batch: pa.RecordBatch
    scores: npt.NDArray[np.float32]
    accepted: int
    flagged: dict[str, int]
    model: StreamScorer

    @property
    def rows(self) -> int:
        """Events that were scored."""
        return len(self.scores)


class StreamScorer:
    """score_batch with its arguments, called by any number of threads."""

    def __init__(
        self,
        scorer: Scorer,
        *,
        threshold: float | str | Threshold | None = None,
        columns: Sequence[str] = (),
        accepted_only: bool = False,
        expected: Expected | None = None,
    ) -> None:
        """expected: what drift is measured against; the other arguments are score_batch's."""
        self.scorer = scorer
        self.expected = expected or Expected()
        self.threshold = threshold_value(scorer, threshold)
        if accepted_only and self.threshold is None:
            raise ValueError("accepted_only: needs a threshold, the model has none of its own")
        self.columns, self.accepted_only = list(columns), accepted_only
        self._known: pa.Schema | None = None
        self._passed: pa.Schema | None = None

    def continues(self, other: StreamScorer) -> None:
        """Take over from another model in mid-stream: the columns of the result stay as they are.

        Raises ValueError where only one of them has a threshold, for a column would come or go; and
        where its features are others, or in another order: rows may come without names.
        """
        self.check_features(other)
        if (self.threshold is None) != (other.threshold is None):
            raise ValueError("a column `anomalous` would come or go: only one has a threshold")
        self._passed = other._passed

    def check_features(self, other: StreamScorer) -> None:
        """Raise ValueError unless it takes the same rows as `other`."""
        mine, theirs = self.scorer.feature_names, other.scorer.feature_names
        if mine != theirs:
            order = " in another order" if sorted(mine) == sorted(theirs) else ""
            raise ValueError(f"its features are not those of the live model{order}")

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

    def __call__(self, batches: Sequence[pa.RecordBatch]) -> Scored:
        """Score neighbouring batches of one schema as one."""
        scored = score_batches(self.scorer, batches, threshold=self.threshold, columns=self.columns)
        score = scored.column("score").to_numpy()
        flags = scored.column("flags").to_numpy()
        accepted = 0
        if self.threshold is not None:
            anomalous = scored.column("anomalous")
            accepted = anomalous.true_count
            if self.accepted_only:
                scored = scored.filter(anomalous)
        return Scored(scored, score, accepted, count_flags(flags), self)
