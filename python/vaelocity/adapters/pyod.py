"""A detector of PyOD."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from pyod.models.base import BaseDetector
from sklearn.utils.validation import check_array, check_is_fitted

from vaelocity.adapters.training import (
    Scoring,
    made,
    sample_threshold,
    scores_of,
    seed_of,
)

Array = npt.NDArray[Any]


class Detector(BaseDetector):  # type: ignore[misc]
    """An autoencoder or a VAE as a detector of PyOD: higher is more abnormal, labels are 0 and 1.

    Args:
        contamination: part of the training rows that are outliers, or a PyThresh object.
        family, latent, hidden, activation, batch_norm, beta, epochs, batch_size, lr, kind,
            random_state: as of `vaelocity.adapters.sklearn.OutlierDetector`.

    Attributes:
        decision_scores_, labels_: of the training rows, float64 [n] and int [n].
        threshold_: labels_ is 1 where a score is above; from `vaelocity.threshold_for`, so that at
            most `contamination` of the rows lie above.
        model_: the trained model: `model_.save("m.vael")` freezes it.
    """

    def __init__(
        self,
        contamination: Any = 0.1,
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
        random_state: Any = None,
    ) -> None:
        super().__init__(contamination=contamination)
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
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on rows [n, n_features]; y is not used."""
        X = check_array(X, dtype=np.float32)
        self._set_n_classes(y)
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
        self._conclude(X)
        return self

    def decision_function(self, X: Any) -> Array:
        """Anomaly scores: float64 [n], higher is more abnormal."""
        check_is_fitted(self, ["model_"])
        X = check_array(X, dtype=np.float32)
        return scores_of(self.model_, X, self.kind).astype(np.float64)

    def _conclude(self, X: Any) -> None:
        self.decision_scores_ = self.decision_function(X)
        self._process_decision_scores()
        if isinstance(self.contamination, (int, float)):
            part = float(self.contamination)
            found = sample_threshold(self.decision_scores_, part, self.model_, self.kind)
            self.threshold_ = found.value
            self.labels_ = (self.decision_scores_ > found.value).astype(int)


def as_pyod(scoring: Any, rows: Any, contamination: float = 0.1) -> Detector:
    """A scorer, a fitted model or an ensemble of them as a fitted `Detector`.

    Args:
        scoring: from `vaelocity.load`, or a model.
        rows: float [n, n_features], for decision_scores_, labels_, threshold_ and the scale of
            predict_proba.
        contamination: part of the rows above the threshold.
    """
    detector = Detector(contamination=contamination, kind=getattr(scoring, "kind", None))
    detector.model_ = scoring
    detector._set_n_classes(None)
    detector._conclude(rows)
    return detector
