"""Corrupted inputs for denoising and masked autoencoders."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from vaelocity.ops import _check, _noise
from vaelocity.ops._case import Case, Maker, sample, standard
from vaelocity.ops._memory import like
from vaelocity.ops._op import Backward, Op
from vaelocity.ops._sums import up
from vaelocity.ops.rng import Rng


def corrupt(
    x: Tensor,
    rng: Rng | Tensor,
    noise: float = 0.0,
    drop: float = 0.0,
    *,
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:
    """(x + noise * eps where kept, 0 where dropped; kept), eps ~ N(0, 1).

    Denoising autoencoders: Vincent et al., ICML 2008. Backward makes `kept` again from the name
    of the draw. A draw takes 2 ceil(n / 4) blocks of rng for the n elements of x: eps, then the
    words that decide what is dropped.

    Args:
        x: floating [B, ...].
        rng: the stream to draw from, or the name of a draw: int64 [2] from `Rng.draw`.
        noise: standard deviation of the noise, at least 0.
        drop: probability that an element is dropped, 0 to 1; 1 drops all.
        backend: cpu, triton or reference; None takes the fastest.

    Returns:
        corrupted, of x's shape and dtype; kept, bool, True where the value is still there.

    Raises: TypeError, ValueError for other arguments; RuntimeError if the backend cannot serve.
    """
    x2 = _check.rows(x, "x")
    noise = _check.number(noise, "noise", low=0.0)
    drop = _check.number(drop, "drop", low=0.0, high=1.0)
    draw = _check.draw(rng, 8 * ((x.numel() + 3) // 4), x, "x")
    corrupted, kept = OP(x2, draw, noise, drop, backend=backend)
    return (corrupted, kept) if x.dim() == 2 else (corrupted.view(x.shape), kept.view(x.shape))


def reference(x: Tensor, rng: Tensor, noise: float, drop: float) -> tuple[Tensor, Tensor]:
    wide = up(x)
    n = x.shape[0] * x.shape[1]
    blocks = (n + 3) // 4
    words = _noise.words(rng, blocks, skip=blocks).reshape(-1)[:n].reshape(x.shape)
    kept = words >= int(drop * 2**32)
    noisy = wide + noise * _noise.normal(x.shape, rng, wide.dtype)
    return torch.where(kept, noisy, 0).to(x.dtype), kept


OP = Op(
    "corrupt",
    "(Tensor x, Tensor rng, float noise, float drop) -> (Tensor, Tensor)",
    empty=lambda x, rng, noise, drop: (
        like(x),
        x.new_empty(x.shape, dtype=torch.bool),
    ),
    reference=reference,
    backward=Backward(
        "(Tensor grad, Tensor rng, float drop) -> Tensor",
        empty=lambda grad, rng, drop: like(grad),
        gradients=("x",),
    ),
)


def example(maker: Maker, b: int, d: int, noise: float = 0.3, drop: float = 0.4) -> dict[str, Any]:
    return {"x": maker.normal(b, d), "rng": maker.draw(), "noise": noise, "drop": drop}


def _edges(maker: Maker) -> dict[str, Any]:
    x = maker.given([[torch.nan, torch.inf, -torch.inf, 3.4e38]] * 8)
    return {"x": x, "rng": maker.draw(), "noise": 0.5, "drop": 0.5}


CASES = (
    *standard(example),
    *sample(partial(example, noise=0.0), "drop-"),
    *sample(partial(example, drop=0.0), "noise-"),
    *sample(partial(example, drop=1.0), "all-dropped-"),
    Case("edges", _edges),
)
