"""A VAE of one's own, trained with the fused operations.

    python examples/own_training_loop.py

Runs by itself, in seconds. Needs vaelocity[train].
"""

from __future__ import annotations

import torch
from torch import nn

from vaelocity import ops


def main() -> None:
    """Train on points near a circle; the loss must fall."""
    torch.manual_seed(0)
    angle = 2 * torch.pi * torch.rand(4096)
    x = torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(4096, 2)
    encoder = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 4))
    decoder = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-2)
    rng = ops.Rng(seed=0)  # names the noise; every call takes the next part of it
    losses = []
    for _ in range(60):
        mu, logvar = encoder(x).chunk(2, 1)
        z = ops.reparameterize(mu, logvar, rng)
        total, _, _ = ops.elbo(x, decoder(z), mu, logvar, beta=0.02)  # per event
        loss = total.mean()
        optimizer.zero_grad()
        loss.backward()  # the noise is made again, not stored
        optimizer.step()
        losses.append(loss.item())
    print(f"loss per event: {losses[0]:.3f} at first, {losses[-1]:.3f} after {len(losses)} steps")
    assert losses[-1] < losses[0] / 3


if __name__ == "__main__":
    main()
