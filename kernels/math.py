"""Vector maths in operations that round correctly: the functions of csrc/src/simd/math.h.

exp, expm1 and log are the same operations in the same order, so the same bits as in C++. No
libdevice; the interpreter runs them too. NaN goes through every function.
"""

import triton
import triton.language as tl

LOG2_E = tl.constexpr(float.fromhex("0x1.715476p+0"))
LN2_HI = tl.constexpr(float.fromhex("0x1.62e400p-1"))
LN2_LO = tl.constexpr(float.fromhex("0x1.7f7d1cp-20"))
# Adding and subtracting 1.5 * 2^23 rounds to the nearest integer.
SHIFTER = tl.constexpr(float.fromhex("0x1.8p23"))
TINY = tl.constexpr(float.fromhex("0x1p-25"))

# (e^r - 1 - r) / r^2 on |r| <= ln 2 / 2, lowest order first.
E0 = tl.constexpr(0.5)
E1 = tl.constexpr(float.fromhex("0x1.55547ep-3"))
E2 = tl.constexpr(float.fromhex("0x1.55544ap-5"))
E3 = tl.constexpr(float.fromhex("0x1.12475ap-7"))
E4 = tl.constexpr(float.fromhex("0x1.6dc4c6p-10"))

# (ln(1 + f) - f + f^2 / 2) / f^3, lowest order first: DESIGN section 3.
SQRT_HALF_BITS = tl.constexpr(0x3F3504F3)
SQRT_2_M1 = tl.constexpr(0.41421356)
LN_HI = tl.constexpr(0.693359375)
LN_LO = tl.constexpr(-2.12194440e-4)
P0 = tl.constexpr(float.fromhex("0x1.555554p-2"))
P1 = tl.constexpr(float.fromhex("-0x1.fffff2p-3"))
P2 = tl.constexpr(float.fromhex("0x1.999d52p-3"))
P3 = tl.constexpr(float.fromhex("-0x1.555ed8p-3"))
P4 = tl.constexpr(float.fromhex("0x1.23d65ep-3"))
P5 = tl.constexpr(float.fromhex("-0x1.fc5afep-4"))
P6 = tl.constexpr(float.fromhex("0x1.ddacf6p-4"))
P7 = tl.constexpr(float.fromhex("-0x1.d9f82p-4"))
P8 = tl.constexpr(float.fromhex("0x1.24d1fep-4"))

# (ln(1 + f) - f + f^2 / 2) / f^3 on [-1/4, 1/2], lowest order first.
L0 = tl.constexpr(float.fromhex("0x1.555588p-2"))
L1 = tl.constexpr(float.fromhex("-0x1.fffeb8p-3"))
L2 = tl.constexpr(float.fromhex("0x1.996df8p-3"))
L3 = tl.constexpr(float.fromhex("-0x1.552f84p-3"))
L4 = tl.constexpr(float.fromhex("0x1.28d1f0p-3"))
L5 = tl.constexpr(float.fromhex("-0x1.0b99a2p-3"))
L6 = tl.constexpr(float.fromhex("0x1.a100f6p-4"))
L7 = tl.constexpr(float.fromhex("-0x1.5f53fep-5"))

PI = tl.constexpr(float.fromhex("0x1.921fb6p+1"))
TWO_PI = tl.constexpr(float.fromhex("0x1.921fb6p+2"))
TURNS = tl.constexpr(float.fromhex("0x1.45f306p-3"))
# 2 pi in three parts, the first two of few enough bits that an integer times them is exact.
TWO_PI_HI = tl.constexpr(float.fromhex("0x1.92p+2"))
TWO_PI_MID = tl.constexpr(float.fromhex("0x1.fb5p-10"))
TWO_PI_LO = tl.constexpr(float.fromhex("0x1.110b46p-24"))
FARTHEST_ANGLE = tl.constexpr(float.fromhex("0x1p20"))

LARGEST = tl.constexpr(3.4028234663852886e38)


@triton.jit
def bits(x):
    return x.to(tl.int32, bitcast=True)


@triton.jit
def from_bits(b):
    return b.to(tl.float32, bitcast=True)


@triton.jit
def exp2_int(n):
    """2^n for integers n in [-126, 127]."""
    return from_bits((n + 127) << 23)


@triton.jit
def reduce_ln2(x):
    """(n, r) with x = n ln 2 + r and |r| <= ln 2 / 2, for |x| <= 2^21."""
    shifted = tl.fma(x, LOG2_E, SHIFTER)
    n = shifted - SHIFTER
    r = tl.fma(n, -LN2_HI, x)
    r = tl.fma(n, -LN2_LO, r)
    return bits(shifted) - bits(tl.zeros_like(x) + SHIFTER), r


@triton.jit
def expm1_reduced(r):
    q = tl.fma(r, E4, E3)
    q = tl.fma(q, r, E2)
    q = tl.fma(q, r, E1)
    q = tl.fma(q, r, E0)
    return tl.fma(r * r, q, r)


@triton.jit
def exp(x):
    """e^x within 1 ulp, subnormal results included; inf above 88.73."""
    x = tl.clamp(x, -105.0, 89.0, propagate_nan=tl.PropagateNan.ALL)
    n, r = reduce_ln2(x)
    # 2^n in two factors: n itself may lie outside the range of a float's exponent.
    half = n >> 1
    return (expm1_reduced(r) + 1.0) * exp2_int(half) * exp2_int(n - half)


