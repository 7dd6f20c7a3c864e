"""The variational autoencoder of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from vaelocity import ops
from vaelocity.models.arguments import not_negative
from vaelocity.models.base import Floats, nan_unless
from vaelocity.models.conv_networks import ConvDecoder, ConvEncoder
from vaelocity.models.gaussian import GaussianLatent
from vaelocity.models.image_layers import channel_widths, image_shape
from vaelocity.models.pixel_scaler import PixelScaler
from vaelocity.models.rows import Rows, as_rows, finite_rows

LOSSES = ("bce_with_logits", "squared_error")


class ConvVAE(GaussianLatent):
    """A beta-VAE of images: convolutions of stride 2 to mu and logvar, transposed ones back, of
    pixels scaled to 0 ... 1.

    Per row it minimises the reconstruction loss + beta * KL at z = mu + exp(logvar / 2) * eps
    (Kingma and Welling, arXiv:1312.6114). Scores are taken at z = mu; their kinds are those of
    `VAE`, with this model's reconstruction loss.

    Args:
        image: (channels, height, width) of the image that a row holds in C order; height and width
            multiples of 2 ** len(channels).
        latent: latent dimensions.
        channels: of the convolutions, each of which halves height and width.
        loss: bce_with_logits, the cross entropy of pixels taken as probabilities; or squared_error.
        beta: weight of the KL; 0 leaves it out: a convolutional autoencoder, but for the noise.
        feature_names: of the pixels; None gives x0, x1, ...
    """

    decoder: nn.Sequential

    def __init__(
        self,
        image: Sequence[int] = (1, 28, 28),
        latent: int = 16,
        channels: Sequence[int] = (32, 64),
        loss: str = "bce_with_logits",
        beta: float = 1.0,
        feature_names: Sequence[str] | None = None,
    ) -> None:
        if loss not in LOSSES:
            raise ValueError(f"loss: expected one of {', '.join(LOSSES)}, got {loss!r}")
        beta = not_negative(beta, "beta")
        widths = channel_widths(channels)
        shape = image_shape(image, len(widths))
        super().__init__(math.prod(shape), latent, feature_names)
        self.image, self.channels, self.loss, self.beta = shape, widths, loss, beta
        self.scaler = PixelScaler(self.n_features, 0.0, 1.0)
        self.encoder = ConvEncoder(shape, widths, 2 * self.latent)
        last = nn.Sigmoid() if loss == "bce_with_logits" else nn.Identity()
        self.decoder = nn.Sequential(ConvDecoder(shape, widths, self.latent), last)
        self.initialise(0)
        self.initialised = False

    def arguments(self) -> dict[str, Any]:
        return {
            "image": list(self.image),
            "latent": self.latent,
            "channels": list(self.channels),
            "loss": self.loss,
            "beta": self.beta,
            "feature_names": self.feature_names,
        }

    @property
    def rows_apart(self) -> bool:
        return True

    @property
    def frozen_loss(self) -> str:  # type: ignore[override]
        return self.loss

    def frozen_kinds(self) -> tuple[str, ...]:
        return self.kinds

    def frozen_networks(self) -> tuple[tuple[nn.Module, tuple[int, ...]], ...]:
        down, up = self.encoder, self.decoder[0]
        assert isinstance(down, ConvEncoder)
        assert isinstance(up, ConvDecoder)
        encoder = nn.Sequential(down.convolutions, nn.Flatten(), down.last)
        decoder = nn.Sequential(up.first, nn.Unflatten(1, up.smallest), up.deconvolutions)
        return (encoder, self.image), (decoder, (self.latent,))

    def output(self, z: Tensor) -> Tensor:
        """The decoder's output before its last function."""
        y: Tensor = self.decoder[0](z)
        return y

    def error(self, x: Tensor, output: Tensor, backend: str | None = None) -> Tensor:
        """The reconstruction loss of scaled rows, [n].

        A pixel beyond the range of the training rows is no probability: the cross entropy is that
        of the nearest end of [0, 1], and 1/2 of the squared distance from there is added. By itself
        it would fall without bound, and a pixel that is too bright make an image look normal.
        """
        if self.loss != "bce_with_logits":
            return ops.reconstruction_loss(x, output, self.loss, backend=backend)
        inside = x.clamp(0, 1)
        beyond = ops.reconstruction_loss(x, inside, backend=backend)
        return ops.reconstruction_loss(inside, output, self.loss, backend=backend) + beyond

    def score_features(self, X: Rows) -> Floats:
        """What every pixel adds to the reconstruction score of its row: float32
        [n, n_features]."""

        def score(x: Tensor) -> Tensor:
            finite = finite_rows(x)
            x = self.scaler(x)
            y = self.output(self.point(x))
            # Every pixel as a row of one feature.
            terms = self.error(x.reshape(-1, 1), y.reshape(-1, 1))
            return nan_unless(finite, terms.view_as(x))

        return self._batched(score, as_rows(X, self.n_features, "X"))
