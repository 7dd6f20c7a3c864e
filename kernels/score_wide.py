"""The whole score in one kernel for networks whose weights or activations do not fit on chip.

Persistent, like kernels/score.py, but every layer runs over blocks of its outputs and, inside, over
blocks of its inputs: weights are streamed from L2, activations go through a scratch tile of this
program's own, small enough to stay in L2. Registers and shared memory do not grow with the widths.
"""

import triton
import triton.language as tl

from vaelocity.kernels.score_columns import missing, network_input, prepare, rejected
from vaelocity.kernels.score_dense import finish, multiply, pieces
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

# given: (x, rows, n, row_stride, column_stride); model: (weights, biases, scaling).


@triton.jit
def _features(
    given, model, column, D: tl.constexpr, C: tl.constexpr, PADDED: tl.constexpr,
    READ_PADDING: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Prepared features column .. column + C, float32 [BM, C]."""
    raw = load_rows(given[0], given[1], given[2], given[3], given[4], column, D, C, READ_PADDING)
    return prepare(raw, model[2], column, COLUMNS, C, PADDED)


@triton.jit
def _dense_block(
    source, given, model, b, LAYERS: tl.constexpr, L: tl.constexpr, FROM_ROWS: tl.constexpr,
    D: tl.constexpr, WIDTH: tl.constexpr, PADDED: tl.constexpr, READ_PADDING: tl.constexpr,
    COLUMNS: tl.constexpr, SPLIT: tl.constexpr, BM: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Block b of layer L's output, float32 [BM, N_BLOCK]. Its input: the rows, or `source`,
    [BM, WIDTH]."""
    K_BLOCK: tl.constexpr = LAYERS[L][0]
    K_BLOCKS: tl.constexpr = LAYERS[L][1]
    N_BLOCK: tl.constexpr = LAYERS[L][2]
    BIAS: tl.constexpr = LAYERS[L][6]
    columns = b * N_BLOCK + tl.arange(0, N_BLOCK)
    at = source + tl.arange(0, BM)[:, None] * WIDTH + tl.arange(0, K_BLOCK)[None, :]
    sum = tl.zeros((BM, N_BLOCK), tl.float32)
    for k in tl.range(0, K_BLOCKS, num_stages=STAGES):
        if FROM_ROWS:
            a = _features(given, model, k * K_BLOCK, D, K_BLOCK, PADDED, READ_PADDING, COLUMNS)
            a = network_input(a, COLUMNS)
        else:
            a = tl.load(at + k * K_BLOCK)
        sum = multiply(a, pieces(model[0], b, k, SPLIT, LAYERS, L), 0, sum, SPLIT)
    return finish(sum + tl.load(model[1] + BIAS + columns)[None, :], b, model[2], LAYERS, L)


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
    COLUMNS: tl.constexpr, SPLIT: tl.constexpr, BM: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Layer L's whole output, into `target`."""
    N_BLOCK: tl.constexpr = LAYERS[L][2]
    N_BLOCKS: tl.constexpr = LAYERS[L][3]
    for b in tl.range(0, N_BLOCKS, num_stages=1):
        h = _dense_block(
            source, given, model, b, LAYERS, L, FROM_ROWS,
            D, WIDTH, PADDED, READ_PADDING, COLUMNS, SPLIT, BM, STAGES,
        )  # fmt: skip
        _keep(target, b, h, WIDTH, N_BLOCK, BM)
    # Other threads read what this one has stored.
    tl.debug_barrier()


# Else a call with other rows would compile anew: one row, a multiple of 16, another number.
@triton.jit(do_not_specialize=["n", "programs"])
def score_wide(
    x,  # [n, D] float32, bfloat16 or float16 with any strides
    row_stride, column_stride,  # in elements
    n,  # rows; with those of the last tile less than 2^31
    weights, biases,  # operand type, float32
    scaling,  # float32: mean, inverse scale, the rows of COLUMNS, bounds
    scratch,  # [programs, 2 (for the loss of the latent 3), BM, WIDTH], operand type (float32 with
    # SPLIT)
    beta, threshold,
    scores, flags, decisions,  # [n] float32, uint8, uint8, each or None
    features,  # [n, D] float32, or None
    counts,  # [BINS + 1] int32 of kernels/histogram_bins.py, added to, or None
    accepted,  # [programs] int32: rows that this program accepted, or None
    programs,
    D: tl.constexpr, LAYERS: tl.constexpr, N_ENCODER: tl.constexpr, HAS_LOGVAR: tl.constexpr,
    KIND: tl.constexpr, COLUMNS: tl.constexpr, LOSS: tl.constexpr, SPLIT: tl.constexpr,
    READ_PADDING: tl.constexpr, WIDTH: tl.constexpr, PADDED: tl.constexpr, BM: tl.constexpr,
    STAGES: tl.constexpr,
):  # fmt: skip
    """WIDTH: the widest layer's outputs in whole blocks; PADDED: those of the features. COLUMNS:
    kernels/score_columns.py; LOSS: kernels/score_loss.py."""
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
    OF_LATENT: tl.constexpr = KIND == LATENT_RECONSTRUCTION
    HAS_DECODER: tl.constexpr = KIND == RECONSTRUCTION or KIND == ELBO or OF_LATENT
    Y_WIDTH: tl.constexpr = LAYERS[MU][4] if OF_LATENT else D
    LEAVES_OUT: tl.constexpr = COLUMNS[7] and not OF_LATENT
    TILES: tl.constexpr = 3 if OF_LATENT else 2
    # Where mu stays: in its half until the decoder's second layer, or for good.
    Z: tl.constexpr = 2 if OF_LATENT else MU % 2

    model = (weights, biases, scaling)
    # Layer i leaves its output in half i % 2.
    halves = scratch + tl.program_id(0).to(tl.int64) * (TILES * BM * WIDTH)
    n_accepted = tl.full((), 0, tl.int32)
    first, end, step = tiles_of(accepted, n, programs, BM)
    for tile in tl.range(first, end, step, num_stages=1):
        rows = tile * BM + tl.arange(0, BM)
        given = (x, rows, n, row_stride, column_stride)
        bad = tl.zeros((BM,), tl.float32)
        missed = None
        if COLUMNS[0]:
            missed = tl.zeros((BM,), tl.float32)
        for c in tl.range(0, X_BLOCKS, num_stages=1):
            raw = load_rows(x, rows, n, row_stride, column_stride, c * K, D, K, READ_PADDING)
            bad += rejected(raw, scaling, c * K, COLUMNS, K, PADDED)
            if COLUMNS[0]:
                missed += missing(raw, scaling, c * K, COLUMNS, K, PADDED)

        for i in tl.static_range(MU):
            _layer(
                halves + (i + 1) % 2 * BM * WIDTH, halves + i % 2 * BM * WIDTH,
                given, model, LAYERS, i, i == 0,
                D, WIDTH, PADDED, READ_PADDING, COLUMNS, SPLIT, BM, STAGES,
            )  # fmt: skip

        encoded = halves + (MU + 1) % 2 * BM * WIDTH
        z = halves + Z * BM * WIDTH
        latent = tl.zeros((BM,), tl.float32)
        for b in tl.range(0, LATENT_BLOCKS, num_stages=1):
            mu = _dense_block(
                encoded, given, model, b, LAYERS, MU, MU == 0,
                D, WIDTH, PADDED, READ_PADDING, COLUMNS, SPLIT, BM, STAGES,
            )  # fmt: skip
            if KIND != RECONSTRUCTION and not OF_LATENT:
                logvar = mu
                if HAS_LOGVAR:
                    logvar = _dense_block(
                        encoded, given, model, b, LAYERS, MU + 1, MU == 0,
                        D, WIDTH, PADDED, READ_PADDING, COLUMNS, SPLIT, BM, STAGES,
                    )  # fmt: skip
                latent += latent_sum(mu, logvar, KIND)
            if HAS_DECODER:
                _keep(z, b, mu, WIDTH, LATENT, BM)
        tl.debug_barrier()

        reconstruction = tl.zeros((BM,), tl.float32)
        if HAS_DECODER:
            for i in tl.static_range(FIRST_DECODER, LAST):
                _layer(
                    z if i == FIRST_DECODER else halves + (i - HAS_LOGVAR + 1) % 2 * BM * WIDTH,
                    halves + (i - HAS_LOGVAR) % 2 * BM * WIDTH,
                    given, model, LAYERS, i, False,
                    D, WIDTH, PADDED, READ_PADDING, COLUMNS, SPLIT, BM, STAGES,
                )  # fmt: skip
            decoded = z
            if LAST != FIRST_DECODER:
                decoded = halves + (LAST - HAS_LOGVAR + 1) % 2 * BM * WIDTH
            for c in tl.range(0, Y_BLOCKS, num_stages=1):
                y = _dense_block(
                    decoded, given, model, c, LAYERS, LAST, False,
                    D, WIDTH, PADDED, READ_PADDING, COLUMNS, SPLIT, BM, STAGES,
                )  # fmt: skip
                if OF_LATENT:
                    at = z + tl.arange(0, BM)[:, None] * WIDTH + tl.arange(0, Y)[None, :]
                    target = tl.load(at + c * Y).to(tl.float32)
                else:
                    target = _features(given, model, c * Y, D, Y, PADDED, READ_PADDING, COLUMNS)
                terms = loss_terms(target, y, c * Y, LOSS, LEAVES_OUT, Y_WIDTH, Y)
                reconstruction += tl.sum(terms, 1)
                if features is not None and not OF_LATENT:
                    write_features(features, rows, n, c * Y, terms, bad, D, Y, LOSS)
            # The next tile writes where slower threads still read.
            tl.debug_barrier()

        value = combine(reconstruction, latent, beta, KIND, LOSS)
        accept = write(
            scores, flags, decisions, counts, threshold, rows, n, value, bad, missed, KIND
        )
        if accepted is not None:
            n_accepted += tl.sum(accept.to(tl.int32))
    if accepted is not None:
        tl.store(accepted + tl.program_id(0), n_accepted)
