"""The noise contract, version 1, in plain torch: bit for bit what the kernels draw, on any device.

Element i of a draw named (seed, offset) takes word i % 4 of Philox4x32-10 (Salmon et al., SC11)
with counter (block, 0, 0), block = offset + i // 4, and key seed. Two words make a pair of normals
by the transform of Box and Muller, in float32 operations that are all correctly rounded. A fused
multiply-add is computed in float64: the product of two float32 is exact there, and the sum is
rounded to odd, so that rounding it once more to float32 is correct (Boldo and Melquiond 2008).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_WORD = 0xFFFFFFFF


def _floats(text: str) -> list[float]:
    return [float.fromhex(number) for number in text.split()]


# Lowest order first: (ln(1 + f) - f + f^2 / 2) / f^3 in f; sin(pi/2 t) / t and cos(pi/2 t) in t^2.
_LN = _floats(
    "0x1.555554p-2 -0x1.fffff2p-3 0x1.999d52p-3 -0x1.555ed8p-3 0x1.23d65ep-3 "
    "-0x1.fc5afep-4 0x1.ddacf6p-4 -0x1.d9f82p-4 0x1.24d1fep-4"
)
_SIN = _floats("0x1.921fb6p+0 -0x1.4abbbap-1 0x1.465ec4p-4 -0x1.2d9b7cp-8")
_COS = _floats("0x1p+0 -0x1.3bd3ccp+0 0x1.03c1dcp-2 -0x1.55c57ap-6 0x1.d9c326p-11")
_LN2_HIGH = 0.693359375
_LN2_LOW = float.fromhex("-0x1.bd0106p-13")  # float32(-2.12194440e-4)


def normal(shape: Sequence[int], draw: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """The normals of a draw, in C order: [*shape] on the device of `draw`, int64 [2]."""
    n = 1
    for size in shape:
        n = n * size
    with torch.no_grad():
        pairs = words(draw, (n + 3) // 4).reshape(-1, 2)
        eps = torch.stack(_box_muller(pairs[:, 0], pairs[:, 1]), dim=1)
        return eps.reshape(-1)[:n].reshape(tuple(shape)).to(dtype)


def words(draw: Tensor, blocks: int, skip: int = 0) -> Tensor:
    """The words of `blocks` blocks after the first `skip`: int64 [blocks, 4], below 2^32."""
    block = draw[1] + skip + torch.arange(blocks, device=draw.device)
    zero = torch.zeros_like(block)
    return torch.stack(
        philox((_low(block), _high(block), zero, zero), (_low(draw[0]), _high(draw[0]))), dim=1
    )


def philox(counter: Sequence[Tensor], key: Sequence[Tensor]) -> list[Tensor]:
    """Philox4x32-10 of int64 tensors that hold 32-bit words."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        high0, low0 = _multiply(0xD2511F53, c0)
        high1, low1 = _multiply(0xCD9E8D57, c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) & _WORD, (k1 + 0xBB67AE85) & _WORD
    return [c0, c1, c2, c3]


def _low(value: Tensor) -> Tensor:
    return value & _WORD


def _high(value: Tensor) -> Tensor:
    return (value >> 32) & _WORD


def _multiply(a: int, b: Tensor) -> tuple[Tensor, Tensor]:
    """High and low word of a product of two words, by halves of `a`: int64 must not overflow."""
    upper, lower = (a >> 16) * b, (a & 0xFFFF) * b
    return (upper + (lower >> 16)) >> 16, (((upper & 0xFFFF) << 16) + lower) & _WORD


def _box_muller(r0: Tensor, r1: Tensor) -> tuple[Tensor, Tensor]:
    """Two normals, float32, of two words, int64."""
    radius = _float32((-2.0 * _ln_uniform(r0)).sqrt())
    quarter = ((r1 + (1 << 29)) >> 30) & 3
    rest = (r1 - (quarter << 30)) & _WORD
    rest = torch.where(rest >= 1 << 31, rest - (1 << 32), rest)
    t = rest.to(torch.float32).double() * 2.0**-30
    t2 = _float32(t * t)
    sin, cos = _float32(t * _horner(_SIN, t2)), _horner(_COS, t2)
    swap = (quarter & 1) == 1
    sin, cos = torch.where(swap, cos, sin), torch.where(swap, sin, cos)
    cos = torch.where(((quarter + 1) & 2) == 2, -cos, cos)
    sin = torch.where((quarter & 2) == 2, -sin, sin)
    return (radius * cos).to(torch.float32), (radius * sin).to(torch.float32)


def _ln_uniform(r: Tensor) -> Tensor:
    """ln u of u = (r + 1/2) / 2^32, in float32's rounding."""
    u = _fma(r.to(torch.float32).double(), 2.0**-32, 2.0**-33)
    bits = u.to(torch.float32).view(torch.int32)
    exponent = (bits - 0x3F3504F3) >> 23
    f = (bits - (exponent << 23)).view(torch.float32).double() - 1.0
    e = exponent.double()
    f2 = _float32(f * f)
    low = _fma(_float32(f2 * f), _horner(_LN, f), _fma(e, _LN2_LOW, -0.5 * f2))
    return _fma(e, _LN2_HIGH, _float32(low + f))


def _horner(coefficients: Sequence[float], x: Tensor) -> Tensor:
    value = torch.full_like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        value = _fma(value, x, c)
    return value


def _float32(x: Tensor) -> Tensor:
    """Rounded to float32, kept as float64."""
    return x.to(torch.float32).double()


def _fma(a: Tensor, b: Tensor | float, c: Tensor | float) -> Tensor:
    """a * b + c rounded once to float32; float64 tensors and numbers that hold float32 values."""
    product = a * b
    total = product + c
    back = total - product
    error = (product - (total - back)) + (c - back)  # Knuth: total + error is the exact sum
    bits = total.view(torch.int64)
    towards = torch.where((error > 0) == (total > 0), 1, -1)
    exact_or_odd = (error == 0) | ((bits & 1) == 1)
    return _float32(torch.where(exact_or_odd, bits, bits + towards).view(torch.float64))
