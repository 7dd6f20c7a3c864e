"""Triton kernel of histogram_count: scores on a GPU counted over their bit pattern."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import triton
import triton.language as tl

from vaelocity.histogram_reference import BINS
from vaelocity.kernels.histogram_bins import count

BLOCK = 1024
MOST = 1 << 30  # scores a launch: counts on the device are int32


@triton.jit
def _histogram_count_kernel(
    scores_ptr,  # float32 [n]
    counts_ptr,  # int32 [bins + 1], the last entry for NaN
    n,
    BLOCK: tl.constexpr,
):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    count(counts_ptr, tl.load(scores_ptr + at, mask=at < n, other=0.0), at < n)


def histogram_count(scores: torch.Tensor, counts: npt.NDArray[np.uint64]) -> tuple[int, int, int]:
    """`_core.histogram_count` of a tensor float32 [n]: on its device, then added to `counts`."""
    # Waits for the device: the counts are wanted on the host.
    on_device = torch.zeros(BINS + 1, dtype=torch.int32, device=scores.device)
    n_nan = 0
    for part in torch.split(scores.detach().contiguous(), MOST):
        on_device.zero_()
        kernel: Any = _histogram_count_kernel
        kernel[(triton.cdiv(len(part), BLOCK),)](part, on_device, len(part), BLOCK=BLOCK)
        found = on_device.cpu().numpy()
        counts += found[:BINS].astype(np.uint64)
        n_nan += int(found[BINS])
    used = np.flatnonzero(counts)
    return (n_nan, int(used[0]), int(used[-1])) if len(used) else (n_nan, BINS - 1, 0)
