"""An outlier detector of scikit-learn; passes its check_estimator."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from vaelocity.adapters.training import (
    Scoring,
    made,
    sample_threshold,
    scores_of,
    seed_of,
)

Array = npt.NDArray[Any]


class OutlierDetector(OutlierMixin, BaseEstimator):  # type: ignore[misc]
    """An autoencoder or a VAE as an outlier detector of scikit-learn.

    By scikit-learn's convention lower is more abnormal: `score_samples` is minus the anomaly score,
    `decision_function` is negative for outliers, `predict` says -1 for them.

    Args:
        family: "autoencoder" or "vae".
        latent, hidden, activation, batch_norm: of the network, see `models.Autoencoder`.
        beta: weight of the KL, of a VAE.
        epochs, batch_size, lr: of the training, see `models.Autoencoder.fit`.
        kind: of score; None is "reconstruction".
        contamination: part of the training rows that are outliers, above 0, at most 0.5.
        random_state: int, None (0) or a RandomState.

    Attributes:
        model_: the trained model: `model_.save("m.vael")` freezes it.
        threshold_: `vaelocity.Threshold` in the anomaly scores of the training rows.
        offset_: minus its value.
    """

    def __init__(
        self,
        family: str = "autoencoder",
        latent: int = 16,
        hidden: tuple[int, ...] = (64, 32),
        activation: str = "relu",
        batch_norm: bool = False,
        beta: float = 1.0,
        epochs: int = 50,
        batch_size: int = 256,
        lr: float = 1e-3,
        kind: str | None = None,
        contamination: float = 0.1,
        random_state: Any = None,
    ) -> None:
        self.family = family
        self.latent = latent
        self.hidden = hidden
        self.activation = activation
        self.batch_norm = batch_norm
        self.beta = beta
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.kind = kind
        self.contamination = contamination
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on rows [n, n_features]; y is not used."""
        X = validate_data(self, X, dtype=np.float32, ensure_min_samples=2)
        self.model_: Scoring = made(
            self.family,
            X.shape[1],
            latent=self.latent,
            hidden=self.hidden,
            activation=self.activation,
            batch_norm=self.batch_norm,
            beta=self.beta,
        ).fit(
            X,
            epochs=self.epochs,
            batch_size=self.batch_size,
            lr=self.lr,
            seed=seed_of(self.random_state),
            progress=False,
        )
        scores = scores_of(self.model_, X, self.kind)
        found = sample_threshold(scores, self.contamination, self.model_, self.kind)
        self.threshold_, self.offset_ = found, -found.value
        return self

    def score_samples(self, X: Any) -> Array:
        """Minus the anomaly scores: float64 [n], lower is more abnormal."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float32, reset=False)
        return -scores_of(self.model_, X, self.kind).astype(np.float64)

    def decision_function(self, X: Any) -> Array:
        """score_samples - offset_: float64 [n], below 0 for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> Array:
        """-1 for outliers, 1 for inliers: int [n]."""
        return np.where(self.decision_function(X) < 0, -1, 1)


def as_sklearn(scoring: Any, rows: Any = None, contamination: float = 0.1) -> OutlierDetector:
    """A scorer, a fitted model or an ensemble of them as a fitted `OutlierDetector`.

    Args:
        scoring: from `vaelocity.load`, or a model.
        rows: float [n, n_features]: the threshold has `contamination` of their scores above it;
            None takes the first threshold of the scorer's file.
        contamination: see `rows`.

    Raises ValueError for no rows and no threshold in the file.
    """
    detector = OutlierDetector(contamination=contamination, kind=getattr(scoring, "kind", None))
    detector.model_ = scoring
    detector.n_features_in_ = scoring.n_features
    if rows is None:
        if not hasattr(scoring, "stored_threshold"):
            raise ValueError("rows: a model needs rows to find a threshold in, got None")
        detector.threshold_ = scoring.stored_threshold()
    else:
        scores = scores_of(scoring, rows, detector.kind)
        detector.threshold_ = sample_threshold(scores, contamination, scoring, detector.kind)
    detector.offset_ = -detector.threshold_.value
    return detector
