"""The whole score of a row in one kernel: preprocessing, encoder, latent, decoder, score, decision.

Persistent: a program loads the weights once, before its loop over tiles of BM rows. On Hopper they
stay in shared memory as the right operands of wgmma, the activations stay in registers as its left
operands, and the rows of the next tile are copied while this one is computed.

A layer's values are a tuple of blocks [BM, C]; blocks keep wide layers within the registers and
bound the padding. LAYERS is described in kernels/score_dense.py; the blocks of a layer's outputs
must be those of the next one's inputs. Networks too wide for this are kernels/score_wide.py's.
"""

import triton
import triton.language as tl

from vaelocity.kernels.activation import SIGMOID, activate
from vaelocity.kernels.score_dense import bias_blocks, multiply, ones, pieces
from vaelocity.kernels.score_terms import (
    ELBO,
    RECONSTRUCTION,
    combine,
    latent_sum,
    load_grouped,
    load_rows,
    nonfinite,
    rows_of,
    standardize,
    tiles_of,
    write,
    write_features,
)


@triton.jit
def _weights(weights, SPLIT: tl.constexpr, LAYERS: tl.constexpr, L: tl.constexpr):
    """All blocks of layer L; none if it is not resident."""
    K_BLOCKS: tl.constexpr = LAYERS[L][1]
    N_BLOCKS: tl.constexpr = LAYERS[L][3]
    RESIDENT: tl.constexpr = LAYERS[L][9]
    blocks = ()
    if RESIDENT:
        for n in tl.static_range(N_BLOCKS):
            for k in tl.static_range(K_BLOCKS):
                blocks = blocks + pieces(weights, n, k, SPLIT, LAYERS, L)
    return blocks


@triton.jit
def _dense_block(
    h, resident, weights, biases, n: tl.constexpr, LAYERS: tl.constexpr, L: tl.constexpr,
    SPLIT: tl.constexpr, BM: tl.constexpr,
):  # fmt: skip
    """Block n of layer L's output, float32 [BM, N_BLOCK]. h: the blocks of its input; biases: its
    bias_blocks."""
    K_BLOCKS: tl.constexpr = LAYERS[L][1]
    N_BLOCK: tl.constexpr = LAYERS[L][2]
    N: tl.constexpr = LAYERS[L][4]
    KIND: tl.constexpr = LAYERS[L][7]
    SLOPE: tl.constexpr = LAYERS[L][8]
    RESIDENT: tl.constexpr = LAYERS[L][9]
    sum = tl.dot(ones(BM).to(biases[n].dtype), biases[n], input_precision="tf32")
    for k in tl.static_range(K_BLOCKS):
        if RESIDENT:
            sum = multiply(h[k], resident, n * K_BLOCKS + k, sum, SPLIT)
        else:
            sum = multiply(h[k], pieces(weights, n, k, SPLIT, LAYERS, L), 0, sum, SPLIT)
    out = activate(sum, KIND, SLOPE)
    # The only activation that makes something of a padding of 0.
    if KIND == SIGMOID and N % N_BLOCK != 0:
        columns = n * N_BLOCK + tl.arange(0, N_BLOCK)
        out = tl.where((columns < N)[None, :], out, 0.0)
    return out


@triton.jit
def _dense(
    h, resident, weights, biases, LAYERS: tl.constexpr, L: tl.constexpr,
    SPLIT: tl.constexpr, BM: tl.constexpr,
):  # fmt: skip
    """All blocks of layer L's output."""
    N_BLOCKS: tl.constexpr = LAYERS[L][3]
    out = ()
    for n in tl.static_range(N_BLOCKS):
        out = out + (_dense_block(h, resident, weights, biases, n, LAYERS, L, SPLIT, BM),)
    return out


