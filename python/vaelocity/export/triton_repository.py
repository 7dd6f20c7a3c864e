"""A model repository of the NVIDIA Triton Inference Server: config.pbtxt beside an ONNX graph.

    REPOSITORY/NAME/config.pbtxt
    REPOSITORY/NAME/1/model.onnx

Format: https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/
model_configuration.html
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from vaelocity.bundle import write_atomically
from vaelocity.export.onnx_graph import onnx_model
from vaelocity.scorer import load
from vaelocity.threshold import Threshold

__all__ = ["triton_repository"]

_CONFIG = """\
# made by `vaelocity export`: {kind} scores of model {fingerprint}
name: "{name}"
backend: "onnxruntime"
max_batch_size: {max_batch}
input [
  {{ name: "rows", data_type: TYPE_FP32, dims: [ {n_features} ] }}
]
output [
{outputs}
]
instance_group [ {{ count: 1, kind: KIND_{device} }} ]
dynamic_batching {{ max_queue_delay_microseconds: {delay} }}
"""

# A score is one number a row, without a dimension of its own, which dims cannot say: dims holds
# one, and the reshape takes it away.
_OUTPUT = '  {{ name: "{name}", data_type: {kind}, dims: [ 1 ], reshape: {{ shape: [ ] }} }}'


def triton_repository(
    path: str | os.PathLike[str],
    repository: str | os.PathLike[str],
    *,
    name: str | None = None,
    kind: str | None = None,
    threshold: float | str | Threshold | None = None,
    version: int = 1,
    max_batch: int = 65536,
    device: str = "cpu",
    delay: int = 100,
) -> list[Path]:
    """Write the model file `path` as a model of a Triton repository; returns the files written.

    Args:
        path: a .vael file.
        repository: the repository's folder; made if it is not there.
        name: of the model; default: the file's name.
        kind, threshold: as of `onnx_model`.
        version: folder of the version, at least 1; other versions stay.
        max_batch: rows the server puts together at most.
        device: "cpu" or "gpu".
        delay: microseconds it may wait for more rows.

    Raises: what `onnx_model` raises; ValueError for another argument out of range.
    """
    chosen = name or re.sub(r"[^\w.-]", "_", Path(path).stem, flags=re.ASCII)
    if not re.fullmatch(r"[A-Za-z0-9_][\w.-]*", chosen, flags=re.ASCII):
        raise ValueError(f"name: expected letters, digits, _, - and ., got {chosen!r}")
    if device not in ("cpu", "gpu"):
        raise ValueError(f"device: expected 'cpu' or 'gpu', got {device!r}")
    for argument, value, least in (
        ("version", version, 1), ("max_batch", max_batch, 1), ("delay", delay, 0),
    ):  # fmt: skip
        if value < least:
            raise ValueError(f"{argument}: expected at least {least}, got {value}")
    graph = onnx_model(path, kind=kind, threshold=threshold)
    scorer = load(path, kind=kind)
    outputs = [_OUTPUT.format(name="score", kind="TYPE_FP32")]
    if threshold is not None or scorer.thresholds:
        outputs.append(_OUTPUT.format(name="anomalous", kind="TYPE_BOOL"))
    config = _CONFIG.format(
        kind=scorer.kind,
        fingerprint=scorer.fingerprint,
        name=chosen,
        max_batch=max_batch,
        n_features=scorer.n_features,
        outputs=",\n".join(outputs),
        device=device.upper(),
        delay=delay,
    )
    folder = Path(repository) / chosen
    (folder / str(version)).mkdir(parents=True, exist_ok=True)
    files = [folder / str(version) / "model.onnx", folder / "config.pbtxt"]
    # The graph first: a server that watches the folder takes a model up by its config.
    for file, content in zip(files, (graph, config.encode()), strict=True):
        write_atomically(file, content)
    return files
