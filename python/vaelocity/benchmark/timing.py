"""Timing callables against each other: in turns, medians of ratios, with a confidence interval."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Seconds = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Contender:
    """Something to time.

    call    the work
    setup   runs before every sample, outside the clock
    finish  runs once at the end of every sample, inside the clock: a device's synchronize()
    """

    call: Callable[[], object]
    setup: Callable[[], object] | None = None
    finish: Callable[[], object] | None = None

    def sample(self, repeats: int) -> float:
        """Seconds a call, over `repeats` calls in a row."""
        call = self.call
        if self.setup is not None:
            self.setup()
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        if self.finish is not None:
            self.finish()
        return (time.perf_counter() - start) / repeats


@dataclass(frozen=True)
class Estimate:
    """A median and its confidence interval."""

    value: float
    low: float
    high: float


def interleave(
    contenders: Mapping[str, Contender],
    *,
    rounds: int = 21,
    sample_seconds: float = 0.01,
    warmup_seconds: float = 0.0,
) -> dict[str, Seconds]:
    """Seconds a call of every contender in every round: {name: float64 [rounds]}.

    All of them take one sample a round, forwards in even rounds and backwards in odd ones, so that
    a drift of the machine reaches all alike. A sample repeats the call until it lasts about
    `sample_seconds`. Before, each runs for `warmup_seconds`, and once at least.
    """
    if rounds < 1:
        raise ValueError(f"rounds: expected at least 1, got {rounds}")
    repeats = {name: _repeats(each, sample_seconds) for name, each in contenders.items()}
    for name, each in contenders.items():
        stop = time.perf_counter() + warmup_seconds
        while time.perf_counter() < stop:
            each.sample(repeats[name])
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for i in range(rounds):
        for name in list(contenders)[:: 1 if i % 2 == 0 else -1]:
            seconds[name].append(contenders[name].sample(repeats[name]))
    return {name: np.array(values) for name, values in seconds.items()}


def fastest(contenders: Mapping[str, Contender]) -> str:
    """The name of the contender with the smallest median, from a short race."""
    if len(contenders) == 1:
        return next(iter(contenders))
    once = sum(each.sample(1) for each in contenders.values())
    rounds = 7 if once < 0.2 else 1
    seconds = interleave(contenders, rounds=rounds, sample_seconds=0.004, warmup_seconds=0.02)
    return min(seconds, key=lambda name: float(np.median(seconds[name])))


def median(values: Sequence[float] | Seconds, *, confidence: float = 0.95) -> Estimate:
    """The median with a bootstrap percentile interval (Efron and Tibshirani 1993, chapter 13)."""
    data = np.asarray(values, np.float64)
    if data.ndim != 1 or not len(data):
        raise ValueError(f"values: expected some numbers in one dimension, got shape {data.shape}")
    draws = np.random.default_rng(0).integers(len(data), size=(2000, len(data)))
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.median(data[draws], axis=1), [tail, 1 - tail])
    return Estimate(float(np.median(data)), float(low), float(high))


def speedup(ours: Seconds, theirs: Seconds) -> Estimate:
    """How many times faster `ours` is: the median over rounds of theirs / ours."""
    if ours.shape != theirs.shape:
        raise ValueError(f"rounds differ: {ours.shape} and {theirs.shape}")
    return median(theirs / ours)


def _repeats(contender: Contender, sample_seconds: float) -> int:
    """Calls that last sample_seconds; warms the contender up by the way."""
    repeats = 1
    while True:
        spent = contender.sample(repeats) * repeats
        if spent >= sample_seconds / 4:
            return max(1, round(repeats * sample_seconds / spent))
        repeats *= 4
