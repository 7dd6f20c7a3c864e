"""The vector maths against float64."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl
from checking import DEVICE
from torch.nn import functional as F

from vaelocity.kernels import math

INF, NAN = torch.inf, torch.nan
FUNCTIONS = {
    # name: (float64 formula, arguments, allowed relative error)
    "exp": (torch.exp, (-105, 89), 2e-7),
    "expm1": (torch.expm1, (-105, 89), 3e-7),
    "log1p_exp": (F.softplus, (-105, 0), 5e-7),
    "sigmoid": (torch.sigmoid, (-105, 105), 5e-7),
    "softplus": (F.softplus, (-105, 105), 5e-7),
    "signed_log1p": (lambda x: x.sign() * x.abs().log1p(), (-1e6, 1e6), 3e-7),
}
EDGES = {
    "exp": ([0, INF, -INF, NAN, 90, -200], [1, INF, 0, NAN, INF, 0]),
    "expm1": ([0, INF, -INF, NAN, 90, -200, 1e-30], [0, INF, -1, NAN, INF, -1, 1e-30]),
    "log1p_exp": ([0, -INF, NAN, -200], [0.69314718, 0, NAN, 0]),
    "sigmoid": ([0, INF, -INF, NAN], [0.5, 1, 0, NAN]),
    "softplus": ([0, INF, -INF, NAN, 3e38, -200], [0.69314718, INF, 0, NAN, 3e38, 0]),
    "signed_log1p": ([0, INF, -INF, NAN, 3e38, -1e-40], [0, INF, -INF, NAN, 88.596846, -1e-40]),
    "wrap_angle": (
        [0, 3.1415927, -3.1415927, 3.0, NAN, 2.0**30, 2.0**20],
        [0, -3.1415927, -3.1415927, 3.0, NAN, 0.33682603, 0.33682603],
    ),
    "sign": ([0, 3, -INF, NAN], [0, 1, -1, NAN]),
}


@triton.jit
def apply_kernel(x_ptr, y_ptr, n, FUNCTION: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n, other=0.0)
    if FUNCTION == "exp":
        y = math.exp(x)
    elif FUNCTION == "expm1":
        y = math.expm1(x)
    elif FUNCTION == "log1p_exp":
        y = math.log1p_exp(x)
    elif FUNCTION == "sigmoid":
        y = math.sigmoid(x)
    elif FUNCTION == "softplus":
        y = math.softplus(x)
    elif FUNCTION == "signed_log1p":
        y = math.signed_log1p(x)
    elif FUNCTION == "wrap_angle":
        y = math.wrap_angle(x)
    else:
        y = math.sign(x)
    tl.store(y_ptr + at, y, mask=at < n)


@triton.jit
def tf32_kernel(x_ptr, y_ptr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(y_ptr + at, math.toward_tf32(tl.load(x_ptr + at)))


def test_cutting_off_after_toward_tf32_rounds_to_nearest():
    """1 + 2^-10 k / 4 for k = 0 ... 7, and both infinities, with either sign."""
    few = torch.tensor([1 + k * 2.0**-12 for k in range(8)] + [INF, 0, 2.0**-130])
    want = torch.tensor([1, 1, *[1 + 2.0**-10] * 4, *[1 + 2.0**-9] * 2, INF, 0, 2.0**-130])
    x = torch.cat([few, -few, torch.ones(10)]).to(DEVICE)
    y = torch.empty_like(x)
    tf32_kernel[(1,)](x, y, BLOCK=32)
    cut = (y.view(torch.int32) & -0x2000).view(torch.float32).cpu()
    assert torch.equal(cut[:22], torch.cat([want, -want]))


def apply(name, x):
    x, y = x.to(DEVICE), torch.full(x.shape, NAN, device=DEVICE)
    apply_kernel[(triton.cdiv(x.numel(), 1024),)](
        x, y, x.numel(), FUNCTION=name, BLOCK=1024, enable_fp_fusion=False
    )
    return y.cpu()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_error(name):
    formula, (low, high), allowed = FUNCTIONS[name]
    wide = torch.linspace(low, high, 4001)
    near_0 = torch.logspace(-12, 0, 1000) * -1.0
    x = torch.cat([wide, near_0, -near_0 if high > 0 else near_0])
    want = formula(x.double())
    # 2^-149: a subnormal result is rounded to that.
    limit = allowed * want.abs() + 2**-149
    got = apply(name, x).double()
    within = ((got - want).abs() <= limit) | (got.isinf() & (want > torch.finfo(torch.float32).max))
    assert within.all(), (x[~within][:5], got[~within][:5], want[~within][:5])


@pytest.mark.parametrize("name", EDGES)
def test_edges(name):
    x, want = (torch.tensor(values, dtype=torch.float32) for values in EDGES[name])
    assert torch.allclose(apply(name, x), want, rtol=1e-7, atol=0, equal_nan=True)


def test_angles():
    """Within 2^-21 of the float64 remainder, seams apart, and always inside."""
    x = torch.cat([torch.linspace(-1000, 1000, 20_001), torch.linspace(-7, 7, 10_001)])
    got = apply("wrap_angle", x)
    pi = torch.tensor(torch.pi)  # float32's
    assert ((got >= -pi) & (got < pi)).all()
    off = (got.double() - x.double()) / (2 * torch.pi)
    assert ((off - off.round()).abs() * 2 * torch.pi <= 2**-21).all()
    inside = (x >= -pi) & (x < pi)
    assert torch.equal(got[inside], x[inside])
