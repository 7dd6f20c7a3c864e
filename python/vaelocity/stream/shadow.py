"""A model that scores every event beside the live one and decides nothing: what would it change?"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

from vaelocity.comparison import Comparison
from vaelocity.stream.gather import MicroBatch
from vaelocity.stream.scoring import Scored, StreamScorer

__all__ = ["ShadowWatch"]

log = logging.getLogger(__name__)

# Of earlier pairs of models, for a stream whose models are exchanged for months.
_MOST_EARLIER = 100


class ShadowWatch:
    """Compares the live model's scores with the shadow's. One thread updates.

    When either model is exchanged, another comparison begins: `earlier` keeps what the ones before
    found.

    missed   events that the shadow could not score
    """

    def __init__(self) -> None:
        self.missed = 0
        self.earlier: list[dict[str, Any]] = []
        self._pair: tuple[StreamScorer, StreamScorer] | None = None
        self._comparison: Comparison | None = None

    @property
    def comparison(self) -> Comparison | None:
        """Of the two models in use; None before the first event."""
        return self._comparison

    def update(self, micro: MicroBatch, live: Scored, shadow: Scored | None) -> None:
        """Count a micro-batch; shadow is None where that model failed."""
        if shadow is None:
            self.missed += live.rows
            return
        comparison = self._of(live.model, shadow.model)
        comparison.update(
            live.scores, shadow.scores, lambda i: _event(micro, i, live.model.columns)
        )

    def summary(self) -> dict[str, Any] | None:
        """JSON: of the models in use, and of those before; None before the first event."""
        if self._comparison is None or self._pair is None:
            return None
        live, shadow = (_model(one) for one in self._pair)
        return {
            "live": live,
            "shadow": shadow,
            "missed": self.missed,
            **self._comparison.summary(),
            "earlier": self.earlier,
        }

    def _of(self, live: StreamScorer, shadow: StreamScorer) -> Comparison:
        if self._comparison is None or self._pair != (live, shadow):
            found = self.summary()
            if found is not None:
                del found["earlier"]
                self.earlier = [*self.earlier, found][-_MOST_EARLIER:]
                log.info("a comparison of two models ends", extra={"json": {"shadow": found}})
            self._pair = (live, shadow)
            self._comparison = Comparison((live.threshold, shadow.threshold))
        return self._comparison


def _model(one: StreamScorer) -> dict[str, Any]:
    scorer = one.scorer
    return {
        "fingerprint": scorer.fingerprint,
        "kind": scorer.kind,
        "threshold": one.threshold,
    }


def _event(micro: MicroBatch, i: int, columns: list[str]) -> Mapping[str, Any]:
    """Where the i-th event of a micro-batch came from, and its columns that are passed on."""
    for message in micro.messages:
        if message.batch is not None and i < message.rows:
            values = {name: _plain(message.batch.column(name)[i].as_py()) for name in columns}
            return {"where": message.where, "row": i, **values}
        i -= message.rows
    raise IndexError(i)


def _plain(value: Any) -> Any:
    """As JSON can hold it."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
