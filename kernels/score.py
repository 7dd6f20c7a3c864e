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

from vaelocity.kernels.score_columns import missing, network_input, prepare, rejected
from vaelocity.kernels.score_dense import bias_blocks, finish, multiply, ones, pieces
from vaelocity.kernels.score_loss import loss_terms
from vaelocity.kernels.score_terms import (
    ELBO,
    LATENT_RECONSTRUCTION,
    RECONSTRUCTION,
    combine,
    latent_sum,
    load_rows,
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
    h, resident, weights, biases, scaling, n: tl.constexpr, LAYERS: tl.constexpr, L: tl.constexpr,
    SPLIT: tl.constexpr, BIAS_PRODUCTS: tl.constexpr, BM: tl.constexpr,
):  # fmt: skip
    """Block n of layer L's output, float32 [BM, N_BLOCK]. h: the blocks of its input; biases: the
    layer's bias_blocks, or without BIAS_PRODUCTS where all biases lie."""
    K_BLOCKS: tl.constexpr = LAYERS[L][1]
    N_BLOCK: tl.constexpr = LAYERS[L][2]
    BIAS: tl.constexpr = LAYERS[L][6]
    RESIDENT: tl.constexpr = LAYERS[L][9]
    columns = n * N_BLOCK + tl.arange(0, N_BLOCK)
    if BIAS_PRODUCTS:
        sum = tl.dot(ones(BM).to(biases[n].dtype), biases[n], input_precision="tf32")
    else:
        sum = tl.zeros((BM, N_BLOCK), tl.float32) + tl.load(biases + BIAS + columns)[None, :]
    for k in tl.static_range(K_BLOCKS):
        if RESIDENT:
            sum = multiply(h[k], resident, n * K_BLOCKS + k, sum, SPLIT)
        else:
            sum = multiply(h[k], pieces(weights, n, k, SPLIT, LAYERS, L), 0, sum, SPLIT)
    return finish(sum, n, scaling, LAYERS, L)


@triton.jit
def _dense(
    h, resident, weights, biases, scaling, LAYERS: tl.constexpr, L: tl.constexpr,
    SPLIT: tl.constexpr, BIAS_PRODUCTS: tl.constexpr, BM: tl.constexpr,
):  # fmt: skip
    """All blocks of layer L's output."""
    N_BLOCKS: tl.constexpr = LAYERS[L][3]
    out = ()
    for n in tl.static_range(N_BLOCKS):
        out = out + (
            _dense_block(
                h, resident, weights, biases, scaling, n, LAYERS, L, SPLIT, BIAS_PRODUCTS, BM
            ),
        )
    return out


