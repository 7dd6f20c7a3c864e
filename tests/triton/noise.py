"""The noise contract once more, in NumPy and float64: independent of the package."""

from __future__ import annotations

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
