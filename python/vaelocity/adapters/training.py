"""What the adapters share: a model made and trained from plain parameters, and scores of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from vaelocity.threshold import Threshold, threshold_for

if TYPE_CHECKING:
    from vaelocity.models.base import Model

Floats = npt.NDArray[np.float32]

FAMILIES = ("autoencoder", "vae")


class Scoring(Protocol):
    """What an adapter needs of a scorer or of a model."""

    @property
    def n_features(self) -> int: ...

    def score(self, rows: Any, /) -> Floats: ...


def made(
    family: str,
    n_features: int,
    *,
    latent: int,
    hidden: Sequence[int],
    activation: str,
    batch_norm: bool,
    beta: float,
) -> Model:
    """An untrained model. Raises ValueError for an unknown family or an argument out of range."""
    from vaelocity import models

    arguments: dict[str, Any] = {
        "latent": latent,
        "hidden": tuple(hidden),
        "activation": activation,
        "batch_norm": batch_norm,
    }
    if family == "autoencoder":
        return models.Autoencoder(n_features, **arguments)
    if family == "vae":
        return models.VAE(n_features, beta=beta, **arguments)
    raise ValueError(f"family: expected one of {', '.join(FAMILIES)}, got {family!r}")


def seed_of(random_state: Any) -> int:
    """An int from None, an int or a numpy RandomState, as scikit-learn takes them."""
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(1 << 31))
    return 0 if random_state is None else int(random_state)


def kind_of(scoring: Scoring, kind: str | None) -> str:
    """The kind of the scores that `scores_of` gives."""
    chosen = kind or getattr(scoring, "default_kind", None) or getattr(scoring, "kind", None)
    return chosen or "reconstruction"


def sample_threshold(
    scores: npt.ArrayLike, contamination: float, scoring: Scoring, kind: str | None
) -> Threshold:
    """The lowest threshold with at most `contamination` of these scores above it.

    The scores are of the rows a model was trained on, some of which may be anomalous: it is a part
    of the sample, not a rate that other rows will have. Raises ValueError for a contamination that
    is no number above 0, at most 0.5.
    """
    number = isinstance(contamination, (int, float)) and not isinstance(contamination, bool)
    if not number or not 0 < contamination <= 0.5:
        raise ValueError(
            f"contamination: expected a number above 0, at most 0.5, got {contamination!r}"
        )
    return threshold_for(
        scores,
        contamination=float(contamination),
        kind=kind_of(scoring, kind),
        least_above=1,
        not_finite="count",
        model=getattr(scoring, "identity", None),
    )


def scores_of(scoring: Scoring, rows: Any, kind: str | None) -> Floats:
    """Scores float32 [n] of float rows [n, d], float64 being rounded to float32."""
    given = np.ascontiguousarray(rows, np.float32)
    # A Scorer has its kind already, a model takes one.
    if kind is not None and hasattr(scoring, "default_kind"):
        return scoring.score(given, kind)  # type: ignore[call-arg]
    return scoring.score(given)
