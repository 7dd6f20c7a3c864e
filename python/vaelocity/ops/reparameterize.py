"""The reparameterization: a sample of a diagonal normal distribution, differentiable."""

from __future__ import annotations

import torch
from torch import Tensor

from vaelocity.ops import _check, _noise
from vaelocity.ops._case import Case, Maker, standard
from vaelocity.ops._memory import like
from vaelocity.ops._op import Backward, Op
from vaelocity.ops._sums import up
from vaelocity.ops.rng import Rng


def reparameterize(
    mu: Tensor, logvar: Tensor, rng: Rng | Tensor, *, backend: str | None = None
) -> Tensor:
    """z = mu + exp(logvar / 2) * eps, eps ~ N(0, 1).

    Kingma and Welling, arXiv:1312.6114, section 2.4. Backward makes eps again from the name of
    the draw; nothing keeps it.

    Args:
        mu, logvar: floating [B, ...].
        rng: the stream to draw from, or the name of a draw: int64 [2] from `Rng.draw`.
        backend: cpu, triton or reference; None takes the fastest.

    Returns:
        z, of mu's shape and dtype. What is not finite follows the formula.

    Raises: TypeError, ValueError for other arguments; RuntimeError if the backend cannot serve.
    """
    mu2, logvar2 = _check.rows(mu, "mu"), _check.rows(logvar, "logvar")
    _check.like(logvar, "logvar", mu, "mu")
    draw = _check.draw(rng, mu.numel(), mu, "mu")
    z: Tensor = OP(mu2, logvar2, draw, backend=backend)
    return z if mu.dim() == 2 else z.view(mu.shape)


def reference(mu: Tensor, logvar: Tensor, rng: Tensor) -> Tensor:
    wide = up(mu)
    eps = _noise.normal(mu.shape, rng, wide.dtype)
    return (wide + torch.exp(0.5 * up(logvar)) * eps).to(mu.dtype)


OP = Op(
    "reparameterize",
    "(Tensor mu, Tensor logvar, Tensor rng) -> Tensor",
    empty=lambda mu, logvar, rng: like(mu),
    reference=reference,
    backward=Backward(
        "(Tensor grad_z, Tensor logvar, Tensor rng) -> Tensor",
        empty=lambda grad_z, logvar, rng: like(logvar),
        gradients=("logvar",),
        passed={"mu": 0},
    ),
)


def example(maker: Maker, b: int, d: int) -> dict[str, Tensor]:
    return {"mu": maker.normal(b, d), "logvar": maker.normal(b, d), "rng": maker.draw()}


def _edges(maker: Maker) -> dict[str, Tensor]:
    values = [-88, 88, -200, 200, torch.inf, -torch.inf, torch.nan]
    mu = maker.given([[1.0] * 7, [torch.nan] * 7, [torch.inf] * 7])
    return {"mu": mu, "logvar": maker.given([values, values, [0.0] * 7]), "rng": maker.draw()}


CASES = (*standard(example), Case("edges", _edges))
