"""The activations of the scorer in Triton, without libdevice: the formulas of csrc/src/simd/math.h.

Errors are relative, against float64, in float32 with unfused multiply-adds (the interpreter;
tests/interpreted/check_activation.py measures them). On a GPU tl.exp is 2^x by the special function
unit, which adds about 2^-22. A NaN goes through every function.
"""

import triton
import triton.language as tl

# Codes: the order of vaelocity.structure.ACTIVATIONS.
IDENTITY = tl.constexpr(0)
RELU = tl.constexpr(1)
LEAKY_RELU = tl.constexpr(2)
TANH = tl.constexpr(3)
SIGMOID = tl.constexpr(4)
ELU = tl.constexpr(5)
SILU = tl.constexpr(6)
GELU = tl.constexpr(7)


@triton.jit
def clamp(x, low, high):
    """x within [low, high]; NaN stays NaN, which tl.maximum alone would drop."""
    x = tl.minimum(x, high, propagate_nan=tl.PropagateNan.ALL)
    return tl.maximum(x, low, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _exp2_int(n):
    """2^n for int32 n in [-126, 127]."""
    return ((n + 127) << 23).to(tl.float32, bitcast=True)


@triton.jit
def _reduced(x):
    """x = n ln 2 + r with |r| <= ln 2 / 2: int32 n, and e^r - 1. |x| <= 2^21."""
    shifted = x * 1.44269502 + 12582912.0  # 1.5 * 2^23 rounds to an integer
    n = shifted - 12582912.0
    r = x - n * 0.693145751953125  # Cody and Waite's two-part ln 2
    r = r - n * 1.42860677e-06
    q = 0.00139529665 * r + 0.00837032218
    q = q * r + 0.0416661687
    q = q * r + 0.166665062
    q = q * r + 0.5
    # By the bits, not by a conversion, whose result for NaN differs between machines.
    return shifted.to(tl.int32, bitcast=True) - 1262485504, r * r * q + r


@triton.jit
def exp(x):
    """e^x within 3e-7; 0 below -104, inf above 88.73."""
    n, m = _reduced(clamp(x, -105.0, 89.0))
    half = n >> 1
    return (m + 1.0) * _exp2_int(half) * _exp2_int(n - half)


@triton.jit
def expm1(x):
    """e^x - 1 within 3e-7, without cancellation near 0; inf above 88.73."""
    n, m = _reduced(clamp(x, -18.0, 89.0))
    half = _exp2_int(n - 1)  # twice 2^(n-1): 2^128 is no float but e^88.7 is
    return (half * m + (half - 0.5)) * 2.0


@triton.jit
def sigmoid(x):
    """1 / (1 + e^-x) within 3e-7, by e^-|x|, which cannot overflow."""
    t = tl.exp(-tl.abs(x))
    return tl.where(x < 0.0, t, 1.0) / (1.0 + t)


@triton.jit
def tanh(x):
    """Within 5e-7."""
    m = expm1(clamp(tl.abs(x), 0.0, 10.0) * 2.0)
    t = m / (m + 2.0)
    return tl.where(x < 0.0, -t, t)


@triton.jit
def erf(x):
    """Within 5e-7. After N. Juffa's erff: x + x P(x^2) for |x| < 0.93, 1 - e^{Q(|x|)} beyond."""
    t = clamp(tl.abs(x), 0.0, 4.0)
    s = t * t
    q = -1.72853470e-5 * t + 3.83197126e-4
    q = q * s + (-3.88396438e-3 * t + 2.42546219e-2)
    q = q * t - 1.06777877e-1
    q = q * t - 6.34846687e-1
    q = q * t - 1.28717512e-1
    far = 1.0 - tl.exp(q * t - t)
    p = -5.96761703e-4 * s + 4.99119423e-3
    p = p * s - 2.67681349e-2
    p = p * s + 1.12819925e-1
    p = p * s - 3.76125336e-1
    p = p * s + 1.28379166e-1
    e = tl.where(t < 0.927734375, p * t + t, far)
    return tl.where(x < 0.0, -e, e)


@triton.jit
def activate(x, KIND: tl.constexpr, SLOPE: tl.constexpr):
    """The activation of a layer, elementwise; SLOPE is leaky_relu's."""
    if KIND == RELU:
        return tl.maximum(x, 0.0, propagate_nan=tl.PropagateNan.ALL)
    elif KIND == LEAKY_RELU:
        return tl.where(x > 0.0, x, x * SLOPE)
    elif KIND == TANH:
        return tanh(x)
    elif KIND == SIGMOID:
        return sigmoid(x)
    elif KIND == ELU:
        return tl.where(x > 0.0, x, expm1(x))
    elif KIND == SILU:
        return x * sigmoid(x)
    elif KIND == GELU:
        return x * 0.5 * (1.0 + erf(x * 0.707106769))
    else:
        return x
