"""The L1 norm of every sample's latent point."""

from __future__ import annotations

import torch
from torch import Tensor

from vaelocity.ops import _check
from vaelocity.ops._case import Case, Maker, standard
from vaelocity.ops._memory import like, per_sample
from vaelocity.ops._op import Backward, Op
from vaelocity.ops._sums import row_sum, up


def sparsity(z: Tensor, *, backend: str | None = None) -> Tensor:
    """sum |z| of every sample: the penalty of a sparse autoencoder. Its gradient at 0 is 0.

    Args:
        z: floating [B, ...].
        backend: cpu, triton or reference; None takes the fastest.

    Returns:
        float32 [B] (float64 for float64). NaN where a row of z is not finite, at most float32's
        largest number otherwise.

    Raises: TypeError, ValueError for other arguments; RuntimeError if the backend cannot serve.
    """
    found: Tensor = OP(_check.rows(z, "z"), backend=backend)
    return found


def reference(z: Tensor) -> Tensor:
    z = up(z)
    # Not abs(): its gradient at a NaN is 0 in torch.
    sign = torch.where(z.isnan(), z, torch.sign(z)).detach()
    return row_sum(z * sign, z)


OP = Op(
    "sparsity",
    "(Tensor z) -> Tensor",
    empty=per_sample,
    reference=reference,
    backward=Backward(
        "(Tensor grad, Tensor z) -> Tensor",
        empty=lambda grad, z: like(z),
        gradients=("z",),
    ),
)


def example(maker: Maker, b: int, d: int) -> dict[str, Tensor]:
    return {"z": maker.normal(b, d)}


_LARGEST = torch.finfo(torch.float32).max


def _edges(maker: Maker) -> dict[str, Tensor]:
    inf, nan = torch.inf, torch.nan
    return {"z": maker.given([[0, -1], [-0.0, 0], [3e38, 3e38], [nan, 0], [-inf, 0]])}


CASES = (
    *standard(example),
    Case("edges", _edges, expected=[1, 0, _LARGEST, torch.nan, torch.nan]),
)
