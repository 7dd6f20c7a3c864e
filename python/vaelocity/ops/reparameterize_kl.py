"""The reparameterization and the KL divergence in one pass over mu and logvar."""

from __future__ import annotations

import torch
from torch import Tensor

from vaelocity.ops import _check
from vaelocity.ops._case import Case, Maker, standard
from vaelocity.ops._memory import like, per_sample
from vaelocity.ops._op import Backward, Op
from vaelocity.ops.gaussian_kl import reference as _kl_reference
from vaelocity.ops.reparameterize import reference as _z_reference
from vaelocity.ops.rng import Rng


def reparameterize_kl(
    mu: Tensor, logvar: Tensor, rng: Rng | Tensor, *, backend: str | None = None
) -> tuple[Tensor, Tensor]:
    """(z, kl): what `reparameterize` and `gaussian_kl` give, of the same bits on the CPU.

    Args:
        mu, logvar: floating [B, ...].
        rng: the stream to draw from, or the name of a draw: int64 [2] from `Rng.draw`.
        backend: cpu, triton or reference; None takes the fastest.

    Returns:
        z, of mu's shape and dtype, and kl, float32 [B] (float64 for float64).

    Raises: TypeError, ValueError for other arguments; RuntimeError if the backend cannot serve.
    """
    mu2, logvar2 = _check.rows(mu, "mu"), _check.rows(logvar, "logvar")
    _check.like(logvar, "logvar", mu, "mu")
    draw = _check.draw(rng, mu.numel(), mu, "mu")
    z, kl = OP(mu2, logvar2, draw, backend=backend)
    return (z if mu.dim() == 2 else z.view(mu.shape)), kl


def reference(mu: Tensor, logvar: Tensor, rng: Tensor) -> tuple[Tensor, Tensor]:
    return _z_reference(mu, logvar, rng), _kl_reference(mu, logvar)


OP = Op(
    "reparameterize_kl",
    "(Tensor mu, Tensor logvar, Tensor rng) -> (Tensor, Tensor)",
    empty=lambda mu, logvar, rng: (
        like(mu),
        per_sample(mu),
    ),
    reference=reference,
    backward=Backward(
        "(Tensor grad_z, Tensor grad_kl, Tensor mu, Tensor logvar, Tensor rng) -> (Tensor, Tensor)",
        empty=lambda grad_z, grad_kl, mu, logvar, rng: (
            like(mu),
            like(logvar),
        ),
        gradients=("mu", "logvar"),
    ),
)


def example(maker: Maker, b: int, d: int) -> dict[str, Tensor]:
    return {"mu": maker.normal(b, d), "logvar": maker.normal(b, d), "rng": maker.draw()}


def _edges(maker: Maker) -> dict[str, Tensor]:
    values = [-88, 88, 200, torch.inf, -torch.inf, torch.nan]
    mu = maker.given([[1.0]] * 6 + [[torch.nan], [torch.inf]])
    return {"mu": mu, "logvar": maker.given([[v] for v in (*values, 0, 0)]), "rng": maker.draw()}


CASES = (*standard(example), Case("edges", _edges))
