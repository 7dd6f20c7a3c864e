"""`vaelocity export --onnx`, `--qonnx` and `--triton-repository`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vaelocity.bundle import write_atomically
from vaelocity.cli import console, options


def write_onnx(bundle: Path, target: Path, kind: str | None, threshold: str | None) -> None:
    """Write the graph, and say so."""
    from vaelocity.export import onnx_model

    options.check_output(target)
    graph = onnx_model(bundle, kind=kind, threshold=threshold)
    write_atomically(target, graph)
    _wrote(target)


def write_qonnx(bundle: Path, target: Path, kind: str | None, bits: Mapping[str, int]) -> None:
    """Write the quantised graph, and say so. bits: arguments of `qonnx_model`."""
    from vaelocity.export import qonnx_model

    options.check_output(target)
    write_atomically(target, qonnx_model(bundle, kind=kind, **bits))
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


def _wrote(path: Path) -> None:
    console.out().print(
        f"wrote {path}: {path.stat().st_size:,} bytes", soft_wrap=True, highlight=False
    )
