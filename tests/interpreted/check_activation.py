"""The errors that kernels/activation.py states, over the whole range of float32 arguments."""

from __future__ import annotations

from math import erf

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

from vaelocity.kernels import activation as ours

_EXP, _EXPM1, _SIGMOID, _TANH, _ERF = map(tl.constexpr, range(5))


@triton.jit
def _apply(x, out, FUNCTION: tl.constexpr, N: tl.constexpr):
    at = tl.arange(0, N)
    value = tl.load(x + at)
    if FUNCTION == _EXP:
        result = ours.exp(value)
    elif FUNCTION == _EXPM1:
        result = ours.expm1(value)
    elif FUNCTION == _SIGMOID:
        result = ours.sigmoid(value)
    elif FUNCTION == _TANH:
        result = ours.tanh(value)
    else:
        result = ours.erf(value)
    tl.store(out + at, result)


CASES = {
    "exp": (0, np.exp, 3e-7),
    "expm1": (1, np.expm1, 3e-7),
    "sigmoid": (2, lambda x: 1 / (1 + np.exp(-x)), 3e-7),
    "tanh": (3, np.tanh, 5e-7),
    "erf": (4, np.vectorize(erf, otypes=[np.float64]), 5e-7),
}


def apply(code: int, x: np.ndarray) -> np.ndarray:
    out = torch.empty(len(x))
    _apply[(1,)](torch.from_numpy(x), out, FUNCTION=code, N=len(x))
    return out.numpy()


@pytest.mark.parametrize("name", CASES)
def check_error(name: str) -> None:
    code, function, stated = CASES[name]
    rng = np.random.default_rng(0)
    size = 1 << 15
    small = rng.choice([-1, 1], size) * np.exp2(rng.uniform(-100, 6.3, size))
    x = np.concatenate([small, rng.uniform(-80, 80, size)]).astype(np.float32)
    exact = function(x.astype(np.float64))
    normal = np.abs(exact) > 1e-37
    error = np.abs(apply(code, x)[normal] - exact[normal]) / np.abs(exact[normal])
    assert error.max() < stated, (error.max(), x[normal][error.argmax()])


@pytest.mark.parametrize("name", CASES)
def check_limits(name: str) -> None:
    code, function, _ = CASES[name]
    x = np.array([np.nan, np.inf, -np.inf, 0.0, 3e38, -3e38, 88.8, -104.0], np.float32)
    with np.errstate(over="ignore"):
        exact = function(x.astype(np.float64)).astype(np.float32)
    assert np.allclose(apply(code, x), exact, rtol=1e-6, atol=1e-37, equal_nan=True)
