"""Forward diffusion: data on its way to noise."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vaelocity.ops import _check, _noise
from vaelocity.ops._case import Maker, standard
from vaelocity.ops._memory import like
from vaelocity.ops._op import Backward, Op
from vaelocity.ops._sums import up
from vaelocity.ops.rng import Rng


def diffuse(
    x0: Tensor, t: Tensor, alpha_bar: Tensor, rng: Rng | Tensor, *, backend: str | None = None
) -> Tensor:
    """x_t = sqrt(alpha_bar[t]) x0 + sqrt(1 - alpha_bar[t]) eps, eps ~ N(0, 1).

    Ho et al., arXiv:2006.11239, equation 4. With a named draw, `denoising_loss` makes the same
    eps again.

    Args:
        x0: floating [B, ...].
        t: int64 [B], steps in [0, T).
        alpha_bar: floating [T], in [0, 1]; float32 is what it is computed in.
        rng: the stream to draw from, or the name of a draw: int64 [2] from `Rng.draw`.
        backend: cpu, triton or reference; None takes the fastest.

    Returns:
        x_t, of x0's shape and dtype. The gradient of alpha_bar needs the reference.

    Raises: TypeError, ValueError for other arguments; ValueError (the reference: IndexError) for a
        step out of range, on the CPU; RuntimeError if the backend cannot serve.
    """
    x2 = _check.rows(x0, "x0")
    if not isinstance(t, Tensor) or t.dtype != torch.int64 or t.shape != x0.shape[:1]:
        raise TypeError(f"t: expected an int64 tensor [{x0.shape[0]}], got {_check.described(t)}")
    if (
        not isinstance(alpha_bar, Tensor)
        or not alpha_bar.is_floating_point()
        or alpha_bar.dim() != 1
    ):
        raise TypeError(
            f"alpha_bar: expected a floating tensor [T], got {_check.described(alpha_bar)}"
        )
    _check.same_device(t, "t", x0, "x0")
    _check.same_device(alpha_bar, "alpha_bar", x0, "x0")
    if x0.dtype != torch.float64:
        alpha_bar = alpha_bar.float()
    draw = _check.draw(rng, x0.numel(), x0, "x0")
    x_t: Tensor = OP(x2, t.contiguous(), alpha_bar.contiguous(), draw, backend=backend)
    return x_t if x0.dim() == 2 else x_t.view(x0.shape)


def reference(x0: Tensor, t: Tensor, alpha_bar: Tensor, rng: Tensor) -> Tensor:
    wide = up(x0)
    kept = alpha_bar[t][:, None]
    eps = _noise.normal(x0.shape, rng, wide.dtype)
    return (torch.sqrt(kept) * wide + torch.sqrt(1 - kept) * eps).to(x0.dtype)


OP = Op(
    "diffuse",
    "(Tensor x0, Tensor t, Tensor alpha_bar, Tensor rng) -> Tensor",
    empty=lambda x0, t, alpha_bar, rng: like(x0),
    reference=reference,
    backward=Backward(
        "(Tensor grad, Tensor t, Tensor alpha_bar) -> Tensor",
        empty=lambda grad, t, alpha_bar: like(grad),
        gradients=("x0",),
    ),
)


def example(maker: Maker, b: int, d: int) -> dict[str, Any]:
    alpha_bar = torch.linspace(1.0, 0.0, 50, device=maker.device)
    t = maker.integers(50, b)
    return {"x0": maker.normal(b, d), "t": t, "alpha_bar": alpha_bar, "rng": maker.draw()}


CASES = standard(example)
