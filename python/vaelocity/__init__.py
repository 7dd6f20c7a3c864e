"""Anomaly scores from autoencoders and variational autoencoders at the speed of the hardware.

    import vaelocity
    scorer = vaelocity.load("jets.vael")
    scores = scorer.score(rows)            # float32 [n], higher is more anomalous

Training lives in vaelocity.models (needs torch), data in vaelocity.data. Importing vaelocity and
scoring on the CPU import neither.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vaelocity._core import BundleError, __version__
from vaelocity.histogram import ScoreHistogram
from vaelocity.record_batch import score_batch
from vaelocity.scorer import Scorer, load
from vaelocity.threshold import Threshold, threshold_for

if TYPE_CHECKING:
    from vaelocity import adapters, data, importing, models, ops
    from vaelocity.importing import freeze

__all__ = [
    "BundleError",
    "ScoreHistogram",
    "Scorer",
    "Threshold",
    "__version__",
    "adapters",
    "data",
    "freeze",
    "importing",
    "load",
    "models",
    "ops",
    "score_batch",
    "threshold_for",
]

_LAZY = ("adapters", "data", "importing", "models", "ops")


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"vaelocity.{name}")
    if name == "freeze":
        return importlib.import_module("vaelocity.importing").freeze
    raise AttributeError(f"module 'vaelocity' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
