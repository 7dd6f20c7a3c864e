"""The KL divergence of a diagonal normal distribution from the standard one."""

from __future__ import annotations

import torch
from torch import Tensor

from vaelocity.ops import _check
from vaelocity.ops._case import Case, Maker, standard
from vaelocity.ops._memory import like, per_sample
from vaelocity.ops._op import Backward, Op
from vaelocity.ops._sums import row_sum, up


def gaussian_kl(mu: Tensor, logvar: Tensor, *, backend: str | None = None) -> Tensor:
    """KL(N(mu, exp(logvar)) || N(0, 1)) = 1/2 sum (mu^2 + expm1(logvar) - logvar), a sample.

    Kingma and Welling, arXiv:1312.6114, appendix B; expm1, so nothing cancels at logvar ~ 0.

    Args:
        mu, logvar: floating [B, ...].
        backend: cpu, triton or reference; None takes the fastest.

    Returns:
        float32 [B] (float64 for float64). NaN where a row of mu or logvar is not finite, at most
        float32's largest number otherwise.

    Raises: TypeError, ValueError for other arguments; RuntimeError if the backend cannot serve.
    """
    mu2, logvar2 = _check.rows(mu, "mu"), _check.rows(logvar, "logvar")
    _check.like(logvar, "logvar", mu, "mu")
    found: Tensor = OP(mu2, logvar2, backend=backend)
    return found


def reference(mu: Tensor, logvar: Tensor) -> Tensor:
    mu, logvar = up(mu), up(logvar)
    return row_sum(0.5 * (mu.square() + torch.expm1(logvar) - logvar), mu, logvar)


OP = Op(
    "gaussian_kl",
    "(Tensor mu, Tensor logvar) -> Tensor",
    empty=lambda mu, logvar: per_sample(mu),
    reference=reference,
    backward=Backward(
        "(Tensor grad_kl, Tensor mu, Tensor logvar) -> (Tensor, Tensor)",
        empty=lambda grad_kl, mu, logvar: (like(mu), like(logvar)),
        gradients=("mu", "logvar"),
    ),
)


def example(maker: Maker, b: int, d: int) -> dict[str, Tensor]:
    return {"mu": maker.normal(b, d), "logvar": maker.normal(b, d)}


def _edges(maker: Maker) -> dict[str, Tensor]:
    inf, nan = torch.inf, torch.nan
    logvar = maker.given([[-88], [88], [0], [100], [inf], [-inf], [nan], [0], [0]])
    mu = maker.given([[0], [0], [0], [0], [0], [0], [0], [1e30], [-inf]])
    return {"mu": mu, "logvar": logvar}


_LARGEST = torch.finfo(torch.float32).max
_EDGES = [43.5, 8.2581e37, 0, _LARGEST, torch.nan, torch.nan, torch.nan, _LARGEST, torch.nan]

CASES = (*standard(example), Case("edges", _edges, expected=_EDGES))
