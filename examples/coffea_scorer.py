"""A vaelocity model as coffea's ML hook: awkward arrays in, scores out.

    scores = VaelocityScorer("jets.vael")(events.Jet)      # inside a coffea processor

Follows coffea.ml_tools.helper.numpy_call_wrapper: prepare_awkward says what the model sees,
numpy_call scores it. Only the path is shipped to a worker, which loads the model once, when it
first scores. Needs coffea.
"""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
from coffea.ml_tools.helper import nonserializable_attribute, numpy_call_wrapper

import vaelocity


class VaelocityScorer(numpy_call_wrapper, nonserializable_attribute):
    """Scores the objects of an awkward record array; its fields are the model's features."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.feature_names = vaelocity.load(path).feature_names
        nonserializable_attribute.__init__(self, ["scorer"])

    def _create_scorer(self) -> vaelocity.Scorer:
        return vaelocity.load(self._path)

    def prepare_awkward(self, objects: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """One flat column for every feature."""
        flat = ak.flatten(objects) if objects.ndim > 1 else objects
        return tuple(flat[name] for name in self.feature_names), {}

    def validate_numpy_input(self, *columns: np.ndarray) -> None:
        """The scorer checks what it is given."""

    def numpy_call(self, *columns: np.ndarray) -> np.ndarray:
        """float32 [n]; higher is more anomalous."""
        return self.scorer.score([np.ascontiguousarray(c, np.float32) for c in columns])
