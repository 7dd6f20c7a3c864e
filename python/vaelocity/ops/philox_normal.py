"""Normal random numbers that have a name: the noise contract of vaelocity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vaelocity.ops import _check, _noise
from vaelocity.ops._case import Case, Maker
from vaelocity.ops._op import Op
from vaelocity.ops.rng import Rng


def philox_normal(
    shape: Sequence[int],
    rng: Rng | Tensor,
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device | None = None,
    backend: str | None = None,
) -> Tensor:
    """Normals N(0, 1) of a draw: the same numbers on every device and backend.

    Element i in C order is word i % 4 of the Philox4x32-10 block offset + i // 4 (Salmon et al.,
    SC11), made normal by the transform of Box and Muller in correctly rounded float32 operations.

    Args:
        shape: of the result.
        rng: the stream to draw from, or the name of a draw: int64 [2] from `Rng.draw`.
        dtype: a floating type; the numbers are rounded from float32.
        device: None is the device of rng.
        backend: cpu, triton or reference; None takes the fastest.

    Raises: TypeError, ValueError for other arguments; RuntimeError if the backend cannot serve.
    """
    shape = list(shape)
    if shape and min(shape) < 0:
        raise ValueError(f"shape: expected sizes of at least 0, got {tuple(shape)}")
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise TypeError(f"dtype: expected a floating type, got {dtype}")
    if isinstance(rng, Rng):
        rng = rng.draw(math.prod(shape))
    else:
        _check.check_draw(rng)
    if device is not None:
        rng = rng.to(device)
    eps: Tensor = OP(shape, rng, dtype, backend=backend)
    return eps


def reference(shape: Sequence[int], rng: Tensor, dtype: torch.dtype) -> Tensor:
    return _noise.normal(shape, rng, dtype)


OP = Op(
    "philox_normal",
    "(SymInt[] shape, Tensor rng, ScalarType dtype) -> Tensor",
    empty=lambda shape, rng, dtype: rng.new_empty(shape, dtype=dtype),
    reference=reference,
)


def example(maker: Maker, b: int, d: int) -> dict[str, Any]:
    return {"shape": (b, d), "rng": maker.draw(), "dtype": maker.case.dtype}


def _case(*shape: int, dtype: torch.dtype = torch.float32) -> Case:
    def make(maker: Maker) -> dict[str, Any]:
        return {"shape": shape, "rng": maker.draw(), "dtype": dtype}

    sizes = "x".join(map(str, shape)) or "scalar"
    # 0 for float32: the same bits. A half type rounds those, once.
    return Case(f"{sizes}-{str(dtype)[6:]}", make, dtype=dtype, rtol=0.0, atol=0.0)


CASES = (
    *(_case(n) for n in (0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 17, 31, 33, 63, 65, 1023, 4097)),
    *(_case(*shape) for shape in ((), (33, 17), (5, 3, 7), (0, 3))),
    *(_case(33, 17, dtype=dtype) for dtype in (torch.bfloat16, torch.float16)),
)
