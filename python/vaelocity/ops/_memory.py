"""Memory for results: contiguous, whatever the strides of the argument are.

By sizes, not by new_empty(x.shape): torch takes twice as long to read a torch.Size.
"""

from __future__ import annotations

import torch
from torch import Tensor


def like(x: Tensor) -> Tensor:
    """Of the shape and dtype of x."""
    return x.new_empty(*x.shape)


def per_sample(x: Tensor) -> Tensor:
    """float32 [B] for x [B, D]."""
    return x.new_empty(x.shape[0], dtype=torch.float32)
