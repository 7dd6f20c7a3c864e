"""Scores counted a second, and how near thresholds come, beside sketches and NumPy's histogram.

    python bench/bench_histogram.py [--scores N] [--rounds N] [--cpu N]

One thread on one processor. Every contender takes the same float32 scores (gamma distributed).
First the false-positive rate that its threshold achieves is printed as a part of the one asked for;
then all are timed in turns (`timing.py`). The last lines say whether what was promised is met.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import vaelocity
from vaelocity.benchmark.timing import Contender, Estimate, interleave, median, speedup

Scores = npt.NDArray[np.float32]
Quantile = Callable[[float], float]

FPRS = (1e-2, 1e-3, 1e-4, 1e-5)
OURS = "ScoreHistogram"
WANTED = 50e6
"""Scores a second and core; the whole confidence interval has to reach it."""
NEAR = 0.02
"""Of the false-positive rate asked for; judged where 100 scores or more are above."""


def main() -> None:
    """The whole run."""
    options = _options()
    cpu = max(os.sched_getaffinity(0)) if options.cpu is None else options.cpu
    os.sched_setaffinity(0, {cpu})
    scores = np.random.default_rng(0).gamma(5, 2, options.scores).astype(np.float32)
    contenders = _contenders(scores)
    print(f"{len(scores):,} scores; achieved / asked false-positive rate, then speed")
    achieved: list[float] = []
    for name, count in contenders.items():
        quantile = count()
        parts = [np.count_nonzero(scores > quantile(1 - fpr)) / len(scores) / fpr for fpr in FPRS]
        achieved = parts if name == OURS else achieved
        shown = zip(FPRS, parts, strict=True)
        print(f"{name:34}", *(f"{fpr:g}: {part:.3f} " for fpr, part in shown))
    seconds = interleave(
        {name: Contender(call) for name, call in contenders.items()}, rounds=options.rounds
    )
    for name, each in seconds.items():
        rate, times = median(len(scores) / each), speedup(seconds[OURS], each)
        print(f"{name:34} {rate.value / 1e6:8.1f} M/s ({rate.low / 1e6:.1f} to "
              f"{rate.high / 1e6:.1f}), {OURS} is {times.value:.2f} times as fast")  # fmt: skip
    for text in verdicts(len(scores), achieved, median(len(scores) / seconds[OURS])):
        print(text)


def verdicts(n: int, achieved: Sequence[float], rate: Estimate) -> list[str]:
    """What was promised of ScoreHistogram, and whether it is met.

    n: scores. achieved: of FPRS, as parts of what was asked for. rate: scores a second.
    """
    fast = "met" if rate.low >= WANTED else "MISSED"
    judged = [part for fpr, part in zip(FPRS, achieved, strict=True) if fpr * n >= 100]
    near = "met" if all(abs(part - 1) <= NEAR for part in judged) else "MISSED"
    return [
        f"{OURS}: >= {WANTED / 1e6:g} M scores/s on one core: {rate.value / 1e6:.1f} "
        f"[{rate.low / 1e6:.1f}, {rate.high / 1e6:.1f}] M: {fast}",
        f"{OURS}: false-positive rates within {100 * NEAR:g} % of those asked for: "
        f"{', '.join(f'{part:.3f}' for part in judged)}: {near}",
    ]


def _contenders(scores: Scores) -> dict[str, Callable[[], Quantile]]:
    """Ways to count the scores; each gives the function that finds a quantile."""
    weights = np.ones(len(scores))
    kept = {name: vaelocity.ScoreHistogram() for name in ("plain", "weighted", "numpy")}

    def ours(which: str, **arguments: Any) -> Quantile:
        return kept[which].update(scores, **arguments).quantile

    def uniform() -> Quantile:
        counts, edges = np.histogram(scores, bins=10_000, range=(0.0, 100.0))
        below = np.cumsum(counts) / len(scores)
        return lambda q: float(edges[1 + np.searchsorted(below, q)])

    def exact() -> Quantile:
        ordered = np.sort(scores)
        return lambda q: float(ordered[int(np.ceil(q * len(ordered))) - 1])

    found: dict[str, Callable[[], Quantile]] = {
        OURS: lambda: ours("plain"),
        f"{OURS}, weighted": lambda: ours("weighted", weights=weights),
        f"{OURS}, in NumPy": lambda: ours("numpy", backend="reference"),
        "np.histogram, 10,000 equal bins": uniform,
        "np.sort, all scores kept": exact,
    }
    return found | _sketches(scores)


def _sketches(scores: Scores) -> dict[str, Callable[[], Quantile]]:
    try:
        import datasketches
    except ImportError:
        print("datasketches is not installed: no sketches")
        return {}

    def sketch(make: Callable[[], Any]) -> Callable[[], Quantile]:
        def count() -> Quantile:
            made = make()
            made.update(scores)
            return lambda q: float(made.get_quantile(q))

        return count

    return {
        "datasketches REQ k=12": sketch(lambda: datasketches.req_floats_sketch(12, True)),
        "datasketches KLL k=200": sketch(lambda: datasketches.kll_floats_sketch(200)),
        "datasketches t-digest k=200": sketch(lambda: datasketches.tdigest_float(200)),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scores", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--cpu", type=int, help="processor to run on")
    return parser.parse_args()


if __name__ == "__main__":
    main()
