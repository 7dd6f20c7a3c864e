"""Thresholds for a rate, found on held-out scores and honest about their error."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy.typing as npt

from vaelocity.histogram import ScoreHistogram
from vaelocity.intervals import clopper_pearson
from vaelocity.threshold_search import (
    LEAST_ABOVE,
    fewest_events,
    found_in_histogram,
    found_in_scores,
)
from vaelocity.units import format_rate, parse_rate

__all__ = [
    "LEAST_ABOVE",
    "Threshold",
    "clopper_pearson",
    "events_needed",
    "threshold_for",
]


@dataclass(frozen=True)
class Threshold:
    """Scores above `value` are anomalous: `not score <= value`, so a NaN score is, too.

    name        unique in a file among those of its kind: "fpr=0.01", "tight"
    kind        the kind of score it is for
    value       exactly a float32
    fpr         the part of events above it that was asked for: a false-positive rate where the
                sample was of normal events, the contamination where it was not
    achieved    part of the n scores (of their weight) above `value`; below `fpr` where scores tie
    interval    Clopper-Pearson interval of the true part above `value`
    n           held-out scores it was found on
    confidence  of the interval
    ties        scores equal to `value` (in its bin, if found in a histogram), which are not above:
                the next lower threshold would accept them all
    input_rate  Hz of all events, or None
    model       identity of the model it is for (`Scorer.identity`), or None where not known
    """

    name: str
    kind: str
    value: float
    fpr: float
    achieved: float
    interval: tuple[float, float]
    n: int
    confidence: float = 0.95
    ties: int = 0
    input_rate: float | None = None
    model: str | None = None

    @property
    def rate(self) -> float | None:
        """Hz above the threshold in the sample; None without an input rate."""
        return None if self.input_rate is None else self.achieved * self.input_rate

    @property
    def rate_interval(self) -> tuple[float, float] | None:
        """`interval` in Hz; None without an input rate."""
        if self.input_rate is None:
            return None
        return self.interval[0] * self.input_rate, self.interval[1] * self.input_rate

    def to_dict(self) -> dict[str, Any]:
        """As it stands in the JSON of a .vael file."""
        return {**asdict(self), "interval": list(self.interval)}

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> Threshold:
        """The inverse of `to_dict`; entries of older files, which say less, too.

        Raises ValueError for an entry that is none.
        """
        known = {field.name for field in fields(cls)}
        try:
            low, high = entry["interval"]
            if set(entry) - known:
                raise ValueError(f"unknown {', '.join(sorted(set(entry) - known))}")
            return cls(**{**entry, "interval": (float(low), float(high))})
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"threshold: no entry of a threshold: {error}") from None

    def __str__(self) -> str:
        low, high = self.interval
        amount = f"{self.achieved:.4g} of {self.n:,} scores above ({low:.4g} to {high:.4g}"
        if self.input_rate is not None:
            amount = (
                f"{format_rate(self.achieved * self.input_rate)} of "
                f"{format_rate(self.input_rate)} ({format_rate(low * self.input_rate)} to "
                f"{format_rate(high * self.input_rate)}"
            )
        tied = f", {self.ties:,} tie" if self.ties > 1 else ""
        return (
            f"{self.name}: {self.kind} > {self.value:.6g}: {amount} at "
            f"{100 * self.confidence:g} %){tied}"
        )


def threshold_for(
    scores: npt.ArrayLike | None = None,
    *,
    fpr: float | None = None,
    rate: float | str | None = None,
    input_rate: float | str | None = None,
    contamination: float | None = None,
    histogram: ScoreHistogram | None = None,
    weights: npt.ArrayLike | None = None,
    kind: str | None = None,
    name: str | None = None,
    confidence: float = 0.95,
    least_above: int = LEAST_ABOVE,
    model: str | None = None,
    not_finite: str = "refuse",
) -> Threshold:
    """The lowest threshold with at most the asked part of the events above it.

    From scores it is the smallest one of them that will do, from a histogram the smallest bin edge
    (0.049 % apart at most), where the scores above are counted exactly, too. Where scores tie at
    the threshold fewer than asked lie above it: see `Threshold.achieved` and `Threshold.ties`. It
    never lies beyond the sample: where too few scores would be above it, this raises.

    The scores must be of events that neither trained the model nor chose when to stop; for `fpr`
    and `rate`, of normal events or of the stream as it comes (zero bias).

    The Clopper-Pearson interval is kept although the threshold is an order statistic of the same
    scores: the true rate above the k-th largest of n continuous scores is distributed as
    Beta(k + 1, n - k), whose upper quantile is the interval's and whose lower quantile is larger.

    Args:
        scores: float [n]; float64 is rounded to float32, the type of every score. Or `histogram`.
        fpr: part of the events above, between 0 and 1, both excluded. Or `rate`, `contamination`.
        rate: accepted events a second, in Hz or as text ("1 kHz"); needs `input_rate`.
        input_rate: all events a second; with `fpr` it gives the threshold its rate in Hz.
        contamination: part of the sample that is anomalous; the scores are then of data as they
            come, not of normal events.
        histogram: counts of scores, for instance of many machines merged.
        weights: [n], not negative, for `scores`; of the events.
        kind: the kind of the scores; default: the histogram's, else reconstruction.
        name: of the threshold; default: what was asked for, "fpr=0.01".
        confidence: of the interval, between 0 and 1.
        least_above: refuse if fewer than so many scores may lie above (of weights: so many
            effective ones, (sum w)^2 / sum w^2); at least 1, see LEAST_ABOVE.
        model: identity of the model that gave the scores; default: the histogram's.
        not_finite: "refuse" raises where a score is NaN or infinite; "count" takes them as they
            are decided upon: NaN and infinity lie above every threshold.

    Raises:
        ValueError: too few scores (the message says how many it takes), a score that is NaN or
            infinite, an argument out of its range or one too many.
    """
    if (scores is None) == (histogram is None):
        raise ValueError("scores, histogram: expected one of them")
    asked, hz, default_name = _asked(fpr, rate, input_rate, contamination)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: expected a number between 0 and 1, got {confidence!r}")
    if isinstance(least_above, bool) or not isinstance(least_above, int) or least_above < 1:
        raise ValueError(f"least_above: expected an int of at least 1, got {least_above!r}")
    if not_finite not in ("refuse", "count"):
        raise ValueError(f"not_finite: expected 'refuse' or 'count', got {not_finite!r}")
    keep = not_finite == "count"
    if histogram is not None:
        if weights is not None:
            raise ValueError("weights: a histogram has its own")
        kind = _agreeing(kind, histogram.kind, "kind")
        model = _agreeing(model, histogram.model, "model")
        found = found_in_histogram(histogram, asked, least_above, default_name, keep)
    else:
        assert scores is not None
        found = found_in_scores(scores, weights, asked, least_above, default_name, keep)
    return Threshold(
        name=name or default_name,
        kind=kind or "reconstruction",
        value=found.value,
        fpr=asked,
        achieved=found.above / found.total,
        interval=clopper_pearson(*found.effective, confidence),
        n=found.n,
        confidence=confidence,
        ties=found.ties,
        input_rate=hz,
        model=model,
    )


def events_needed(
    fpr: float, relative_error: float | None = None, least_above: int = LEAST_ABOVE
) -> int:
    """Held-out events that a threshold at `fpr` takes.

    Args:
        fpr: between 0 and 1, both excluded.
        relative_error: wanted standard deviation of the achieved rate, as a part of it: 0.1 for
            10 %. None asks for no more than `threshold_for` does.
        least_above: as in `threshold_for`.

    Raises:
        ValueError: an argument out of its range.
    """
    _checked_part("fpr", fpr)
    fewest = fewest_events(fpr, least_above)
    if relative_error is None:
        return fewest
    if not relative_error > 0:
        raise ValueError(f"relative_error: expected a positive number, got {relative_error!r}")
    # Binomial: the standard deviation of k / n is sqrt(p (1 - p) / n).
    return max(fewest, math.ceil((1 - fpr) / (fpr * relative_error**2)))


def _asked(
    fpr: float | None,
    rate: float | str | None,
    input_rate: float | str | None,
    contamination: float | None,
) -> tuple[float, float | None, str]:
    """The part of events asked for, the input rate in Hz or None, and the name of the request."""
    given = [arg for arg in (fpr, rate, contamination) if arg is not None]
    if len(given) != 1:
        raise ValueError(f"fpr, rate, contamination: expected one of them, got {len(given)}")
    hz = None if input_rate is None else parse_rate(input_rate, "input_rate")
    if rate is not None:
        if hz is None:
            raise ValueError("rate: needs input_rate, the rate of all events")
        wanted = parse_rate(rate)
        if not wanted < hz:
            raise ValueError(
                f"rate: expected less than input_rate, got {format_rate(wanted)} of "
                f"{format_rate(hz)}"
            )
        return wanted / hz, hz, f"rate={format_rate(wanted)}"
    name, part = ("fpr", fpr) if fpr is not None else ("contamination", contamination)
    assert part is not None
    _checked_part(name, part)
    return part, hz, f"{name}={part:g}"


def _checked_part(name: str, part: float) -> None:
    if not 0 < part < 1:
        raise ValueError(f"{name}: expected a number between 0 and 1, got {part!r}")


def _agreeing(given: str | None, of_histogram: str | None, what: str) -> str | None:
    if given is not None and of_histogram is not None and given != of_histogram:
        raise ValueError(f"{what}: got {given!r}, the histogram's is {of_histogram!r}")
    return of_histogram if given is None else given
