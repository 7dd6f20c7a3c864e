"""A model file with bfloat16 weights: half the bytes, the same arithmetic.

The weights of dense layers and convolutions are rounded to the nearest bfloat16; scores are
computed in float32 from them, so that they are those of a float32 model with the rounded weights,
bit for bit and on every machine. That is another model than the one before: it has another
identity, and neither its thresholds nor its histograms of scores.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity import _core
from vaelocity.bfloat16 import rounded
from vaelocity.bundle import bundle_bytes, read_bundle, write_atomically
from vaelocity.scorer import Scorer, load
from vaelocity.steps import BFLOAT16, narrow_weights

__all__ = ["check_weights", "narrow", "narrowed"]

WEIGHTS = ("float32", BFLOAT16)
"""What the weights of a file may be."""

Tensors = dict[str, npt.NDArray[Any]]


def narrow(path: str | os.PathLike[str], output: str | os.PathLike[str]) -> Scorer:
    """Write the model of `path` with bfloat16 weights to `output`, and load it.

    Its conformance rows are scored anew. Thresholds and histograms of scores are left out: find
    new ones (`vaelocity threshold`). The drift reference stays.

    Raises:
        OSError, BundleError: as `vaelocity.bundle.read_bundle`.
        ValueError: a weight that is beyond bfloat16; nothing is written.
    """
    write_atomically(output, bundle_bytes(*narrowed(*read_bundle(path))))
    return load(output)


def narrowed(
    metadata: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]
) -> tuple[dict[str, Any], Tensors]:
    """The content of such a file, from that of another one; see `narrow`."""
    made = {k: v for k, v in metadata.items() if k not in ("identity", "score_histograms")}
    made |= {"weights": BFLOAT16, "thresholds": []}
    dropped = [n for names in metadata.get("score_histograms", {}).values() for n in names.values()]
    arrays = {name: array for name, array in tensors.items() if name not in dropped}
    for name in narrow_weights(made):
        arrays[name] = rounded(arrays[name])
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"tensor {name}: a weight is beyond the largest bfloat16, 3.39e38")
    conformance = metadata.get("conformance")
    if conformance is not None:
        draft = bundle_bytes(made, arrays)
        rows = arrays[conformance["rows"]]
        for kind, name in conformance["scores"].items():
            model = _core.Model.from_bytes(draft, kind, verify=False)
            arrays[name] = model.score(rows)
            arrays[conformance["flags"][kind]] = model.flags(rows)
    return made, arrays


def check_weights(weights: str) -> None:
    """Raise ValueError unless a file may have such weights."""
    if weights not in WEIGHTS:
        raise ValueError(f"weights: expected {' or '.join(WEIGHTS)}, got {weights!r}")
