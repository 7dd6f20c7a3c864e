"""What a faulty channel does to the accepted rate: faults put into real rows, then scored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vaelocity.intervals import clopper_pearson
from vaelocity.scorer import Scorer
from vaelocity.threshold import Threshold

__all__ = ["FAULTS", "Effect", "inject", "rate_changes"]

Floats = npt.NDArray[np.float32]

FAULTS = ("dead", "stuck", "saturated", "hot", "swapped")
"""dead: always 0. stuck: always the channel's median. saturated: always its largest value. hot:
always as far above the largest value as this is above the median. swapped: reads the next channel
(the last one reads the first)."""


@dataclass(frozen=True)
class Effect:
    """The accepted part of the same events without and with one faulty channel.

    interval  of `accepted`, Clopper-Pearson, 95 %
    ratio     accepted / nominal; inf where nominal is 0 and accepted is not, NaN where both are
    """

    feature: str
    fault: str
    nominal: float
    accepted: float
    interval: tuple[float, float]
    ratio: float


def inject(rows: Floats, channel: int, fault: str) -> Floats:
    """A copy of rows [n, d] in which one channel is faulty; see FAULTS.

    Raises ValueError for an unknown fault, a channel that is not there, no rows.
    """
    if fault not in FAULTS:
        raise ValueError(f"fault: expected one of {', '.join(FAULTS)}, got {fault!r}")
    if rows.ndim != 2 or len(rows) == 0 or not 0 <= channel < rows.shape[1]:
        raise ValueError(f"channel: there is no channel {channel} in rows of shape {rows.shape}")
    broken = rows.copy()
    column = rows[:, channel]
    finite = column[np.isfinite(column)]
    if fault == "dead" or len(finite) == 0:
        broken[:, channel] = 0
    elif fault == "swapped":
        broken[:, channel] = rows[:, (channel + 1) % rows.shape[1]]
    else:
        middle, largest = np.float32(np.median(finite)), finite.max()
        values = {"stuck": middle, "saturated": largest, "hot": largest + (largest - middle)}
        broken[:, channel] = values[fault]
    return broken


def rate_changes(
    scorer: Scorer,
    rows: Floats,
    threshold: float | str | Threshold | None = None,
    faults: tuple[str, ...] = FAULTS,
    threads: int = 1,
) -> list[Effect]:
    """The effect of every fault in every channel, in the order of the channels.

    Args:
        rows: float32 [n, n_features], of the stream as it comes.
        threshold: as `Scorer.predict` takes it.

    Raises:
        ValueError: an unknown fault, no rows, and what `Scorer.predict` raises.
    """
    if len(rows) == 0:
        raise ValueError("rows: no rows")
    n = len(rows)
    cut = scorer.threshold(threshold)

    def accepted(events: Floats) -> int:
        return int(np.count_nonzero(scorer.predict(events, cut, threads=threads)))

    before = accepted(rows)
    effects = []
    for channel, name in enumerate(scorer.feature_names):
        for fault in faults:
            after = accepted(inject(rows, channel, fault))
            ratio = after / before if before else (np.inf if after else np.nan)
            effects.append(
                Effect(name, fault, before / n, after / n, clopper_pearson(after, n), float(ratio))
            )
    return effects
