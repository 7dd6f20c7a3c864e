"""The whole score in one kernel for networks whose weights or activations do not fit on chip.

Persistent, like kernels/score.py, but every layer runs over blocks of its outputs and, inside, over
blocks of its inputs: weights are streamed from L2, activations go through a scratch tile of this
program's own, small enough to stay in L2. Registers and shared memory do not grow with the widths.
"""

import triton
import triton.language as tl

from vaelocity.kernels.activation import SIGMOID, activate
from vaelocity.kernels.score_dense import multiply, pieces
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

# given: (x, tile, rows, n, row_stride, column_stride); model: (weights, biases, scaling).


@triton.jit
def _rows(
    given, column, D: tl.constexpr, C: tl.constexpr, READ_PADDING: tl.constexpr,
    GROUP: tl.constexpr, BM: tl.constexpr,
):  # fmt: skip
    """Features column .. column + C of the tile's rows, float32 [BM, C]."""
    if GROUP:
        return load_grouped(given[0], given[1], column, D, C, GROUP, BM)
    else:
        return load_rows(
            given[0], given[2], given[3], given[4], given[5], column, D, C, READ_PADDING
        )


@triton.jit
def _features(
    given, model, column, D: tl.constexpr, C: tl.constexpr, PADDED: tl.constexpr,
    READ_PADDING: tl.constexpr, GROUP: tl.constexpr, BM: tl.constexpr,
):  # fmt: skip
    """Standardised, the same."""
    raw = _rows(given, column, D, C, READ_PADDING, GROUP, BM)
    return standardize(raw, model[2], column, C, PADDED)