# Else a call with other rows would compile anew: one row, a multiple of 16, another number.
@triton.jit(do_not_specialize=["n", "programs"])
def score(
    x,  # [n, D] float32, bfloat16 or float16 with any strides
    row_stride, column_stride,  # in elements
    n,  # rows; with those of the last tile less than 2^31
    weights, biases,  # operand type, bias_blocks' or float32
    scaling,  # float32: mean, inverse scale, the rows of COLUMNS, bounds
    beta, threshold,
    scores, flags, decisions,  # [n] float32, uint8, uint8, each or None
    features,  # [n, D] float32, or None
    counts,  # [BINS + 1] int32 of kernels/histogram_bins.py, added to, or None
    accepted,  # [programs] int32: rows that this program accepted, or None
    programs,
    D: tl.constexpr, LAYERS: tl.constexpr, N_ENCODER: tl.constexpr, HAS_LOGVAR: tl.constexpr,
    KIND: tl.constexpr, COLUMNS: tl.constexpr, LOSS: tl.constexpr, SPLIT: tl.constexpr,
    BIAS_PRODUCTS: tl.constexpr, READ_PADDING: tl.constexpr, BM: tl.constexpr,
    STAGES: tl.constexpr,
):  # fmt: skip
    """SPLIT: 0, or in float32 precision the distance between the weights' pieces (split_dot).
    COLUMNS: kernels/score_columns.py; LOSS: kernels/score_loss.py."""
    N_LAYERS: tl.constexpr = len(LAYERS)
    MU: tl.constexpr = N_ENCODER - 1
    FIRST_DECODER: tl.constexpr = N_ENCODER + HAS_LOGVAR
    LATENT_BLOCKS: tl.constexpr = LAYERS[MU][3]
    LAST: tl.constexpr = N_LAYERS - 1
    C: tl.constexpr = LAYERS[0][0]
    X_BLOCKS: tl.constexpr = LAYERS[0][1]
    PADDED: tl.constexpr = C * X_BLOCKS
    LEAVES_OUT: tl.constexpr = COLUMNS[7]
    OF_LATENT: tl.constexpr = KIND == LATENT_RECONSTRUCTION
    Y_BLOCKS: tl.constexpr = LATENT_BLOCKS if OF_LATENT else X_BLOCKS
    Y: tl.constexpr = LAYERS[MU][2] if OF_LATENT else C
    Y_WIDTH: tl.constexpr = LAYERS[MU][4] if OF_LATENT else D

    w = ()
    b = ()
    for i in tl.static_range(N_LAYERS):
        w = w + (_weights(weights, SPLIT, LAYERS, i),)
        b = b + (bias_blocks(biases, LAYERS, i) if BIAS_PRODUCTS else biases,)

    n_accepted = tl.full((), 0, tl.int32)
    first, end, step = tiles_of(accepted, n, programs, BM)
    for tile in tl.range(first, end, step, num_stages=STAGES):
        rows = tile * BM + tl.arange(0, BM)
        bad = tl.zeros((BM,), tl.float32)
        missed = None
        if COLUMNS[0]:
            missed = tl.zeros((BM,), tl.float32)
        x_blocks = ()
        h = ()
        for c in tl.static_range(X_BLOCKS):
            raw = load_rows(x, rows, n, row_stride, column_stride, c * C, D, C, READ_PADDING)
            bad += rejected(raw, scaling, c * C, COLUMNS, C, PADDED)
            if COLUMNS[0]:
                missed += missing(raw, scaling, c * C, COLUMNS, C, PADDED)
            block = prepare(raw, scaling, c * C, COLUMNS, C, PADDED)
            h = h + (network_input(block, COLUMNS),)
            x_blocks = x_blocks + (block,)

        for i in tl.static_range(MU):
            h = _dense(h, w[i], weights, b[i], scaling, LAYERS, i, SPLIT, BIAS_PRODUCTS, BM)
        mu = _dense(h, w[MU], weights, b[MU], scaling, LAYERS, MU, SPLIT, BIAS_PRODUCTS, BM)
        latent = tl.zeros((BM,), tl.float32)
        if KIND != RECONSTRUCTION and not OF_LATENT:
            for k in tl.static_range(LATENT_BLOCKS):
                logvar = mu[k]
                if HAS_LOGVAR:
                    logvar = _dense_block(
                        h,
                        w[MU + 1],
                        weights,
                        b[MU + 1],
                        scaling,
                        k,
                        LAYERS,
                        MU + 1,
                        SPLIT,
                        BIAS_PRODUCTS,
                        BM,
                    )
                latent += latent_sum(mu[k], logvar, KIND)

        reconstruction = tl.zeros((BM,), tl.float32)
        if KIND == RECONSTRUCTION or KIND == ELBO or OF_LATENT:
            target = mu if OF_LATENT else x_blocks
            h = mu
            for i in tl.static_range(FIRST_DECODER, LAST):
                h = _dense(h, w[i], weights, b[i], scaling, LAYERS, i, SPLIT, BIAS_PRODUCTS, BM)
            for c in tl.static_range(Y_BLOCKS):
                y = _dense_block(
                    h, w[LAST], weights, b[LAST], scaling, c, LAYERS, LAST, SPLIT, BIAS_PRODUCTS, BM
                )
                terms = loss_terms(
                    target[c], y, c * Y, LOSS, LEAVES_OUT and not OF_LATENT, Y_WIDTH, Y
                )
                reconstruction += tl.sum(terms, 1)
                if features is not None and not OF_LATENT:
                    write_features(features, rows, n, c * Y, terms, bad, D, Y, LOSS)

        value = combine(reconstruction, latent, beta, KIND, LOSS)
        accept = write(
            scores, flags, decisions, counts, threshold, rows, n, value, bad, missed, KIND
        )
        if accepted is not None:
            n_accepted += tl.sum(accept.to(tl.int32))
    if accepted is not None:
        tl.store(accepted + tl.program_id(0), n_accepted)
