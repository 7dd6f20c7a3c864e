"""What the checks of the Triton kernels share: tensors, outputs that notice strays, tolerances.

On the CPU in Triton's interpreter or on a GPU, as TRITON_INTERPRET says. The checks' formulas are
float64 torch, so that autograd gives the gradients; their noise is NumPy's (noise.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
# bfloat16 is wrong in the interpreter: the launchers refuse it, see check_launch.py.
DTYPES = [torch.float32, torch.float16] + [torch.bfloat16] * (not INTERPRETED)

# [B, D]: one element; widths that 4 does not divide; more rows than a tile has; a row in several
# parts; nothing at all. Rows lie densely or with gaps between them.
SHAPES = [
    *((1, 1, "dense"), (6, 3, "dense"), (70, 16, "dense"), (300, 2, "dense"), (2, 4101, "dense")),
    *((6, 3, "gaps"), (70, 16, "gaps"), (5, 57, "gaps"), (0, 4, "dense"), (3, 0, "dense")),
]
HALF_SHAPES = [(70, 16, "dense"), (5, 57, "gaps")]
CASES = [(*shape, torch.float32) for shape in SHAPES]
CASES += [(*shape, dtype) for shape in HALF_SHAPES for dtype in DTYPES[1:]]


def name_of(value: Any) -> str:
    return str(value).removeprefix("torch.")


cases = pytest.mark.parametrize(("b", "d", "layout", "dtype"), CASES, ids=name_of)
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=name_of)

_ROUNDING = {torch.float32: 0.0, torch.float16: 2**-11, torch.bfloat16: 2**-8}
_GUARD = 64


def laid_out(values: Any, dtype: torch.dtype, layout: str = "dense") -> Tensor:
    """Values [B, D] in a dtype; with gaps between the rows, which hold NaN."""
    values = torch.as_tensor(values, dtype=torch.float64)
    b, d = values.shape
    if layout == "dense":
        return values.to(dtype).to(DEVICE)
    wide = torch.full((b, 2 * d + 1), torch.nan, dtype=dtype, device=DEVICE)
    wide[:, d : 2 * d] = values.to(dtype)
    return wide[:, d : 2 * d]


def normal(b: int, d: int, dtype: torch.dtype, layout: str = "dense", scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(1000 * b + d)
    values = scale * torch.randn(b, d, generator=generator, dtype=torch.float64)
    return laid_out(values, dtype, layout)


def draw(seed: int = 0x1234_5678_9ABC_DEF0, offset: int = 2**32 - 2) -> Tensor:
    """The name of a draw, near a carry into the counter's high word."""
    return torch.tensor([seed, offset], device=DEVICE)


def row_gradient(b: int) -> Tensor:
    """A gradient [B] that differs from row to row."""
    return torch.linspace(-1.5, 2.0, b, device=DEVICE)


def call(
    launcher: Callable[..., None], *args: Any, outputs: Sequence[tuple[Sequence[int], torch.dtype]]
) -> list[Tensor]:
    """launcher(*args, *outputs), its outputs on the CPU. They were full of NaN (bool: of 2), and
    so was the memory before and behind them, which has to be so still."""
    buffers = []
    for shape, dtype in outputs:
        n = torch.Size(shape).numel()
        buffer = torch.empty(n + 2 * _GUARD, dtype=dtype, device=DEVICE)
        _bytes_or_values(buffer).fill_(2 if dtype == torch.bool else torch.nan)
        buffers.append(buffer)
    views = [b[_GUARD:-_GUARD].view(s) for b, (s, _) in zip(buffers, outputs, strict=True)]
    launcher(*args, *views)
    for buffer in buffers:
        values = _bytes_or_values(buffer)
        guard = torch.cat([values[:_GUARD], values[-_GUARD:]])
        untouched = guard == 2 if buffer.dtype == torch.bool else guard.isnan()
        assert untouched.all(), f"{launcher.__name__} wrote outside an output"
        assert buffer.dtype != torch.bool or (values[_GUARD:-_GUARD] <= 1).all()
    return [view.cpu() for view in views]


def _bytes_or_values(buffer: Tensor) -> Tensor:
    return buffer.view(torch.uint8) if buffer.dtype == torch.bool else buffer


def exact(tensor: Tensor) -> Tensor:
    """The same numbers in float64 on the CPU, ready to be differentiated."""
    return tensor.detach().cpu().double().requires_grad_()


def assert_close(got: Tensor, want: Tensor, allowed: Tensor | float) -> None:
    """|got - want| is allowed, beside a rounding to got's dtype; NaN and infinity are the same."""
    want = want.detach()
    got64, rounding = got.double(), _ROUNDING[got.dtype]
    limit = allowed + rounding * want.abs() + (2**-24 if rounding else 0.0)
    within = (got64 - want).abs() <= limit
    same = within | (got64 == want) | (got64.isnan() & want.isnan())
    bad = torch.nonzero(~same)
    where = [(tuple(i), got64[tuple(i)].item(), want[tuple(i)].item()) for i in bad[:5].tolist()]
    assert not len(bad), f"{len(bad)} of {got.numel()} differ: (index, got, want) {where}"


def assert_sums(got: Tensor, want: Tensor, d: int) -> None:
    """Sums [B] over d terms of order 1: 1e-6 a term and of the sum."""
    assert got.dtype == torch.float32
    assert_close(got, want, 1e-6 * (want.detach().abs() + d))


def assert_elements(got: Tensor, want: Tensor, scale: Tensor | float = 1.0) -> None:
    """Elements that float32 gives to 2e-6 of their size and of the scale of what made them."""
    assert_close(got, want, 2e-6 * (want.detach().abs() + torch.as_tensor(scale).detach()))


def gradients(result: Tensor, grad: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(result, inputs, grad.detach().cpu().double())
