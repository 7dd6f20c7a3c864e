"""CudaScorer on the CPU: Triton's interpreter runs the kernels, everything before the launch is what
runs on a GPU. Only for a process of its own, started with TRITON_INTERPRET=1 by
tests/test_cuda_interpreter.py: the variable must be set before a kernel is imported."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))


@pytest.fixture
def make_scorer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """make_scorer(path, kind=None, precision="float32", config=None) -> CudaScorer on the CPU."""
    from vaelocity.cuda import scorer as module
    from vaelocity.cuda.program import Program

    monkeypatch.setattr(module, "_on", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(module, "_arch", lambda device: "sm_90")
    monkeypatch.setattr(module, "_multiprocessors", lambda device: 2)
    # The interpreter computes nonsense in bfloat16: the same values, held as float32.
    weights = Program.weights.func
    monkeypatch.setattr(Program, "weights", property(lambda self: _widened(weights(self))))
    monkeypatch.setattr(Program, "scratch_type", property(_scratch_type))

    def make(path: Path, kind: str | None = None, precision: str = "float32", **more: Any) -> Any:
        return module.CudaScorer(path, kind, precision, torch.device("cpu"), **more)

    return make


def _scratch_type(program: Any) -> str | None:
    return None if program.config.kernel == "score" else "fp32"


def _widened(values: np.ndarray) -> np.ndarray:
    if values.dtype != np.uint16:
        return values
    return (values.astype(np.uint32) << 16).view(np.float32)
