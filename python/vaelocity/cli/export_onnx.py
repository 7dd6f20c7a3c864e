"""`vaelocity export --onnx`, `--qonnx` and `--triton-repository`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vaelocity.bundle import write_atomically
from vaelocity.cli import console, options
from vaelocity.cli.batches import feature_batches
from vaelocity.scorer import load


def write_onnx(bundle: Path, target: Path, kind: str | None, threshold: str | None) -> None:
    """Write the graph, and say so."""
    from vaelocity.export import onnx_model

    options.check_output(target)
    graph = onnx_model(bundle, kind=kind, threshold=threshold)
    write_atomically(target, graph)
    _wrote(target)


def write_repository(
    bundle: Path, target: Path, name: str | None, kind: str | None, threshold: str | None
) -> None:
    """Write the repository, and say which files."""
    from vaelocity.export import triton_repository

    files = triton_repository(bundle, target, name=name, kind=kind, threshold=threshold)
    for path in files:
        _wrote(path)
    console.out().print(
        f"serve: tritonserver --model-repository={target}", soft_wrap=True, highlight=False
    )


def write_qonnx(
    bundle: Path, target: Path, part: str, weight_bits: int, value_bits: int, data: Path | None
) -> None:
    """Write the graph, with ranges from the rows of `data`, and say so."""
    from vaelocity.export import qonnx_model

    options.check_output(target)
    rows = None
    if data is not None:
        reading = options.Reading(None, None, None, None)
        batches = feature_batches(load(bundle), [str(data)], reading, batch_size=65536)
        rows = np.concatenate([table.rows for table in batches])
    graph = qonnx_model(bundle, rows, part=part, weight_bits=weight_bits, value_bits=value_bits)
    write_atomically(target, graph)
    _wrote(target)


def _wrote(path: Path) -> None:
    console.out().print(
        f"wrote {path}: {path.stat().st_size:,} bytes", soft_wrap=True, highlight=False
    )