@triton.jit
def expm1(x):
    """e^x - 1 within 2 ulp, without cancellation near 0; inf above 88.73."""
    n, r = reduce_ln2(tl.clamp(x, -18.0, 89.0, propagate_nan=tl.PropagateNan.ALL))
    # 2^(n-1) twice, because 2^128 is no float but e^88.7 is.
    half = exp2_int(n - 1)
    result = tl.fma(half, expm1_reduced(r), half - 0.5) * 2.0
    # Below 2^-25 the result is x; the doubling above would round subnormals.
    return tl.where(tl.abs(x) < TINY, x, result)


@triton.jit
def log(u):
    """ln u for normal u > 0: the logarithm of the noise contract."""
    b = bits(u)
    exponent = (b - SQRT_HALF_BITS) >> 23
    return log_series(exponent.to(tl.float32), from_bits(b - (exponent << 23)) - 1.0)


@triton.jit
def log_series(e, f):
    """e ln 2 + ln(1 + f) for f in [sqrt(1/2) - 1, sqrt(2) - 1]."""
    p = tl.fma(f, P8, P7)
    p = tl.fma(p, f, P6)
    p = tl.fma(p, f, P5)
    p = tl.fma(p, f, P4)
    p = tl.fma(p, f, P3)
    p = tl.fma(p, f, P2)
    p = tl.fma(p, f, P1)
    p = tl.fma(p, f, P0)
    f2 = f * f
    low = tl.fma(f * f2, p, tl.fma(e, LN_LO, -0.5 * f2))
    return tl.fma(e, LN_HI, low + f)


@triton.jit
def log1p_exp(x):
    """ln(1 + e^x) for x <= 0, accurate relative to itself where it is small."""
    t = exp(x)
    # 1 + t, or half of it, less 1: without the rounding of 1 + t.
    half = t > SQRT_2_M1
    return log_series(tl.where(half, 1.0, 0.0), tl.where(half, tl.fma(t, 0.5, -0.5), t))


@triton.jit
def softplus(x):
    """ln(1 + e^x), by e^-|x|, which cannot overflow."""
    positive = tl.maximum(x, 0.0, propagate_nan=tl.PropagateNan.ALL)
    return positive + log1p_exp(-tl.abs(x))


@triton.jit
def log_reduced(n, f):
    """n ln 2 + ln(1 + f) for f in [-1/4, 1/2] and n = 0 where the result is small."""
    p = tl.fma(f, L7, L6)
    p = tl.fma(p, f, L5)
    p = tl.fma(p, f, L4)
    p = tl.fma(p, f, L3)
    p = tl.fma(p, f, L2)
    p = tl.fma(p, f, L1)
    p = tl.fma(p, f, L0)
    f2 = f * f
    r = tl.fma(n, LN2_LO, tl.fma(f2 * f, p, -0.5 * f2))
    return tl.fma(n, LN2_HI, r + f)


@triton.jit
def signed_log1p(x):
    """sign(x) ln(1 + |x|): odd, x for subnormal x, finite for finite x."""
    t = tl.abs(x)
    # 1 + t = 2^n (1 + f) with 1 + f in [3/4, 3/2]: f = t 2^-n + (2^-n - 1), rounded once.
    e = (bits(t + 1.0) - 0x3F400000) & 0x7F800000
    # 2^-n times 4: 2^-128 alone would be subnormal.
    four = from_bits(0x40800000 - e)
    f = from_bits(bits(t) - e) + tl.fma(four, 0.25, -1.0)
    y = log_reduced((e >> 23).to(tl.float32), f)
    y = tl.where(t <= LARGEST, y, t)
    return tl.where(x < 0.0, -y, y)


@triton.jit
def wrap_angle(x):
    """The angle x brought into [-pi, pi), pi being float32's; x itself where it is there already.
    Beyond 2^20, where a float32 says little about an angle, that of +-2^20."""
    t = tl.clamp(x, -FARTHEST_ANGLE, FARTHEST_ANGLE, propagate_nan=tl.PropagateNan.ALL)
    n = tl.fma(t, TURNS, SHIFTER) - SHIFTER
    r = tl.fma(n, -TWO_PI_HI, t)
    r = tl.fma(n, -TWO_PI_MID, r)
    r = tl.fma(n, -TWO_PI_LO, r)
    # n may be off by one where the angle is near the seam. Both differences are exact, and inside.
    r = tl.where(r < PI, r, r - TWO_PI)
    r = tl.where(r >= -PI, r, r + TWO_PI)
    return tl.where((x >= -PI) & (x < PI), x, r)


@triton.jit
def sigmoid(x):
    """1 / (1 + e^-x) within 4 ulp. By e^-|x|, which cannot overflow."""
    t = exp(-tl.abs(x))
    return tl.where(x < 0.0, t, 1.0) / (1.0 + t)


@triton.jit
def sign(x):
    """-1, 0 or 1; 0 at 0, NaN at NaN."""
    return tl.where(x > 0.0, 1.0, tl.where(x < 0.0, -1.0, x))


@triton.jit
def toward_tf32(x):
    """float32 x and half of its last digit in tf32, so that the tensor cores, which cut off what is
    behind that digit, take the nearest tf32 (ties away from 0). A NaN may become a number."""
    return (x.to(tl.int32, bitcast=True) + 0x1000).to(tl.float32, bitcast=True)
