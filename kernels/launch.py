"""How kernels are launched: tiles by width alone, and integers that never cause a recompilation.

A tile is [BLOCK_M rows, BLOCK_D columns]. Its shape depends on the width D only, so that a kernel
is compiled once for a width's power of two, whatever the batch size.
"""

import inspect
from collections.abc import Callable, Sequence
from math import gcd
from typing import Any

import torch
import triton
import triton.language as tl

TILE = 1024  # elements of a tile, 8 a thread
ROW_TILE = 4096  # the widest part of a row that is taken at once
NOISE_SLACK = 3

INTERPRETED = bool(triton.knobs.runtime.interpret)


def kernel(fn: Callable[..., Any]) -> Any:
    """triton.jit for a kernel, whose pointers end in _ptr. No number is specialised for its value:
    neither a batch size nor a stride that happens to be 1 or a multiple of 16 recompiles."""
    numbers = [
        name
        for name, parameter in inspect.signature(fn).parameters.items()
        if parameter.annotation is not tl.constexpr and not name.endswith("_ptr")
    ]
    return triton.jit(fn, do_not_specialize=numbers)


def alignment(*counts: int) -> int:
    """16, 4 or 1: what divides all widths and row strides, so that loads may rely on it."""
    common = gcd(16, *counts)
    return common if common in (4, 16) else 1


def tile_shape(columns: int, widest: int) -> dict[str, int]:
    """BLOCK_M, BLOCK_D and num_warps for rows of that width."""
    block_d = min(max(triton.next_power_of_2(columns), 4), widest)
    return {
        "BLOCK_M": max(1, TILE // block_d),
        "BLOCK_D": block_d,
        "num_warps": max(4, 4 * block_d // TILE),
    }


def slack(noise: bool, align: int) -> int:
    """How many columns of a tile may lie before its row: tile.noise_columns says why."""
    return NOISE_SLACK if noise and align % 4 else 0


def row_strides(tensors: Sequence[torch.Tensor | None], rows: int) -> list[int]:
    """In elements; 0 where there is nothing to stride over."""
    return [0 if tensor is None or rows <= 1 else tensor.stride(0) for tensor in tensors]


def launch(kernel: Any, programs: int, args: Sequence[Any], **options: Any) -> None:
    """Start programs on the current stream; the tensors' device is the current one. Nothing is
    contracted: a product-sum that is meant to be fused is written as an fma."""
    if INTERPRETED:
        refuse_bfloat16(args)
    if programs > 0:
        kernel[(programs,)](*args, **options, enable_fp_fusion=False)


def refuse_bfloat16(args: Sequence[Any]) -> None:
    for arg in args:
        if isinstance(arg, torch.Tensor) and arg.dtype == torch.bfloat16:
            raise TypeError(
                f"Triton's interpreter computes bfloat16 wrongly, got a tensor {tuple(arg.shape)} "
                "of it; unset TRITON_INTERPRET or use float32 or float16"
            )


def launch_rows(
    kernel: Any,
    args: Sequence[Any],
    strided: Sequence[torch.Tensor | None],
    shape: Sequence[int],
    *,
    noise: bool = False,
    **constexprs: Any,
) -> None:
    """A program owns BLOCK_M whole rows of [B, D] and loops over their columns.

    The kernel takes args, the row strides of strided, B, D, and then ALIGN, BLOCK_M, BLOCK_D and
    the constexprs by name.
    """
    rows, columns = shape
    steps = row_strides(strided, rows)
    align = alignment(columns, *steps)
    tile = tile_shape(columns + slack(noise, align), ROW_TILE)
    programs = triton.cdiv(rows, tile["BLOCK_M"])
    launch(kernel, programs, [*args, *steps, rows, columns], ALIGN=align, **tile, **constexprs)


def launch_elements(
    kernel: Any,
    args: Sequence[Any],
    strided: Sequence[torch.Tensor | None],
    shape: Sequence[int],
    *,
    per_row: Sequence[torch.Tensor] = (),
    noise: bool = False,
    flat: bool = False,
    **constexprs: Any,
) -> None:
    """A program has one tile of [B, D]; column_tiles of them cover a row.

    The kernel takes args, the row strides of strided, the strides of per_row ([B] each), B, D,
    column_tiles, and then ALIGN, BLOCK_M, BLOCK_D and the constexprs by name. flat says that rows
    mean nothing to it: tensors without gaps are then one long row.
    """
    rows, columns = shape
    one_row = flat and all(tensor is None or tensor.is_contiguous() for tensor in strided)
    if one_row:
        rows, columns = 1, rows * columns
    steps = row_strides(strided, rows)
    align = alignment(columns, *steps)
    width = columns + slack(noise, align)
    tile = tile_shape(TILE if one_row else width, TILE)
    column_tiles = triton.cdiv(width, tile["BLOCK_D"]) if columns else 0
    programs = triton.cdiv(rows, tile["BLOCK_M"]) * column_tiles
    sizes = [*steps, *(tensor.stride(0) for tensor in per_row), rows, columns, column_tiles]
    launch(kernel, programs, [*args, *sizes], ALIGN=align, **tile, **constexprs)
