"""CudaScorer on the CPU: Triton's interpreter runs the kernels, everything before the launch is
what runs on a GPU. Only for a process of its own, started with TRITON_INTERPRET=1 by
tests/test_cuda_interpreter.py: the variable must be set before a kernel is imported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from vaelocity.cuda.scorer import CudaScorer


@pytest.fixture
def make_scorer() -> Callable[..., CudaScorer]:
    """make_scorer(path, kind=None, precision="float32", **more) -> CudaScorer on the CPU."""

    def make(
        path: Path, kind: str | None = None, precision: str = "float32", **more: Any
    ) -> CudaScorer:
        return CudaScorer(path, kind, precision, torch.device("cpu"), **more)

    return make
