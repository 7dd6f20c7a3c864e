"""How well a score separates anomalous events from normal ones.

Everywhere: higher is more anomalous, `normal` and `anomalous` are scores, float [n] and [m].
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vaelocity.intervals import clopper_pearson
from vaelocity.threshold import Threshold, events_needed, threshold_for

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


@dataclass(frozen=True)
class WorkingPoint:
    """A cut at a false-positive rate, and what it keeps of each class.

    threshold   found on the normal scores as every threshold is, with the interval of its true
                false-positive rate; None where there are too few of them for it
    efficiency  class to (value, low, high): part above the cut with its 95 % Clopper-Pearson
                interval at this cut; the uncertainty of the cut itself is that of the threshold
    needed      normal events that the rate takes
    """

    fpr: float
    threshold: Threshold | None
    efficiency: dict[str, tuple[float, float, float]]
    needed: int


def working_point(normal: Scores, anomalous: Mapping[str, Scores], fpr: float) -> WorkingPoint:
    """The cut that at most `fpr` of the normal events exceed; nothing is extrapolated.

    Needs SciPy. Raises ValueError for scores that are NaN, and an fpr that is no part.
    """
    for scores in (normal, *anomalous.values()):
        _sizes(normal, scores)
    needed = events_needed(fpr)
    if len(normal) < needed:
        return WorkingPoint(fpr, None, {}, needed)
    threshold = threshold_for(normal, fpr=fpr, not_finite="count")
    kept = {name: passing(scores, threshold.value) for name, scores in anomalous.items()}
    return WorkingPoint(fpr, threshold, kept, needed)


def passing(scores: Scores, cut: float) -> tuple[float, float, float]:
    """Part of the scores above the cut, and its 95 % Clopper-Pearson interval."""
    count = int(np.count_nonzero(scores > cut))
    return count / len(scores), *clopper_pearson(count, len(scores))


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
