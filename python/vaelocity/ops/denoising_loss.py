"""The loss of a model that predicts the noise of a draw."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vaelocity.ops import _check, _noise
from vaelocity.ops._case import Case, Maker, standard
from vaelocity.ops._memory import like, per_sample
from vaelocity.ops._op import Backward, Op
from vaelocity.ops._sums import row_sum, up
from vaelocity.ops.rng import Rng


def denoising_loss(prediction: Tensor, rng: Rng | Tensor, *, backend: str | None = None) -> Tensor:
    """1/2 sum (prediction - eps)^2 of every sample; eps is made from the name of the draw.

    Ho et al., arXiv:2006.11239, equation 14, for the draw that `diffuse` was given.

    Args:
        prediction: floating [B, ...].
        rng: the name of a draw, int64 [2] from `Rng.draw`; or a stream to draw from.
        backend: cpu, triton or reference; None takes the fastest.

    Returns:
        float32 [B] (float64 for float64). NaN where a row is not finite, at most float32's largest
        number otherwise.

    Raises: TypeError, ValueError for other arguments; RuntimeError if the backend cannot serve.
    """
    rows = _check.rows(prediction, "prediction")
    draw = _check.draw(rng, prediction.numel(), prediction, "prediction")
    loss: Tensor = OP(rows, draw, backend=backend)
    return loss


def reference(prediction: Tensor, rng: Tensor) -> Tensor:
    wide = up(prediction)
    eps = _noise.normal(prediction.shape, rng, wide.dtype)
    return row_sum(0.5 * (wide - eps).square(), wide)


OP = Op(
    "denoising_loss",
    "(Tensor prediction, Tensor rng) -> Tensor",
    empty=lambda prediction, rng: per_sample(prediction),
    reference=reference,
    backward=Backward(
        "(Tensor grad, Tensor prediction, Tensor rng) -> Tensor",
        empty=lambda grad, prediction, rng: like(prediction),
        gradients=("prediction",),
    ),
)


def example(maker: Maker, b: int, d: int) -> dict[str, Any]:
    return {"prediction": maker.normal(b, d), "rng": maker.draw()}


def _edges(maker: Maker) -> dict[str, Any]:
    values = [[1e30, 0], [torch.nan, 0], [torch.inf, 0]]
    return {"prediction": maker.given(values), "rng": maker.draw()}


_LARGEST = torch.finfo(torch.float32).max

CASES = (
    *standard(example),
    Case("edges", _edges, expected=[_LARGEST, torch.nan, torch.nan]),
)
