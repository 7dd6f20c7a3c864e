"""Why an event has its score: its features by their part of it, groups of them, and how unusual
their values are beside the training rows.

    for event in explain(scorer, rows, k=3):
        print(event.score, [reason.feature for reason in event.reasons])
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vaelocity import rows as _rows
from vaelocity.drift import BINS, Reference

if TYPE_CHECKING:
    from vaelocity.scorer import Scorer

__all__ = ["BAND", "Explanation", "Reason", "explain", "group_scores", "grouped", "reference_of"]

Floats = npt.NDArray[np.float32]

BAND = 1 - 2 / BINS
"""Part of the training rows inside a feature's band: between the first and the last of the 31
quantiles that a file keeps of it, 15 of 16."""


@dataclass(frozen=True)
class Reason:
    """One feature's part of an event's score.

    feature  its name
    value    in the event, in the units of the feature
    score    1/2 (y_j - x_j)^2, its part of the reconstruction score
    share    score / sum of all features' scores, between 0 and 1; NaN where the sum is 0 or not
             finite
    band     (low, high) between which BAND of the training rows lie; None without a reference
    outside  "low" or "high" for a value outside the band, "below" or "above" for one outside all of
             the training rows, "" for one inside, for a NaN, or without a reference
    """

    feature: str
    value: float
    score: float
    share: float
    band: tuple[float, float] | None
    outside: str


@dataclass(frozen=True)
class Explanation:
    """The reconstruction score of one event and its largest parts, largest first.

    groups   score by name of group, largest first; empty without groups
    """

    score: float
    reasons: tuple[Reason, ...]
    groups: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it: None for what is not finite."""
        entry = asdict(self)
        entry["score"] = _finite(self.score)
        entry["groups"] = {name: _finite(score) for name, score in self.groups.items()}
        for reason in entry["reasons"]:
            for name in ("value", "score", "share"):
                reason[name] = _finite(reason[name])
        return entry


def explain(
    scorer: Scorer,
    rows: Any,
    k: int = 3,
    *,
    groups: Mapping[str, Sequence[str]] | None = None,
    reference: Reference | None = None,
) -> list[Explanation]:
    """Why each row has its reconstruction score.

    Args:
        scorer: of kind reconstruction: `vaelocity.load(path, kind="reconstruction")`.
        rows: n events, as `Scorer.score` takes them.
        k: reasons an event, at least 1; at most n_features are given.
        groups: see `grouped`.
        reference: how features were distributed in training, see `reference_of`.

    Raises:
        TypeError, ValueError: what `Scorer.score_features` raises, a `k` below 1, a group that
            names a feature the model does not have, a reference of other features.
    """
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise ValueError(f"k: expected an int of at least 1, got {k!r}")
    if reference is not None and reference.n_features != scorer.n_features:
        raise ValueError(
            f"reference: of {reference.n_features} features, the model has {scorer.n_features}"
        )
    names = scorer.feature_names
    members = {} if groups is None else grouped(names, groups)
    parts = scorer.score_features(rows)
    values = _values(rows, names)
    sums = group_scores(parts, members)
    found = []
    # A NaN sorts last, so that a row that cannot be scored still names features.
    order = np.argsort(-parts, axis=1, kind="stable")[:, :k]
    for i, largest in enumerate(order):
        total = float(parts[i].sum(dtype=np.float64))
        reasons = tuple(
            _reason(j, names[j], float(values[i][j]), float(parts[i, j]), total, reference)
            for j in largest.tolist()
        )
        ranked = sorted(((name, float(of[i])) for name, of in sums.items()), key=_by_score)
        found.append(Explanation(total, reasons, dict(ranked)))
    return found


def group_scores(parts: Floats, members: Mapping[str, Sequence[int]]) -> dict[str, Floats]:
    """The sum of each group's columns of parts [n, n_features]: float32 [n] by name."""
    return {
        name: parts[:, list(columns)].sum(axis=1, dtype=np.float64).astype(np.float32)
        for name, columns in members.items()
    }


def grouped(names: Sequence[str], groups: Mapping[str, Sequence[str]]) -> dict[str, list[int]]:
    """Columns of each group, an object made of several features for instance.

    Args:
        names: the features.
        groups: names of features, or patterns with * and ?, by name of group. A feature may be in
            one group at most; those in none make the group "other".

    Raises ValueError for a pattern that fits no feature, or a feature in two groups.
    """
    found: dict[str, list[int]] = {}
    owner: dict[int, str] = {}
    for group, patterns in groups.items():
        wanted = [patterns] if isinstance(patterns, str) else list(patterns)
        found[group] = []
        for pattern in wanted:
            columns = [j for j, name in enumerate(names) if fnmatchcase(name, pattern)]
            if not columns:
                raise ValueError(f"groups: {group}: no feature is called {pattern!r}")
            for j in columns:
                if owner.setdefault(j, group) != group:
                    raise ValueError(f"groups: {names[j]} is in {owner[j]} and in {group}")
                if j not in found[group]:
                    found[group].append(j)
    rest = [j for j in range(len(names)) if j not in owner]
    if rest:
        if "other" in found:
            raise ValueError('groups: "other" is the group of the features that are in no other')
        found["other"] = rest
    return found


def reference_of(path: str | os.PathLike[str]) -> Reference | None:
    """The reference in a .vael file, or None. Raises OSError or BundleError as `read_bundle`."""
    from vaelocity.bundle import read_bundle
    from vaelocity.bundle_parts import get_reference

    return get_reference(*read_bundle(path))


def _reason(
    j: int, name: str, value: float, score: float, total: float, reference: Reference | None
) -> Reason:
    share = score / total if np.isfinite(total) and total > 0 else float("nan")
    if reference is None:
        return Reason(name, value, score, share, None, "")
    band = (float(reference.edges[j, 0]), float(reference.edges[j, -1]))
    least, most = map(float, reference.range[j])
    outside = ""
    if value < band[0]:
        outside = "below" if value < least else "low"
    elif value > band[1]:
        outside = "above" if value > most else "high"
    return Reason(name, value, score, share, band, outside)


def _values(rows: Any, names: Sequence[str]) -> Floats:
    """The rows as float32 [n, d]."""
    layout = _rows.layout_of(rows, names)
    return np.stack(layout, axis=1) if isinstance(layout, list) else layout


def _by_score(item: tuple[str, float]) -> float:
    return -item[1] if np.isfinite(item[1]) else float("inf")


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
