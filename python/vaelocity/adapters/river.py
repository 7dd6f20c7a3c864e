"""An anomaly detector of river: one event at a time, as a dict of features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from river.base import AnomalyDetector

from vaelocity.adapters.training import Scoring, made, scores_of


class Anomaly(AnomalyDetector):
    """An autoencoder or a VAE that learns from a stream: score_one(x), learn_one(x).

    The first `warm_up` events train it for `epochs` epochs and set the scaling; after that every
    `batch_size` events are one more step of `partial_fit`. Scores before are 0. The features are
    the keys of the first event; a later event without one of them gets NaN for its score and is
    not learned from. Higher is more abnormal.

    Args:
        family, latent, hidden, activation, beta, lr: as of
            `vaelocity.adapters.sklearn.OutlierDetector`.
        warm_up: events before the first training, at least 2.
        epochs: of the first training.
        batch_size: events of a step after it.
        seed: of weights and noise.
    """

    def __init__(
        self,
        family: str = "autoencoder",
        latent: int = 4,
        hidden: tuple[int, ...] = (16,),
        activation: str = "relu",
        beta: float = 1.0,
        lr: float = 1e-3,
        warm_up: int = 256,
        epochs: int = 50,
        batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        for name, value, least in (("warm_up", warm_up, 2), ("batch_size", batch_size, 1)):
            if value < least:
                raise ValueError(f"{name}: expected at least {least}, got {value!r}")
        self.family = family
        self.latent = latent
        self.hidden = hidden
        self.activation = activation
        self.beta = beta
        self.lr = lr
        self.warm_up = warm_up
        self.epochs = epochs
        self.batch_size = batch_size
        self.seed = seed
        self._scoring: Scoring | None = None
        self._features: list[Any] | None = None
        self._rows: list[npt.NDArray[np.float32]] = []
        self._learns = True

    def learn_one(self, x: Mapping[Any, float]) -> None:
        """Keep an event; train when there are enough of them."""
        if not self._learns:
            return
        if self._features is None:
            self._features = sorted(x, key=str)
        row = self._row(x)
        if not np.isfinite(row).all():
            return
        self._rows.append(row)
        if len(self._rows) < (self.warm_up if self._scoring is None else self.batch_size):
            return
        rows, self._rows = np.stack(self._rows), []
        if self._scoring is None:
            model = made(
                self.family,
                rows.shape[1],
                latent=self.latent,
                hidden=self.hidden,
                activation=self.activation,
                batch_norm=False,
                beta=self.beta,
            )
            batch = min(self.batch_size, len(rows))
            self._scoring = model.fit(
                rows,
                epochs=self.epochs,
                batch_size=batch,
                lr=self.lr,
                seed=self.seed,
                progress=False,
                patience=None,
            )
            return
        learner: Any = self._scoring
        learner.partial_fit(rows, batch_size=len(rows), lr=self.lr, seed=self.seed, progress=False)

    def score_one(self, x: Mapping[Any, float]) -> float:
        """The anomaly score of one event; 0 before the first training."""
        if self._scoring is None:
            return 0.0
        return float(scores_of(self._scoring, self._row(x)[None], None)[0])

    def _row(self, x: Mapping[Any, float]) -> npt.NDArray[np.float32]:
        """float32 [d] in the order of the features, NaN for one that is missing."""
        assert self._features is not None
        return np.array([x.get(name, np.nan) for name in self._features], np.float32)


def as_river(scoring: Any, batch_size: int = 64, lr: float = 1e-3) -> Anomaly:
    """A scorer, or a fitted model, as an `Anomaly` that scores at once.

    A model goes on learning from the stream, every `batch_size` events; a scorer is frozen, and
    learn_one does nothing. Events are dicts with the feature names as keys.
    """
    detector = Anomaly(batch_size=batch_size, lr=lr)
    detector._scoring = scoring
    detector._features = list(scoring.feature_names)
    detector._learns = hasattr(scoring, "partial_fit")
    return detector
