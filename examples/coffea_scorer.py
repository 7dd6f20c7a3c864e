"""A vaelocity model as coffea's ML hook: awkward arrays in, scores out.

    scores = VaelocityScorer("jets.vael")(events.Jet)      # inside a coffea processor

Follows coffea.ml_tools.helper.numpy_call_wrapper: prepare_awkward says what the model sees,
numpy_call scores it. The model is loaded when it is first used, once a worker, and only its path is
shipped. Needs coffea.
"""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
from coffea.ml_tools.helper import numpy_call_wrapper

import vaelocity


class VaelocityScorer(numpy_call_wrapper):
    """Scores the objects of an awkward record array; its fields are the model's features."""

    def __init__(self, path: str) -> None:
        self._path = path
        super().__init__()

    def prepare_awkward(self, objects: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """One flat float32 column for every feature."""
        names = vaelocity.load(self._path, verify=False).feature_names
        flat = ak.flatten(objects) if objects.ndim > 1 else objects
        return tuple(ak.values_astype(flat[name], np.float32) for name in names), {}

    def numpy_call(self, *columns: np.ndarray) -> np.ndarray:
        """float32 [n]; higher is more anomalous."""
        return vaelocity.load(self._path).score(list(columns))
