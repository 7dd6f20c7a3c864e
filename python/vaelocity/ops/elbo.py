"""The loss of a VAE, of every sample: reconstruction plus beta times KL."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree

from vaelocity.ops import _check, _reconstruction
from vaelocity.ops._case import Case, Maker, sample, standard
from vaelocity.ops._memory import like, per_sample
from vaelocity.ops._op import Backward, Op
from vaelocity.ops._reconstruction import KINDS
from vaelocity.ops._sums import weighted_sum
from vaelocity.ops.gaussian_kl import reference as _kl_reference

__all__ = ["Elbo", "elbo"]


class Elbo(NamedTuple):
    """Per-sample losses, float32 [B] each; total = reconstruction + beta * kl."""

    total: Tensor
    reconstruction: Tensor
    kl: Tensor


# A named tuple needs a name of its own in the files of torch.export.
_pytree._register_namedtuple(Elbo, serialized_type_name="vaelocity.ops.Elbo")


def elbo(
    x: Tensor,
    y: Tensor,
    mu: Tensor,
    logvar: Tensor,
    beta: float = 1.0,
    kind: str = "squared_error",
    *,
    delta: float = 1.0,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    backend: str | None = None,
) -> Elbo:
    """The negative evidence lower bound of every sample, up to constants, in one pass.

    Kingma and Welling, arXiv:1312.6114; beta: Higgins et al., ICLR 2017.

    Args:
        x, y, kind, delta, mask, weight: those of `reconstruction_loss`.
        mu, logvar: floating [B, ...]; see `gaussian_kl`.
        beta: the weight of the KL.
        backend: cpu, triton or reference; None takes the fastest.

    Returns:
        Elbo(total, reconstruction, kl), each NaN where a row it depends on is not finite and at
        most float32's largest number otherwise.

    Raises: TypeError, ValueError for other arguments; RuntimeError if the backend cannot serve.
    """
    x2, y2, kind, delta, mask, weight = _reconstruction.prepare(x, y, kind, delta, mask, weight)
    mu2, logvar2 = _check.rows(mu, "mu"), _check.rows(logvar, "logvar")
    _check.like(logvar, "logvar", mu, "mu")
    if mu2.shape[0] != x2.shape[0]:
        raise ValueError(f"mu: expected {x2.shape[0]} rows, as x has, got {tuple(mu.shape)}")
    _check.same_device(mu, "mu", x, "x")
    beta = _check.number(beta, "beta")
    args = (x2, y2, mu2, logvar2, beta, kind, delta, mask, weight)
    return Elbo(*OP(*args, backend=backend))


def reference(
    x: Tensor,
    y: Tensor,
    mu: Tensor,
    logvar: Tensor,
    beta: float,
    kind: str,
    delta: float,
    mask: Tensor | None,
    weight: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    reconstruction = _reconstruction.reference(x, y, kind, delta, mask, weight)
    kl = _kl_reference(mu, logvar)
    return weighted_sum(reconstruction, beta, kl), reconstruction, kl


def _empty(x: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return (
        per_sample(x),
        per_sample(x),
        per_sample(x),
    )


def _empty_backward(
    total: Tensor, reconstruction: Tensor, kl: Tensor,
    x: Tensor, y: Tensor, mu: Tensor, logvar: Tensor, *_: Any,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    return like(y), like(mu), like(logvar)


_ARGUMENTS = (
    "Tensor x, Tensor y, Tensor mu, Tensor logvar, float beta, str kind, float delta, "
    "Tensor? mask, Tensor? weight"
)
OP = Op(
    "elbo",
    f"({_ARGUMENTS}) -> (Tensor, Tensor, Tensor)",
    empty=_empty,
    reference=reference,
    backward=Backward(
        f"(Tensor grad_total, Tensor grad_reconstruction, Tensor grad_kl, {_ARGUMENTS}) "
        "-> (Tensor, Tensor, Tensor)",
        empty=_empty_backward,
        gradients=("y", "mu", "logvar"),
    ),
)


def example(maker: Maker, b: int, d: int, kind: str = "squared_error") -> dict[str, Any]:
    x = maker.uniform(b, d) if kind == "bce_with_logits" else maker.normal(b, d)
    y = maker.normal(b, 2 * d if kind == "gaussian_nll" else d, scale=2.0)
    z = (d + 3) // 4
    mu, logvar = maker.normal(b, z), maker.normal(b, z)
    return {
        "x": x, "y": y, "mu": mu, "logvar": logvar, "beta": 0.7, "kind": kind, "delta": 0.7,
    }  # fmt: skip


def _weighted(maker: Maker, b: int, d: int, kind: str) -> dict[str, Any]:
    return {**example(maker, b, d, kind), "mask": maker.mask(b, d), "weight": maker.weight(d)}


def _edges(maker: Maker) -> dict[str, Any]:
    inf, nan = torch.inf, torch.nan
    return {
        "x": maker.given([[0], [nan], [0], [0], [1e30], [0], [0]]),
        "y": maker.given([[1], [0], [inf], [0], [0], [0], [0]]),
        "mu": maker.given([[0], [0], [0], [nan], [0], [0], [1e30]]),
        "logvar": maker.given([[0], [0], [0], [0], [0], [-inf], [0]]),
        "beta": 2.0,
    }


_LARGEST = torch.finfo(torch.float32).max
_EDGES = [0.5, torch.nan, torch.nan, torch.nan, _LARGEST, torch.nan, _LARGEST]

CASES = (
    *standard(example),
    *(c for k in KINDS[1:] for c in sample(partial(example, kind=k), f"{k}-", atol=2e-5)),
    *(c for k in KINDS for c in sample(partial(_weighted, kind=k), f"{k}-weighted-", atol=2e-5)),
    Case("edges", _edges, expected=_EDGES),
)
