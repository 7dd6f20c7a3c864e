"""The noise contract once more, in NumPy and float64: independent of the package."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = 0x9E3779B9, 0xBB67AE85
_LOW, _32 = np.uint64(0xFFFFFFFF), np.uint64(32)


def philox(counter: list[np.ndarray], key: tuple[int, int]) -> np.ndarray:
    """Philox4x32-10: four words of each counter, [4, n] in uint64."""
    c = [np.asarray(part, dtype=np.uint64) for part in counter]
    for i in range(10):
        k = [np.uint64((part + i * weyl) % 2**32) for part, weyl in zip(key, _WEYL, strict=True)]
        p0, p1 = _MULTIPLIERS[0] * c[0], _MULTIPLIERS[1] * c[2]
        c = [(p1 >> _32) ^ c[1] ^ k[0], p1 & _LOW, (p0 >> _32) ^ c[3] ^ k[1], p0 & _LOW]
    return np.stack(c)


def words(rng: Tensor, n: int, skip: int = 0) -> np.ndarray:
    """The first n words of a draw, behind skip blocks: [n] in uint64."""
    seed, offset = (int(value) % 2**64 for value in rng.tolist())
    blocks = [(offset + skip + i) % 2**64 for i in range(-(-n // 4))]
    low, high = [b % 2**32 for b in blocks], [b >> 32 for b in blocks]
    zeros = [0] * len(blocks)
    key = seed % 2**32, seed >> 32
    return philox([np.array(c) for c in (low, high, zeros, zeros)], key).T.reshape(-1)[:n]


def contract_normals(rng: Tensor, n: int) -> Tensor:
    """The draw's first n normals bit for bit: every operation of the contract, in float32."""
    r = words(rng, 4 * -(-n // 4)).reshape(-1, 2)
    u = _fma(r[:, 0].astype(np.float32), _f("0x1p-32"), _f("0x1p-33"))
    radius = np.sqrt(np.float32(-2) * _log(u))

    quarter = (((r[:, 1] + np.uint64(2**29)) & _LOW) >> np.uint64(30)).astype(np.uint32)
    rest = (r[:, 1].astype(np.uint32) - (quarter << np.uint32(30))).view(np.int32)
    t = rest.astype(np.float32) * _f("0x1p-30")
    sin, cos = _polynomial(_SIN, t * t) * t, _polynomial(_COS, t * t)
    swap = (quarter & 1) != 0
    pair = [(np.where(swap, sin, cos), quarter + 1), (np.where(swap, cos, sin), quarter)]
    signed = [
        (x.view(np.uint32) ^ ((turn & np.uint32(2)) << np.uint32(30))).view(np.float32)
        for x, turn in pair
    ]
    return torch.from_numpy(np.stack([radius * x for x in signed], axis=1).reshape(-1)[:n])


def _f(text: str) -> np.float32:
    return np.float32(float.fromhex(text))


_SIN = "0x1.921fb6p+0 -0x1.4abbbap-1 0x1.465ec4p-4 -0x1.2d9b7cp-8"
_COS = "0x1p+0 -0x1.3bd3ccp+0 0x1.03c1dcp-2 -0x1.55c57ap-6 0x1.d9c326p-11"
_LN = (
    "0x1.555554p-2 -0x1.fffff2p-3 0x1.999d52p-3 -0x1.555ed8p-3 0x1.23d65ep-3 -0x1.fc5afep-4 "
    "0x1.ddacf6p-4 -0x1.d9f82p-4 0x1.24d1fep-4"
)


def _polynomial(coefficients: str, x: np.ndarray) -> np.ndarray:
    """By Horner with fma; coefficients from the lowest order up."""
    *low, value = (_f(text) for text in coefficients.split())
    for c in reversed(low):
        value = _fma(value, x, c)
    return value


def _log(u: np.ndarray) -> np.ndarray:
    b = u.view(np.int32)
    exponent = (b - np.int32(0x3F3504F3)) >> np.int32(23)
    f = (b - (exponent << np.int32(23))).view(np.float32) - np.float32(1)
    e, f2 = exponent.astype(np.float32), f * f
    low = _fma(e, np.float32(-2.12194440e-4), np.float32(-0.5) * f2)
    low = _fma(f * f2, _polynomial(_LN, f), low)
    return _fma(e, np.float32(0.693359375), low + f)


def _fma(a: Any, b: Any, c: Any) -> np.ndarray:
    """round(a b + c) in float32. The product is exact in float64; the sum is rounded to odd there
    (Boldo and Melquiond, IEEE Trans. Computers 57, 462), so that the second rounding is right."""
    product, c = np.float64(a) * np.float64(b), np.float64(c)
    total = product + c
    back = total - product
    error = (product - (total - back)) + (c - back)
    even = (total.view(np.int64) & 1) == 0
    odd = np.nextafter(total, np.where(error > 0, np.inf, -np.inf))
    return np.where((error != 0) & even, odd, total).astype(np.float32)


def normals(rng: Tensor, b: int, d: int) -> Tensor:
    """The draw's normals [b, d] in float64, from the float32 u of the contract."""
    n = b * d
    r = words(rng, 4 * -(-n // 4)).reshape(-1, 2)
    # r has 32 bits: the product and the sum are exact in float64, and rounded once to float32.
    u = (r[:, 0].astype(np.float32).astype(np.float64) * 2**-32 + 2**-33).astype(np.float32)
    radius = np.sqrt(-2 * np.log(u.astype(np.float64)))
    angle = 2 * np.pi * r[:, 1].astype(np.float64) * 2**-32
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return torch.from_numpy(pairs.reshape(-1)[:n].reshape(b, d))
