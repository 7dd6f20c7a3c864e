"""Weights as the scorers read them, and the product with a block of them.

LAYERS is a tuple of tuples of numbers, one a layer, unrolled at compile time:

    (K_BLOCK, K_BLOCKS, N_BLOCK, N_BLOCKS, N, weight_at, bias_at, activation, slope, resident,
     bound_at, bound_activation, bound_slope)

in the order encoder, mu, logvar (HAS_LOGVAR), decoder. Weights lie block by block: [N_BLOCKS]
[K_BLOCKS][N_BLOCK][K_BLOCK], padded with 0. vaelocity.cuda.plan makes both.

bound_at: 0, or where a step `bound` behind the layer has its bounds and, behind them, its centers
in `scaling`, [N_BLOCKS][N_BLOCK] each (csrc/src/score/kernels/bound.h).

SPLIT: 0; or, in float32 precision, how far apart the three pieces of a weight lie (split_dot).
"""

import triton
import triton.language as tl

from vaelocity.kernels.activation import SIGMOID, activate, tanh
from vaelocity.kernels.math import toward_tf32

# Triton's interpreter multiplies in float32, where half a digit more would be an error.
INTERPRETED = tl.constexpr(triton.knobs.runtime.interpret)


@triton.jit
def _weight(weights, n, k, LAYERS: tl.constexpr, L: tl.constexpr):
    """Block (n, k) of layer L as [K_BLOCK, N_BLOCK]."""
    K: tl.constexpr = LAYERS[L][0]
    K_BLOCKS: tl.constexpr = LAYERS[L][1]
    N: tl.constexpr = LAYERS[L][2]
    AT: tl.constexpr = LAYERS[L][5]
    at = weights + AT + (n * K_BLOCKS + k) * K * N
    return tl.load(at + tl.arange(0, N)[None, :] * K + tl.arange(0, K)[:, None])


@triton.jit
def pieces(weights, n, k, SPLIT: tl.constexpr, LAYERS: tl.constexpr, L: tl.constexpr):
    """Block (n, k) alone, or with SPLIT its three pieces."""
    w = (_weight(weights, n, k, LAYERS, L),)
    if SPLIT:
        w = w + (_weight(weights + SPLIT, n, k, LAYERS, L),)
        w = w + (_weight(weights + 2 * SPLIT, n, k, LAYERS, L),)
    return w


@triton.jit
def bias_blocks(biases, LAYERS: tl.constexpr, L: tl.constexpr):
    """Layer L's biases as right operands, a block [16, N_BLOCK] for each of its outputs' blocks:
    three pieces of each bias and 13 times 0. Their product with `ones` begins a sum.

    They stay in shared memory, where wgmma reads them; biases that are added are loaded anew by
    each thread, for its columns, in every layer of every tile. Two sweeps on H200s, not in turns,
    differed by 12 % in bf16 and 6 % in tf32; with SPLIT, where registers are short, products were
    11 % slower (bench/results/nvidia-h200/tests.md).
    """
    N: tl.constexpr = LAYERS[L][2]
    N_BLOCKS: tl.constexpr = LAYERS[L][3]
    AT: tl.constexpr = LAYERS[L][6]
    blocks = ()
    for n in tl.static_range(N_BLOCKS):
        columns = AT + n * N + tl.arange(0, N)
        blocks = blocks + (tl.load(biases + columns[None, :] * 16 + tl.arange(0, 16)[:, None]),)
    return blocks


@triton.jit
def ones(BM: tl.constexpr):
    """[BM, 16]: what takes the three pieces of a bias; their products and sum are exact."""
    return tl.where(tl.arange(0, 16) < 3, 1.0, 0.0)[None, :] + tl.zeros((BM, 16), tl.float32)


@triton.jit
def _leading(a):
    """The 8 leading bits of float32 a: what bfloat16 holds exactly."""
    return (a.to(tl.int32, bitcast=True) & -65536).to(tl.float32, bitcast=True)


@triton.jit
def split_dot(a, w1, w2, w3, sum):
    """sum + a (w1 + w2 + w3) as accurate as float32, on bfloat16 units: a is split like the weights
    into three pieces of 8 bits, and of the nine products the three below 2^-24 are left out."""
    a1 = _leading(a)
    a2 = _leading(a - a1)
    b1, b2, b3 = a1.to(w1.dtype), a2.to(w1.dtype), (a - a1 - a2).to(w1.dtype)
    sum = tl.dot(b3, w1, sum)
    sum = tl.dot(b2, w2, sum)
    sum = tl.dot(b1, w3, sum)
    sum = tl.dot(b2, w1, sum)
    sum = tl.dot(b1, w2, sum)
    return tl.dot(b1, w1, sum)


@triton.jit
def multiply(a, w, AT: tl.constexpr, sum, SPLIT: tl.constexpr):
    """sum + a w[AT], or with SPLIT a by the three pieces that stand there."""
    if SPLIT:
        return split_dot(a, w[3 * AT], w[3 * AT + 1], w[3 * AT + 2], sum)
    if w[AT].dtype == tl.float32 and not INTERPRETED:
        # The weights were rounded when they were packed. Cut off instead, scores were off by 4 to
        # 10 times as much: tests/test_tf32.py.
        a = toward_tf32(a)
    return tl.dot(a.to(w[AT].dtype), w[AT], sum, input_precision="tf32")


@triton.jit
def finish(sum, n, scaling, LAYERS: tl.constexpr, L: tl.constexpr):
    """What layer L makes of its sums [BM, N_BLOCK]: block n of its output, 0 in the padding."""
    N_BLOCK: tl.constexpr = LAYERS[L][2]
    N_BLOCKS: tl.constexpr = LAYERS[L][3]
    N: tl.constexpr = LAYERS[L][4]
    KIND: tl.constexpr = LAYERS[L][7]
    SLOPE: tl.constexpr = LAYERS[L][8]
    BOUND: tl.constexpr = LAYERS[L][10]
    BOUND_KIND: tl.constexpr = LAYERS[L][11]
    BOUND_SLOPE: tl.constexpr = LAYERS[L][12]
    columns = n * N_BLOCK + tl.arange(0, N_BLOCK)
    out = activate(sum, KIND, SLOPE)
    if BOUND:
        at = scaling + BOUND + columns
        bound = tl.load(at)[None, :]
        center = tl.load(at + N_BLOCKS * N_BLOCK)[None, :]
        out = tl.where(bound > 0.0, bound * tanh(out) + center, out)
        out = activate(out, BOUND_KIND, BOUND_SLOPE)
    # The only activation that makes something of a padding of 0.
    if (KIND == SIGMOID or BOUND_KIND == SIGMOID) and N % N_BLOCK != 0:
        out = tl.where((columns < N)[None, :], out, 0.0)
    return out
