"""Fast mode's arithmetic in NumPy: what its scores are on a machine that has no AVX512_BF16.

Of the operations of VDPBF16PS and VCVTNE2PS2BF16 as Intel's Architectures Software Developer's
Manual writes them down: operands that are denormal are 0, results that would be are 0, rounding is
to nearest even. A word is a pair of neighbouring inputs (x_2i, x_2i+1) of a dense layer, with

    dot(x, w, sum) = fma(x_2i, w_2i, fma(x_2i+1, w_2i+1, sum))
    even = bias;  for words i = 0, 2, ...: even = dot(x, w, even)
    odd = 0;      for words i = 1, 3, ...: odd = dot(x, w, odd)
    layer = activation(even + odd)

of x and w rounded to bfloat16, an odd number of inputs being filled up with a 0. Everything else is
as everywhere (csrc/src/score/kernels/fast.h, dense.h). For dense networks of relu layers.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vaelocity.bfloat16 import rounded
from vaelocity.frozen import Network, Unsupported
from vaelocity.frozen_layers import Dense, Layer

__all__ = ["dot", "scores"]

Floats = npt.NDArray[np.float32]
Exact = npt.NDArray[np.float64]

_TINY = np.float32(2.0**-126)
_SAFE = 2.0**-100
_AT_A_TIME = 256
_PARTIAL_SUMS = 16


def scores(network: Network, rows: Floats) -> Floats:
    """The scores of rows [n, d], finite: float32 [n].

    Raises Unsupported for kinds other than reconstruction and mu2, layers that are not dense and
    activations other than relu and identity.
    """
    if network.kind not in ("reconstruction", "mu2"):
        raise Unsupported(f"fast mode in NumPy: kind {network.kind}")
    parts = [rows[at : at + _AT_A_TIME] for at in range(0, len(rows), _AT_A_TIME)]
    return np.concatenate([_scores(network, part) for part in parts])


def dot(x: Floats, w: Floats, total: Floats) -> Floats:
    """total + the dot product of words: x, w float32 [..., 2] of bfloat16 values, total [...]."""
    for half in (1, 0):
        total = _flushed(_fma(_flushed(x[..., half]), _flushed(w[..., half]), _flushed(total)))
    return total


def _scores(network: Network, rows: Floats) -> Floats:
    x = (rows - network.mean) * network.inverse_scale
    z = _through(network.scored_encoder, x)
    if network.kind == "mu2":
        return _sum_of_squares(z)
    return np.float32(0.5) * _sum_of_squares(_through(network.decoder, z) - x)


def _through(layers: tuple[Layer, ...], x: Floats) -> Floats:
    for layer in layers:
        if not isinstance(layer, Dense) or layer.activation not in ("relu", "identity"):
            raise Unsupported("fast mode in NumPy: only dense layers with relu or identity")
        y = _products(x, layer)
        x = np.maximum(y, np.float32(0)) if layer.activation == "relu" else y
    return x


def _products(x: Floats, layer: Dense) -> Floats:
    """Of x [n, in] with the layer's weights, and its bias: [n, out]."""
    # The instruction that rounds x takes denormals for 0; weights are rounded in advance.
    x = rounded(_flushed(_even_width(x)))
    w = _flushed(rounded(_even_width(layer.weight)))
    chains = [np.broadcast_to(layer.bias, (len(x), len(w))), np.zeros((len(x), len(w)), np.float32)]
    usual = _never_denormal(x, w, layer.bias)
    for i in range(x.shape[1] // 2):
        left, right = x[:, None, 2 * i : 2 * i + 2], w[None, :, 2 * i : 2 * i + 2]
        total = chains[i % 2]
        if usual:  # products of bfloat16 are exact in float32
            total = total + left[..., 1] * right[..., 1]
            chains[i % 2] = total + left[..., 0] * right[..., 0]
        else:
            chains[i % 2] = dot(left, right, total)
    return chains[0] + chains[1]


def _never_denormal(x: Floats, w: Floats, bias: Floats) -> bool:
    """Whether every product and bias is 0 or so large that no sum of them can be denormal: each is
    a multiple of 2^-24 of itself."""
    least = [np.min(np.abs(v[v != 0]), initial=np.inf).astype(np.float64) for v in (x, w, bias)]
    return bool(least[0] * least[1] >= _SAFE and least[2] >= _SAFE)


def _even_width(values: Floats) -> Floats:
    return np.pad(values, ((0, 0), (0, values.shape[1] % 2)))


def _flushed(values: Floats) -> Floats:
    """A denormal becomes 0 of its sign."""
    return np.where(np.abs(values) < _TINY, np.copysign(np.float32(0), values), values)


def _fma(a: Floats, b: Floats, c: Floats) -> Floats:
    """a * b + c rounded once: in float64 rounded to odd, which float32 then rounds as the exact
    value. Boldo and Melquiond, IEEE Transactions on Computers 57 (2008)."""
    with np.errstate(invalid="ignore", over="ignore"):
        product, c = a.astype(np.float64) * b, c.astype(np.float64)
        total = product + c
        back = total - product
        error = (product - (total - back)) + (c - back)  # Knuth: total + error is the exact sum
        bits = total.view(np.int64)
        towards = np.where((error > 0) == (total > 0), 1, -1)
        even = (bits & 1) == 0
        odd = np.where(even & (error != 0) & np.isfinite(error), bits + towards, bits)
        return odd.view(np.float64).astype(np.float32)


def _sum_of_squares(values: Floats) -> Floats:
    """ARCHITECTURE.md's sum over the columns: [n, d] -> [n]."""
    partial = np.zeros((len(values), _PARTIAL_SUMS), np.float32)
    for j in range(values.shape[1]):
        at = j % _PARTIAL_SUMS
        partial[:, at] = _fma(values[:, j], values[:, j], partial[:, at])
    width = _PARTIAL_SUMS // 2
    while width:
        partial = partial[:, :width] + partial[:, width : 2 * width]
        width //= 2
    return partial[:, 0]
