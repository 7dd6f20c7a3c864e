"""The rows that a threshold accepts, in their order, from scores that are on the device already.

Each program of the scorer took a range of rows and left how many of them it accepted: where its
rows go is the sum of those before it. So the order is that of the rows, whatever runs when.
"""

import triton
import triton.language as tl


@triton.jit
def _rows_of(n, programs, BM: tl.constexpr):
    """(first, end) of this program's rows: whole tiles of BM, as kernels/score_terms.tiles_of."""
    share = tl.cdiv(tl.cdiv(n, BM), programs) * BM
    first = tl.program_id(0) * share
    return first, tl.minimum(first + share, n)


@triton.jit
def _load(scores, start, end, threshold, BLOCK: tl.constexpr):
    """Rows start .. start + BLOCK: their numbers, their scores, and which are accepted (0 or 1)."""
    rows = start + tl.arange(0, BLOCK)
    score = tl.load(scores + rows, mask=rows < end, other=0.0)
    # Not score <= threshold: a row that cannot be scored is kept.
    return rows, score, tl.where((rows < end) & ~(score <= threshold), 1, 0)


# Else a call with other rows would compile anew: one row, a multiple of 16, another number.
@triton.jit(do_not_specialize=["n", "programs", "capacity"])
def score_accept(
    scores,  # [n] float32
    n, threshold,
    accepted,  # [programs] int32, of kernels/score.py or score_wide.py with tiles of BM rows
    index, kept,  # [capacity] int64 and float32: the rows and their scores
    total,  # [1] int64: how many were accepted, those beyond the capacity too
    capacity, programs,
    BM: tl.constexpr, PROGRAMS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """PROGRAMS: a power of two, at least `programs`, of which this is launched."""
    program = tl.program_id(0)
    each = tl.arange(0, PROGRAMS)
    counts = tl.load(accepted + each, mask=each < programs, other=0)
    at = tl.sum(tl.where(each < program, counts, 0))
    if program == 0:
        tl.store(total, tl.sum(counts).to(tl.int64))
    if tl.load(accepted + program) > 0:
        first, end = _rows_of(n, programs, BM)
        for start in tl.range(first, end, BLOCK):
            rows, score, accept = _load(scores, start, end, threshold, BLOCK)
            to = at + tl.cumsum(accept, 0) - 1
            fits = (accept == 1) & (to < capacity)
            tl.store(index + to, rows.to(tl.int64), mask=fits)
            tl.store(kept + to, score, mask=fits)
            at += tl.sum(accept)


@triton.jit(do_not_specialize=["n", "programs"])
def score_accept_count(
    scores,  # [n] float32
    n, threshold,
    accepted,  # [programs] int32
    programs,
    BM: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """How many rows each program accepts, for scores that no kernel has counted."""
    total = tl.full((), 0, tl.int32)
    first, end = _rows_of(n, programs, BM)
    for start in tl.range(first, end, BLOCK):
        _, _, accept = _load(scores, start, end, threshold, BLOCK)
        total += tl.sum(accept)
    tl.store(accepted + tl.program_id(0), total)
