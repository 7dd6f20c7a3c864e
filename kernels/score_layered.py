"""The score of rows that torch has encoded and decoded: everything behind the network.

Loss, latent sums, saturation, flags, decision and histogram in one pass over the rows and what the
encoder and the decoder made of them. Persistent like kernels/score.py.
"""

import triton
import triton.language as tl

from vaelocity.kernels.score_columns import missing, prepare, rejected
from vaelocity.kernels.score_loss import loss_terms
from vaelocity.kernels.score_terms import (
    ELBO,
    LATENT_RECONSTRUCTION,
    RECONSTRUCTION,
    combine,
    latent_sum,
    load_rows,
    write,
    write_features,
)

LATENT_BLOCK = tl.constexpr(16)


@triton.jit
def _latent(
    encoded, rows, n, LATENT: tl.constexpr, GAUSSIAN: tl.constexpr, KIND: tl.constexpr,
    BM: tl.constexpr,
):  # fmt: skip
    """The kind's sum over the latent variables: float32 [BM]."""
    WIDTH: tl.constexpr = LATENT * (1 + GAUSSIAN)
    sum = tl.zeros((BM,), tl.float32)
    for b in tl.range(0, tl.cdiv(LATENT, LATENT_BLOCK)):
        columns = b * LATENT_BLOCK + tl.arange(0, LATENT_BLOCK)
        used = (rows < n)[:, None] & (columns < LATENT)[None, :]
        at = encoded + rows.to(tl.int64)[:, None] * WIDTH + columns[None, :]
        mu = tl.load(at, mask=used, other=0.0)
        logvar = mu
        if GAUSSIAN:
            logvar = tl.load(at + LATENT, mask=used, other=0.0)
        sum += latent_sum(mu, logvar, KIND)
    return sum


# Else a call with other rows would compile anew: one row, a multiple of 16, another number.
@triton.jit(do_not_specialize=["n", "programs"])
def score_layered(
    x,  # [n, D] float32, bfloat16 or float16 with any strides
    row_stride, column_stride,  # in elements
    n,  # rows; with those of the last tile less than 2^31
    scaling,  # [.., PADDED] float32: mean, inverse scale, the rows of COLUMNS; 0 behind D
    encoded,  # [n, LATENT] float32, or with GAUSSIAN [n, 2 LATENT]: mu, logvar
    decoded,  # [n, D] float32, for the loss of the latent [n, LATENT], or None
    beta, threshold,
    scores, flags, decisions,  # [n] float32, uint8, uint8, each or None
    features,  # [n, D] float32, or None
    counts,  # [BINS + 1] int32 of kernels/histogram_bins.py, added to, or None
    programs,
    D: tl.constexpr, LATENT: tl.constexpr, GAUSSIAN: tl.constexpr, KIND: tl.constexpr,
    COLUMNS: tl.constexpr, LOSS: tl.constexpr, BM: tl.constexpr, C: tl.constexpr,
    PADDED: tl.constexpr,
):  # fmt: skip
    for tile in tl.range(tl.program_id(0), tl.cdiv(n, BM), programs):
        rows = tile * BM + tl.arange(0, BM)
        bad = tl.zeros((BM,), tl.float32)
        missed = None
        if COLUMNS[0]:
            missed = tl.zeros((BM,), tl.float32)
        for c in tl.range(0, PADDED, C):
            raw = load_rows(x, rows, n, row_stride, column_stride, c, D, C, False)
            bad += rejected(raw, scaling, c, COLUMNS, C, PADDED)
            if COLUMNS[0]:
                missed += missing(raw, scaling, c, COLUMNS, C, PADDED)

        latent = tl.zeros((BM,), tl.float32)
        if KIND != RECONSTRUCTION and KIND != LATENT_RECONSTRUCTION:
            latent = _latent(encoded, rows, n, LATENT, GAUSSIAN, KIND, BM)

        reconstruction = tl.zeros((BM,), tl.float32)
        if KIND == RECONSTRUCTION or KIND == ELBO:
            for c in tl.range(0, PADDED, C):
                raw = load_rows(x, rows, n, row_stride, column_stride, c, D, C, False)
                y = load_rows(decoded, rows, n, D, 1, c, D, C, False)
                target = prepare(raw, scaling, c, COLUMNS, C, PADDED)
                terms = loss_terms(target, y, c, LOSS, COLUMNS[7], D, C)
                reconstruction += tl.sum(terms, 1)
                if features is not None:
                    write_features(features, rows, n, c, terms, bad, D, C, LOSS)
        elif KIND == LATENT_RECONSTRUCTION:
            for c in tl.range(0, LATENT, C):
                target = load_rows(encoded, rows, n, LATENT, 1, c, LATENT, C, False)
                y = load_rows(decoded, rows, n, LATENT, 1, c, LATENT, C, False)
                terms = loss_terms(target, y, c, LOSS, False, LATENT, C)
                reconstruction += tl.sum(terms, 1)

        value = combine(reconstruction, latent, beta, KIND, LOSS)
        write(scores, flags, decisions, counts, threshold, rows, n, value, bad, missed, KIND)
