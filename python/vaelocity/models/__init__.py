"""Models that learn what normal events look like; they need torch.

model = models.VAE(59, latent=16, feature_names=names).fit(normal)
model.save("jets.vael")  # for vaelocity.load, which needs no torch
model = models.load("jets.vael")  # to train on, sample, interpolate, ...
"""

from __future__ import annotations

from vaelocity.models.adversarial import AdversarialAutoencoder
from vaelocity.models.autoencoder import Autoencoder
from vaelocity.models.code_neighbours import CodeNeighbours
from vaelocity.models.conv_vae import ConvVAE
from vaelocity.models.denoising import DenoisingAutoencoder
from vaelocity.models.diffusion import Diffusion
from vaelocity.models.distill import OutputStudent, Student, distill
from vaelocity.models.ensemble import Ensemble
from vaelocity.models.error_and_codes import error_and_codes
from vaelocity.models.gan import GAN
from vaelocity.models.image_diffusion import ImageDiffusion
from vaelocity.models.image_gan import ImageGAN
from vaelocity.models.load import load
from vaelocity.models.masked import MaskedAutoencoder
from vaelocity.models.relative_score import RelativeScore
from vaelocity.models.sparse import SparseAutoencoder
from vaelocity.models.vae import VAE
from vaelocity.models.vaegan import VAEGAN

__all__ = [
    "GAN",
    "VAE",
    "VAEGAN",
    "AdversarialAutoencoder",
    "Autoencoder",
    "CodeNeighbours",
    "ConvVAE",
    "DenoisingAutoencoder",
    "Diffusion",
    "Ensemble",
    "ImageDiffusion",
    "ImageGAN",
    "MaskedAutoencoder",
    "OutputStudent",
    "RelativeScore",
    "SparseAutoencoder",
    "Student",
    "distill",
    "error_and_codes",
    "load",
]
