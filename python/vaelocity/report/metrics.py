"""How well a score separates anomalous events from normal ones.

Everywhere: higher is more anomalous, `normal` and `anomalous` are scores, float [n] and [m].
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.floating[Any]]


class Estimate(NamedTuple):
    """A number and its standard error."""

    value: float
    error: float


def auc(normal: Scores, anomalous: Scores) -> Estimate:
    """Area under the ROC curve: P(an anomalous event scores higher), equal scores counting half.

    The value is the Mann-Whitney statistic over n*m; the standard error is that of Hanley and
    McNeil, Radiology 143 (1982) 29, equation 2.
    """
    from scipy.stats import rankdata

    n, m = _sizes(normal, anomalous)
    ranks = rankdata(np.concatenate([normal, anomalous]).astype(np.float64))
    a = float((ranks[n:].sum() - m * (m + 1) / 2) / (n * m))
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    variance = (a * (1 - a) + (m - 1) * (q1 - a * a) + (n - 1) * (q2 - a * a)) / (n * m)
    return Estimate(a, math.sqrt(max(variance, 0.0)))


def efficiency(normal: Scores, anomalous: Scores, fpr: float) -> Estimate:
    """Part of the anomalous events above the cut that at most `fpr` of the normal events pass.

    The cut is a score of a normal event and must be exceeded. The error is the binomial one of the
    anomalous sample; the uncertainty of the cut itself is not in it.
    """
    n, m = _sizes(normal, anomalous)
    if not 0 < fpr < 1:
        raise ValueError(f"fpr: expected a number between 0 and 1, got {fpr!r}")
    passing = math.floor(fpr * n)
    if passing < 1:
        raise ValueError(f"fpr: {fpr:g} of {n} normal events is less than one event")
    cut = np.sort(normal)[n - passing - 1]
    value = float(np.count_nonzero(anomalous > cut)) / m
    return Estimate(value, math.sqrt(value * (1 - value) / m))


def roc(normal: Scores, anomalous: Scores) -> tuple[Scores, Scores]:
    """False- and true-positive rate at every cut between distinct scores, from (0, 0) to (1, 1)."""
    n, m = _sizes(normal, anomalous)
    values = np.concatenate([normal, anomalous])
    order = np.argsort(-values, kind="stable")
    is_normal = order < n
    ends = np.append(np.flatnonzero(np.diff(values[order])), n + m - 1)
    fpr = np.cumsum(is_normal)[ends] / n
    tpr = np.cumsum(~is_normal)[ends] / m
    return np.append(0.0, fpr), np.append(0.0, tpr)


def _sizes(normal: Scores, anomalous: Scores) -> tuple[int, int]:
    for name, scores in (("normal", normal), ("anomalous", anomalous)):
        if scores.ndim != 1 or len(scores) == 0:
            raise ValueError(f"{name}: expected scores of shape [n], n > 0, got {scores.shape}")
        bad = int(np.count_nonzero(np.isnan(scores)))
        if bad:
            raise ValueError(f"{name}: {bad} of {len(scores)} scores are NaN")
    return len(normal), len(anomalous)
