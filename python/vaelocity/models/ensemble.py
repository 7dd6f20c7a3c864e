"""Several models as one score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


class Member(Protocol):
    """Anything that scores rows: a model, a `vaelocity.Scorer`, another ensemble."""

    def score(self, X: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]: ...


class Ensemble:
    """The mean of the standardised scores of its members: float32 [n], higher is more anomalous.

    A member's score is standardised by mean and deviation over normal rows, so that every member
    has the same say about those whatever the unit of its score.

    Args:
        members: fitted models or scorers of the same features, at least one. A member gives the
            score of its default kind.
        X: normal rows [n, n_features], best of all rows that trained none of them.

    Raises:
        ValueError: no members, or one whose scores of X are all equal or not finite.
    """

    def __init__(self, members: Sequence[Member], X: npt.NDArray[np.float32]) -> None:
        if not members:
            raise ValueError("members: expected at least one")
        self.members = list(members)
        scores = np.stack([member.score(X) for member in self.members]).astype(np.float64)
        self.mean = scores.mean(axis=1)
        self.deviation = scores.std(axis=1)
        for i, deviation in enumerate(self.deviation):
            if not (np.isfinite(deviation) and deviation > 0):
                raise ValueError(
                    f"members: the scores of X by member {i} have deviation {deviation}"
                )

    def score_members(self, X: npt.NDArray[np.float32]) -> Floats:
        """The standardised score of every member: float32 [n, members]."""
        scores = np.stack([member.score(X) for member in self.members], axis=1)
        found: Floats = ((scores - self.mean) / self.deviation).astype(np.float32)
        return found

    def score(self, X: npt.NDArray[np.float32]) -> Floats:
        """The mean over the members: float32 [n]; NaN where a member says NaN."""
        found: Floats = self.score_members(X).mean(axis=1)
        return found
