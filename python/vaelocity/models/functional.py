"""The losses and the noise of training, per sample, in plain torch: what fused ops stand in for.

x, y: float32 [n, n_features] in the standardised space; mu, logvar: float32 [n, latent].
"""

from __future__ import annotations

import torch
from torch import Tensor


def squared_error(x: Tensor, y: Tensor) -> Tensor:
    """1/2 (y_j - x_j)^2 of every feature: [n, n_features]."""
    return 0.5 * (y - x).square()


def reconstruction_loss(x: Tensor, y: Tensor) -> Tensor:
    """1/2 sum_j (y_j - x_j)^2: [n]."""
    return 0.5 * (y - x).square().sum(dim=1)


def gaussian_kl(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, exp(logvar)) || N(0, 1)) = 1/2 sum_k (mu^2 + expm1(logvar) - logvar): [n].

    Kingma and Welling, arXiv:1312.6114, appendix B; expm1, so nothing cancels at logvar ~ 0.
    """
    return 0.5 * (mu.square() + torch.expm1(logvar) - logvar).sum(dim=1)


def reparameterize(mu: Tensor, logvar: Tensor, generator: torch.Generator) -> Tensor:
    """z = mu + exp(logvar / 2) * eps with eps ~ N(0, 1) from `generator`: [n, latent]."""
    eps = torch.randn(mu.shape, generator=generator, device=mu.device, dtype=mu.dtype)
    return mu + torch.exp(0.5 * logvar) * eps
