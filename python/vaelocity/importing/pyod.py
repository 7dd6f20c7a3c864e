"""A fitted PyOD AutoEncoder or VAE as a .vael file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vaelocity.importing.torch_module import freeze
from vaelocity.importing.write import example_rows
from vaelocity.threshold import Threshold, threshold_for

if TYPE_CHECKING:
    from vaelocity.scorer import Scorer

_EPS = 1e-8
"""What PyOD adds to a standard deviation before it divides by it."""


def pyod_detector(
    detector: Any,
    rows: Any,
    path: str | os.PathLike[str],
    *,
    kind: str | None = None,
    feature_names: Sequence[str] | None = None,
) -> Scorer:
    """Write a fitted `pyod.models.auto_encoder.AutoEncoder` or `pyod.models.vae.VAE` and load it.

    PyOD's score is the distance ||y - x'||, the file's 1/2 ||y - x'||^2: sqrt(2 * score) is PyOD's
    score up to float32 rounding, and the order of events is the same. PyOD scores a VAE with random
    noise, the file at z = mu. Its standardisation is kept. The threshold "pyod" has contamination
    of the scores of `rows` above it: its labels_, where these are all rows of the training.

    Args:
        detector: fitted.
        rows: float [n, d], rows of the training, for comparison; see `vaelocity.freeze`.
        path: the file.
        kind: the file's score, see `vaelocity.freeze`; None is PyOD's, "reconstruction".
        feature_names: of the columns.

    Raises:
        TypeError: a detector of another class.
        ValueError: one that is not fitted, and what `vaelocity.freeze` raises.
    """
    name = type(detector).__name__
    if type(detector).__module__ not in ("pyod.models.auto_encoder", "pyod.models.vae"):
        raise TypeError(
            "detector: expected pyod.models.auto_encoder.AutoEncoder or pyod.models.vae.VAE, got "
            f"{type(detector).__module__}.{name}"
        )
    if getattr(detector, "decision_scores_", None) is None:
        raise ValueError(f"detector: this {name} was not fitted")
    mean = detector.X_mean if detector.preprocessing else None
    scale = detector.X_std + _EPS if detector.preprocessing else None
    # torch.compile wraps the module; what it wraps is what is read.
    module = getattr(detector.model, "_orig_mod", detector.model)
    chosen = example_rows(rows, detector.feature_size, "rows")

    def thresholds(scorer: Scorer) -> list[Threshold]:
        part = detector.contamination
        if not isinstance(part, (int, float)):
            return []
        scores = scorer.score(chosen)
        return [
            threshold_for(
                scores, contamination=float(part), kind=scorer.kind, least_above=1, name="pyod"
            )
        ]

    return freeze(
        module,
        chosen,
        path,
        mean=mean,
        scale=scale,
        kind=kind,
        beta=float(getattr(detector, "beta", 1.0)),
        feature_names=feature_names,
        thresholds=thresholds,
    )