# Else a call with other rows would compile anew: one row, a multiple of 16, another number.
@triton.jit(do_not_specialize=["n", "programs"])
def score(
    x,  # [n, D] float32, bfloat16 or float16 with any strides; load_grouped's with GROUP
    row_stride, column_stride,  # in elements
    n,  # rows; with those of the last tile less than 2^31
    weights, biases, scaling,  # operand type, operand type (bias_blocks), float32
    beta, threshold,
    scores, flags, decisions,  # [n] float32, uint8, uint8, each or None
    features,  # [n, D] float32, or None
    counts,  # [BINS + 1] int32 of kernels/histogram_bins.py, added to, or None
    accepted,  # [programs] int32: rows that this program accepted, or None
    programs,
    D: tl.constexpr, LAYERS: tl.constexpr, N_ENCODER: tl.constexpr, HAS_LOGVAR: tl.constexpr,
    KIND: tl.constexpr, SPLIT: tl.constexpr, READ_PADDING: tl.constexpr,
    GROUP: tl.constexpr, BM: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """SPLIT: 0, or in float32 precision the distance between the weights' pieces (split_dot)."""
    N_LAYERS: tl.constexpr = len(LAYERS)
    MU: tl.constexpr = N_ENCODER - 1
    FIRST_DECODER: tl.constexpr = N_ENCODER + HAS_LOGVAR
    LATENT_BLOCKS: tl.constexpr = LAYERS[MU][3]
    LAST: tl.constexpr = N_LAYERS - 1
    C: tl.constexpr = LAYERS[0][0]
    X_BLOCKS: tl.constexpr = LAYERS[0][1]
    PADDED: tl.constexpr = C * X_BLOCKS

    w = ()
    b = ()
    for i in tl.static_range(N_LAYERS):
        w = w + (_weights(weights, SPLIT, LAYERS, i),)
        b = b + (bias_blocks(biases, LAYERS, i),)

    n_accepted = tl.full((), 0, tl.int32)
    first, end, step = tiles_of(accepted, n, programs, BM, GROUP)
    for tile in tl.range(first, end, step, num_stages=STAGES):
        rows = rows_of(tile, BM, GROUP)
        bad = tl.zeros((BM,), tl.float32)
        x_blocks = ()
        for c in tl.static_range(X_BLOCKS):
            if GROUP:
                raw = load_grouped(x, tile, c * C, D, C, GROUP, BM)
            else:
                raw = load_rows(x, rows, n, row_stride, column_stride, c * C, D, C, READ_PADDING)
            bad += nonfinite(raw)
            block = standardize(raw, scaling, c * C, C, PADDED)
            x_blocks = x_blocks + (block,)

        h = x_blocks
        for i in tl.static_range(MU):
            h = _dense(h, w[i], weights, b[i], LAYERS, i, SPLIT, BM)
        mu = _dense(h, w[MU], weights, b[MU], LAYERS, MU, SPLIT, BM)
        latent = tl.zeros((BM,), tl.float32)
        if KIND != RECONSTRUCTION:
            for k in tl.static_range(LATENT_BLOCKS):
                logvar = mu[k]
                if HAS_LOGVAR:
                    logvar = _dense_block(
                        h, w[MU + 1], weights, b[MU + 1], k, LAYERS, MU + 1, SPLIT, BM
                    )
                latent += latent_sum(mu[k], logvar, KIND)

        reconstruction = tl.zeros((BM,), tl.float32)
        if KIND == RECONSTRUCTION or KIND == ELBO:
            h = mu
            for i in tl.static_range(FIRST_DECODER, LAST):
                h = _dense(h, w[i], weights, b[i], LAYERS, i, SPLIT, BM)
            for c in tl.static_range(X_BLOCKS):
                y = _dense_block(h, w[LAST], weights, b[LAST], c, LAYERS, LAST, SPLIT, BM)
                difference = y - x_blocks[c]
                reconstruction += tl.sum(difference * difference, 1)
                if features is not None:
                    write_features(features, rows, n, c * C, difference, bad, D, C)

        value = combine(reconstruction, latent, beta, KIND)
        accept = write(scores, flags, decisions, counts, threshold, rows, n, value, bad)
        if accepted is not None:
            n_accepted += tl.sum(accept.to(tl.int32))
    if accepted is not None:
        tl.store(accepted + tl.program_id(0), n_accepted)
