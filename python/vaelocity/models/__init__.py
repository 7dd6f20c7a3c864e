"""Models that learn what normal events look like; they need torch.

model = models.VAE(59, latent=16, feature_names=names).fit(normal)
model.save("jets.vael")  # for vaelocity.load, which needs no torch
model = models.load("jets.vael")  # to train on, sample, interpolate, ...
"""

from __future__ import annotations

from vaelocity.models.autoencoder import Autoencoder
from vaelocity.models.denoising import DenoisingAutoencoder
from vaelocity.models.distill import Student, distill
from vaelocity.models.ensemble import Ensemble
from vaelocity.models.freeze import load
from vaelocity.models.masked import MaskedAutoencoder
from vaelocity.models.sparse import SparseAutoencoder
from vaelocity.models.vae import VAE

__all__ = [
    "VAE",
    "Autoencoder",
    "DenoisingAutoencoder",
    "Ensemble",
    "MaskedAutoencoder",
    "SparseAutoencoder",
    "Student",
    "distill",
    "load",
]
