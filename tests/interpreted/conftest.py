"""CudaScorer on the CPU: Triton's interpreter runs the kernels, everything before the launch is
what runs on a GPU. Only for a process of its own, started with TRITON_INTERPRET=1 by
tests/test_cuda_interpreter.py: the variable must be set before a kernel is imported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from triton.runtime.interpreter import TensorDescHandle, TensorHandle

from vaelocity.cuda.scorer import CudaScorer


@pytest.fixture
def any_column(monkeypatch: pytest.MonkeyPatch) -> None:
    """Descriptors read from any column, as the hardware does (tests/test_cuda_scorer.py shows it):
    it asks for 16 bytes of the first address and of strides, the interpreter of columns as well."""
    read = TensorDescHandle.materialize_pointers

    def read_from_any(self: Any, offsets: list[Any]) -> Any:
        column = offsets[-1].data
        size = self.base.dtype.element_ty.primitive_bitwidth // 8
        base = TensorHandle((self.base.data + column * size).astype("uint64"), self.base.dtype)
        *lengths, length = self.shape
        left = TensorHandle(length.data - column, length.dtype)
        moved = TensorDescHandle(
            base, [*lengths, left], self.strides, self.block_shape, self.padding
        )
        return read(moved, [*offsets[:-1], TensorHandle(0 * column, offsets[-1].dtype)])

    monkeypatch.setattr(TensorDescHandle, "materialize_pointers", read_from_any)
    monkeypatch.setattr("vaelocity.cuda.device.copies_tensors", lambda device: True)


@pytest.fixture
def make_scorer() -> Callable[..., CudaScorer]:
    """make_scorer(path, kind=None, precision="float32", **more) -> CudaScorer on the CPU."""

    def make(
        path: Path, kind: str | None = None, precision: str = "float32", **more: Any
    ) -> CudaScorer:
        return CudaScorer(path, kind, precision, torch.device("cpu"), **more)

    return make
