"""Launchers: what they refuse in the interpreter, and how they share out the work."""

from __future__ import annotations

import pytest
import torch
from checking import INTERPRETED

from vaelocity.kernels.launch import alignment, tile_shape
from vaelocity.kernels.sparsity import sparsity


@pytest.mark.skipif(not INTERPRETED, reason="a GPU computes bfloat16 rightly")
def test_bfloat16_is_refused_in_the_interpreter():
    z = torch.zeros(2, 3, dtype=torch.bfloat16)
    with pytest.raises(TypeError, match="interpreter computes bfloat16 wrongly"):
        sparsity(z, torch.zeros(2))


def test_the_interpreter_runs_exactly_if_asked():
    import triton

    assert triton.knobs.runtime.interpret == INTERPRETED


@pytest.mark.parametrize("columns", [0, 1, 3, 4, 5, 64, 1000, 1024, 1025, 5000, 2**31])
@pytest.mark.parametrize("widest", [1024, 4096])
def test_tiles_are_powers_of_two_with_8_elements_a_thread(columns, widest):
    tile = tile_shape(columns, widest)
    m, d, warps = tile["BLOCK_M"], tile["BLOCK_D"], tile["num_warps"]
    assert d <= widest
    assert d >= min(columns, widest)
    assert all(n & (n - 1) == 0 for n in (m, d, warps))
    assert m * d == 8 * 32 * warps


def test_alignment():
    assert [alignment(n) for n in (0, 16, 48, 4, 20, 8, 2, 1)] == [16, 16, 16, 4, 4, 1, 1, 1]
    assert alignment(16, 32, 4) == 4
    assert alignment(16, 33) == 1