@triton.jit
def _dense_block(
    source, given, model, b, LAYERS: tl.constexpr, L: tl.constexpr, FROM_ROWS: tl.constexpr,
    D: tl.constexpr, WIDTH: tl.constexpr, PADDED: tl.constexpr, READ_PADDING: tl.constexpr,
    GROUP: tl.constexpr, SPLIT: tl.constexpr, BM: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Block b of layer L's output, float32 [BM, N_BLOCK]. Its input: the rows, or `source`,
    [BM, WIDTH]."""
    K_BLOCK: tl.constexpr = LAYERS[L][0]
    K_BLOCKS: tl.constexpr = LAYERS[L][1]
    N_BLOCK: tl.constexpr = LAYERS[L][2]
    N: tl.constexpr = LAYERS[L][4]
    BIAS: tl.constexpr = LAYERS[L][6]
    KIND: tl.constexpr = LAYERS[L][7]
    SLOPE: tl.constexpr = LAYERS[L][8]
    columns = b * N_BLOCK + tl.arange(0, N_BLOCK)
    at = source + tl.arange(0, BM)[:, None] * WIDTH + tl.arange(0, K_BLOCK)[None, :]
    sum = tl.zeros((BM, N_BLOCK), tl.float32)
    for k in tl.range(0, K_BLOCKS, num_stages=STAGES):
        if FROM_ROWS:
            a = _features(given, model, k * K_BLOCK, D, K_BLOCK, PADDED, READ_PADDING, GROUP, BM)
        else:
            a = tl.load(at + k * K_BLOCK)
        sum = multiply(a, pieces(model[0], b, k, SPLIT, LAYERS, L), 0, sum, SPLIT)
    out = activate(sum + tl.load(model[1] + BIAS + columns)[None, :], KIND, SLOPE)
    # The only activation that makes something of a padding of 0.
    if KIND == SIGMOID and N % N_BLOCK != 0:
        out = tl.where((columns < N)[None, :], out, 0.0)
    return out


@triton.jit
def _keep(target, b, block, WIDTH: tl.constexpr, N_BLOCK: tl.constexpr, BM: tl.constexpr):
    """Store block b into the scratch tile [BM, WIDTH]."""
    columns = b * N_BLOCK + tl.arange(0, N_BLOCK)
    at = target + tl.arange(0, BM)[:, None] * WIDTH + columns[None, :]
    tl.store(at, block.to(target.dtype.element_ty))


@triton.jit
def _layer(
    source, target, given, model, LAYERS: tl.constexpr, L: tl.constexpr, FROM_ROWS: tl.constexpr,
    D: tl.constexpr, WIDTH: tl.constexpr, PADDED: tl.constexpr, READ_PADDING: tl.constexpr,
    GROUP: tl.constexpr, SPLIT: tl.constexpr, BM: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Layer L's whole output, into `target`."""
    N_BLOCK: tl.constexpr = LAYERS[L][2]
    N_BLOCKS: tl.constexpr = LAYERS[L][3]
    for b in tl.range(0, N_BLOCKS, num_stages=1):
        h = _dense_block(
            source, given, model, b, LAYERS, L, FROM_ROWS,
            D, WIDTH, PADDED, READ_PADDING, GROUP, SPLIT, BM, STAGES,
        )  # fmt: skip
        _keep(target, b, h, WIDTH, N_BLOCK, BM)
    # Other threads read what this one has stored.
    tl.debug_barrier()


# Else a call with other rows would compile anew: one row, a multiple of 16, another number.
@triton.jit(do_not_specialize=["n", "programs"])
def score_wide(
    x,  # [n, D] float32, bfloat16 or float16 with any strides; load_grouped's with GROUP
    row_stride, column_stride,  # in elements
    n,  # rows; with those of the last tile less than 2^31
    weights, biases, scaling,  # operand type, float32, float32
    scratch,  # [programs, 2, BM, WIDTH], operand type (float32 with SPLIT)
    beta, threshold,
    scores, flags, decisions,  # [n] float32, uint8, uint8, each or None
    features,  # [n, D] float32, or None
    counts,  # [BINS + 1] int32 of kernels/histogram_bins.py, added to, or None
    accepted,  # [programs] int32: rows that this program accepted, or None
    programs,
    D: tl.constexpr, LAYERS: tl.constexpr, N_ENCODER: tl.constexpr, HAS_LOGVAR: tl.constexpr,
    KIND: tl.constexpr, SPLIT: tl.constexpr, READ_PADDING: tl.constexpr, GROUP: tl.constexpr,
    WIDTH: tl.constexpr, PADDED: tl.constexpr, BM: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """WIDTH: the widest layer's outputs in whole blocks; PADDED: those of the features."""
    N_LAYERS: tl.constexpr = len(LAYERS)
    MU: tl.constexpr = N_ENCODER - 1
    FIRST_DECODER: tl.constexpr = N_ENCODER + HAS_LOGVAR
    LAST: tl.constexpr = N_LAYERS - 1
    K: tl.constexpr = LAYERS[0][0]
    X_BLOCKS: tl.constexpr = LAYERS[0][1]
    LATENT: tl.constexpr = LAYERS[MU][2]
    LATENT_BLOCKS: tl.constexpr = LAYERS[MU][3]
    Y: tl.constexpr = LAYERS[LAST][2]
    Y_BLOCKS: tl.constexpr = LAYERS[LAST][3]
    HAS_DECODER: tl.constexpr = KIND == RECONSTRUCTION or KIND == ELBO

    model = (weights, biases, scaling)
    # Layer i leaves its output in half i % 2.
    halves = scratch + tl.program_id(0).to(tl.int64) * (2 * BM * WIDTH)
    n_accepted = tl.full((), 0, tl.int32)
    first, end, step = tiles_of(accepted, n, programs, BM, GROUP)
    for tile in tl.range(first, end, step, num_stages=1):
        rows = rows_of(tile, BM, GROUP)
        given = (x, tile, rows, n, row_stride, column_stride)
        bad = tl.zeros((BM,), tl.float32)
        for c in tl.range(0, X_BLOCKS, num_stages=1):
            bad += nonfinite(_rows(given, c * K, D, K, READ_PADDING, GROUP, BM))

        for i in tl.static_range(MU):
            _layer(
                halves + (i + 1) % 2 * BM * WIDTH, halves + i % 2 * BM * WIDTH,
                given, model, LAYERS, i, i == 0,
                D, WIDTH, PADDED, READ_PADDING, GROUP, SPLIT, BM, STAGES,
            )  # fmt: skip

        encoded = halves + (MU + 1) % 2 * BM * WIDTH
        z = halves + MU % 2 * BM * WIDTH
        latent = tl.zeros((BM,), tl.float32)
        for b in tl.range(0, LATENT_BLOCKS, num_stages=1):
            mu = _dense_block(
                encoded, given, model, b, LAYERS, MU, MU == 0,
                D, WIDTH, PADDED, READ_PADDING, GROUP, SPLIT, BM, STAGES,
            )  # fmt: skip
            if KIND != RECONSTRUCTION:
                logvar = mu
                if HAS_LOGVAR:
                    logvar = _dense_block(
                        encoded, given, model, b, LAYERS, MU + 1, MU == 0,
                        D, WIDTH, PADDED, READ_PADDING, GROUP, SPLIT, BM, STAGES,
                    )  # fmt: skip
                latent += latent_sum(mu, logvar, KIND)
            if HAS_DECODER:
                _keep(z, b, mu, WIDTH, LATENT, BM)
        tl.debug_barrier()

        reconstruction = tl.zeros((BM,), tl.float32)
        if HAS_DECODER:
            for i in tl.static_range(FIRST_DECODER, LAST):
                _layer(
                    halves + (i - HAS_LOGVAR + 1) % 2 * BM * WIDTH,
                    halves + (i - HAS_LOGVAR) % 2 * BM * WIDTH,
                    given, model, LAYERS, i, False,
                    D, WIDTH, PADDED, READ_PADDING, GROUP, SPLIT, BM, STAGES,
                )  # fmt: skip
            decoded = halves + (LAST - HAS_LOGVAR + 1) % 2 * BM * WIDTH
            for c in tl.range(0, Y_BLOCKS, num_stages=1):
                y = _dense_block(
                    decoded, given, model, c, LAYERS, LAST, False,
                    D, WIDTH, PADDED, READ_PADDING, GROUP, SPLIT, BM, STAGES,
                )  # fmt: skip
                difference = y - _features(
                    given, model, c * Y, D, Y, PADDED, READ_PADDING, GROUP, BM
                )
                reconstruction += tl.sum(difference * difference, 1)
                if features is not None:
                    write_features(features, rows, n, c * Y, difference, bad, D, Y)
            # The next tile writes where slower threads still read.
            tl.debug_barrier()

        value = combine(reconstruction, latent, beta, KIND)
        accept = write(scores, flags, decisions, counts, threshold, rows, n, value, bad)
        if accepted is not None:
            n_accepted += tl.sum(accept.to(tl.int32))
    if accepted is not None:
        tl.store(accepted + tl.program_id(0), n_accepted)
