"""The reconstruction loss of every sample."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from vaelocity.ops import _reconstruction
from vaelocity.ops._case import Case, Maker, sample, standard
from vaelocity.ops._memory import like, per_sample
from vaelocity.ops._op import Backward, Op
from vaelocity.ops._reconstruction import KINDS


def reconstruction_loss(
    x: Tensor,
    y: Tensor,
    kind: str = "squared_error",
    *,
    delta: float = 1.0,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    backend: str | None = None,
) -> Tensor:
    """The sum over the features of a sample of, with d = y - x:

    squared_error     1/2 d^2
    absolute_error    |d|
    huber             1/2 d^2 where |d| <= delta, delta (|d| - delta / 2) elsewhere
    bce_with_logits   max(y, 0) - x y + log1p(exp(-|y|)): cross entropy of x in [0, 1], logits y
    gaussian_nll      1/2 (s + (x - m)^2 exp(-s)): y is [B, 2D], the means m and the logvars s side
                      by side; without the constant 1/2 ln 2 pi

    Args:
        x: what was to be reconstructed, floating [B, ...].
        y: the reconstruction, of x's shape; for gaussian_nll with twice the features.
        kind: one of these.
        delta: of huber.
        mask: bool, of the shape of x or of a sample. A feature where it is False is left out: its
            values may be anything, its gradient is 0.
        weight: floating, of the shape of a sample; every feature's term is multiplied by it.
        backend: cpu, triton or reference; None takes the fastest.

    Returns:
        float32 [B] (float64 for float64). NaN where a row of x or y is not finite where it counts,
        at most float32's largest number otherwise. Gradients of x and weight need the reference.

    Raises: TypeError, ValueError for other arguments; RuntimeError if the backend cannot serve.
    """
    args = _reconstruction.prepare(x, y, kind, delta, mask, weight)
    loss: Tensor = OP(*args, backend=backend)
    return loss


reference = _reconstruction.reference


def _empty(x: Tensor, *_: Any) -> Tensor:
    return per_sample(x)


def _empty_backward(grad_loss: Tensor, x: Tensor, y: Tensor, *_: Any) -> Tensor:
    return like(y)


_ARGUMENTS = "Tensor x, Tensor y, str kind, float delta, Tensor? mask, Tensor? weight"

OP = Op(
    "reconstruction_loss",
    f"({_ARGUMENTS}) -> Tensor",
    empty=_empty,
    reference=reference,
    backward=Backward(
        f"(Tensor grad_loss, {_ARGUMENTS}) -> Tensor", empty=_empty_backward, gradients=("y",)
    ),
)


def example(maker: Maker, b: int, d: int, kind: str = "squared_error") -> dict[str, Any]:
    x = maker.uniform(b, d) if kind == "bce_with_logits" else maker.normal(b, d)
    y = maker.normal(b, 2 * d if kind == "gaussian_nll" else d, scale=2.0)
    return {"x": x, "y": y, "kind": kind, "delta": 0.7}


def _weighted(maker: Maker, b: int, d: int, kind: str) -> dict[str, Any]:
    return {**example(maker, b, d, kind), "mask": maker.mask(b, d), "weight": maker.weight(d)}


def _left_out(maker: Maker, kind: str) -> dict[str, Any]:
    """NaN and infinity where the mask leaves them out; the same mask for every sample."""
    found = example(maker, 9, 21, kind)
    mask = maker.mask(1, 21)[0]
    mask[:1] = False
    found["x"][:, :1] = torch.nan
    found["y"][:, :1] = torch.inf
    return {**found, "mask": mask}


_NAN, _INF, _LARGEST = torch.nan, torch.inf, torch.finfo(torch.float32).max


def _edges(maker: Maker) -> dict[str, Any]:
    x = maker.given([[0, 0], [0, 0], [0, 0], [_NAN, 0], [_INF, 0], [1e30, 0], [2e19, 0]])
    y = maker.given([[1, 2], [_NAN, 0], [-_INF, 0], [0, 0], [_INF, 0], [0, 0], [-2e19, 0]])
    return {"x": x, "y": y}


CASES = (
    *standard(example),
    *(c for k in KINDS[1:] for c in sample(partial(example, kind=k), f"{k}-", atol=2e-5)),
    *(c for k in KINDS for c in sample(partial(_weighted, kind=k), f"{k}-weighted-", atol=2e-5)),
    *(Case(f"{kind}-left-out", partial(_left_out, kind=kind), atol=1e-5) for kind in KINDS),
    Case("edges", _edges, expected=[2.5, _NAN, _NAN, _NAN, _NAN, _LARGEST, _LARGEST]),
)
