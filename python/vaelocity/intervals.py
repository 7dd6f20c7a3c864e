"""Intervals of a fraction that was counted: Clopper-Pearson, and its form for weighted events."""

from __future__ import annotations

import math

__all__ = ["clopper_pearson", "effective_counts"]


def clopper_pearson(count: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """The Clopper-Pearson interval [1] of a fraction of which `count` of `n` were seen.

    Both may be fractional: see `effective_counts`. Needs SciPy.

    Args:
        count: 0 to n.
        n: above 0.
        confidence: between 0 and 1, both excluded.

    Raises:
        ValueError: an argument out of its range.
        ImportError: SciPy is missing.

    [1] C. J. Clopper, E. S. Pearson, Biometrika 26 (1934) 404.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: expected a number between 0 and 1, got {confidence!r}")
    if not (math.isfinite(n) and n > 0 and 0 <= count <= n):
        raise ValueError(f"count, n: expected 0 <= count <= n, n > 0, got {count!r} and {n!r}")
    try:
        from scipy.special import betaincinv
    except ImportError as error:
        raise ImportError('intervals need SciPy: pip install "vaelocity[cli]"') from error
    tail = (1 - confidence) / 2
    low = 0.0 if count == 0 else float(betaincinv(count, n - count + 1, tail))
    high = 1.0 if count == n else float(betaincinv(count + 1, n - count, 1 - tail))
    return low, high


def effective_counts(
    above: float, above_squares: float, total: float, total_squares: float
) -> tuple[float, float]:
    """(count, n) of unweighted events that know a weighted fraction as well as these do.

    n is p (1 - p) / var(p), with var(p) = ((1 - p)^2 S_above + p^2 S_below) / total^2 for the sums
    S of squared weights: the effective sample size with which [1] puts weighted data into the
    Clopper-Pearson interval. Where nothing or everything lies above, n is total^2 / S (Kish).

    Args:
        above, above_squares: sum of the weights above the threshold, and of their squares.
        total, total_squares: the same of all events; total is above 0.

    [1] E. L. Korn, B. I. Graubard, Survey Methodology 24 (1998) 193.
    """
    p = min(above / total, 1.0)
    below_squares = max(total_squares - above_squares, 0.0)
    spread = (1 - p) ** 2 * above_squares + p**2 * below_squares
    if p in (0.0, 1.0) or spread == 0:
        n = total**2 / total_squares
    else:
        n = p * (1 - p) * total**2 / spread
    return p * n, n
