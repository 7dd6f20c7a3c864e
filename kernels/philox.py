"""The noise of a draw (seed, offset): Philox4x32-10 and its conversion to normals.

The contract is in python/vaelocity/ops/philox_normal.py; the C++ and the torch version make the
same bits. Every product-sum is an explicit fma, so kernels with noise compile without contraction
(launch.py). The interpreter's fma is not fused: there the normals agree within 1e-6.
"""

import triton
import triton.language as tl

from vaelocity.kernels.math import log

TWO_M30 = tl.constexpr(float.fromhex("0x1p-30"))
TWO_M32 = tl.constexpr(float.fromhex("0x1p-32"))
TWO_M33 = tl.constexpr(float.fromhex("0x1p-33"))

# sin(pi/2 t) / t and cos(pi/2 t) in t^2, lowest order first.
S0 = tl.constexpr(float.fromhex("0x1.921fb6p+0"))
S1 = tl.constexpr(float.fromhex("-0x1.4abbbap-1"))
S2 = tl.constexpr(float.fromhex("0x1.465ec4p-4"))
S3 = tl.constexpr(float.fromhex("-0x1.2d9b7cp-8"))
C0 = tl.constexpr(1.0)
C1 = tl.constexpr(float.fromhex("-0x1.3bd3ccp+0"))
C2 = tl.constexpr(float.fromhex("0x1.03c1dcp-2"))
C3 = tl.constexpr(float.fromhex("-0x1.55c57ap-6"))
C4 = tl.constexpr(float.fromhex("0x1.d9c326p-11"))


@triton.jit
def philox_words(rng_ptr, block):
    """The four uint32 words of each block of a draw. block: int64, counted from the draw's offset.

    Seed and offset are loaded, never Python integers: those would be compiled in.
    """
    seed = tl.load(rng_ptr)
    counter = tl.load(rng_ptr + 1) + block
    zero = tl.zeros_like(counter).to(tl.uint32)
    low, high = counter.to(tl.uint32), (counter >> 32).to(tl.uint32)
    return tl.philox(seed, low, high, zero, zero)


@triton.jit
def flip_sign(x, quarter):
    """-x where quarter & 2. By the bit: triton's -x is 0 - x, which loses the sign of 0."""
    return (x.to(tl.uint32, bitcast=True) ^ ((quarter & 2) << 30)).to(tl.float32, bitcast=True)


@triton.jit
def box_muller(r0, r1):
    """Two normals from two words: the radius from r0, the angle from r1."""
    u = tl.fma(r0.to(tl.float32), TWO_M32, TWO_M33)
    radius = tl.sqrt_rn(-2.0 * log(u))
    quarter = (r1 + 0x20000000) >> 30
    t = (r1 - (quarter << 30)).to(tl.int32, bitcast=True).to(tl.float32) * TWO_M30
    t2 = t * t
    sin = tl.fma(t2, S3, S2)
    sin = tl.fma(sin, t2, S1)
    sin = tl.fma(sin, t2, S0) * t
    cos = tl.fma(t2, C4, C3)
    cos = tl.fma(cos, t2, C2)
    cos = tl.fma(cos, t2, C1)
    cos = tl.fma(cos, t2, C0)
    swap = (quarter & 1) != 0
    x = flip_sign(tl.where(swap, sin, cos), quarter + 1)
    y = flip_sign(tl.where(swap, cos, sin), quarter)
    return radius * x, radius * y


@triton.jit
def tile_blocks(rows, start, D, BLOCK_D: tl.constexpr):
    """The Philox blocks of a tile that lies as tile.noise_columns says, [BLOCK_M, BLOCK_D // 4]."""
    return (rows * D >> 2) + (start >> 2) + tl.arange(0, BLOCK_D // 4)[None, :]


@triton.jit
def tile_of_blocks(a, b, c, d):
    """Four values a block, [BLOCK_M, BLOCK_D // 4] each, side by side: [BLOCK_M, BLOCK_D]."""
    return tl.interleave(tl.interleave(a, c), tl.interleave(b, d))


@triton.jit
def normal_tile(rng_ptr, rows, start, D, BLOCK_D: tl.constexpr):
    """The draw's normals over a tile, float32 [BLOCK_M, BLOCK_D]; each block is computed once."""
    r0, r1, r2, r3 = philox_words(rng_ptr, tile_blocks(rows, start, D, BLOCK_D))
    a, b = box_muller(r0, r1)
    c, d = box_muller(r2, r3)
    return tile_of_blocks(a, b, c, d)
