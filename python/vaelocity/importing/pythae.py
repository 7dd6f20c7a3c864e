"""The weights of a pythae AE or VAE (its standard networks for rows) as a .vael file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy.typing as npt
import torch
from torch import Tensor, nn

from vaelocity.importing.torch_module import freeze

if TYPE_CHECKING:
    from vaelocity.scorer import Scorer

_HEADS = ("encoder.embedding", "encoder.log_var")


def pythae_state(
    state: Mapping[str, Tensor],
    example: Any,
    path: str | os.PathLike[str],
    *,
    mean: npt.ArrayLike | None = None,
    scale: npt.ArrayLike | None = None,
    kind: str | None = None,
    beta: float = 1.0,
    feature_names: Sequence[str] | None = None,
) -> Scorer:
    """Write a pythae AE or VAE with its standard networks and load it.

    These are `Encoder_AE_MLP`, `Encoder_VAE_MLP` and `Decoder_AE_MLP` of
    pythae.models.nn.default_architectures: relu after each layer, a sigmoid at the end, rows
    between 0 and 1. A model with networks of its own is a torch module: see `vaelocity.freeze`.

    Args:
        state: `model.state_dict()`, of AE, VAE, BetaVAE or another with these networks; with
            encoder.log_var it is a VAE.
        example, path, mean, scale, kind, beta, feature_names: as of `vaelocity.freeze`; mean and
            scale are what rows went through before pythae saw them.

    Raises:
        ValueError: a tensor that the standard networks do not have, or lack; it is named. And what
            `vaelocity.freeze` raises.
    """
    encoder = _layers(state, "encoder.layers")
    decoder = _layers(state, "decoder.layers")
    known = {f"encoder.layers.{i}.0" for i in range(len(encoder))}
    known |= {f"decoder.layers.{i}.0" for i in range(len(decoder))} | set(_HEADS)
    for name in state:
        if name.rpartition(".")[0] not in known:
            raise ValueError(f"state: {name} is no tensor of pythae's standard networks")
    gaussian = "encoder.log_var.weight" in state
    heads = [_linear(state, name) for name in _HEADS[: 2 if gaussian else 1]]
    return freeze(
        _Standard(encoder, heads, decoder),
        example,
        path,
        mean=mean,
        scale=scale,
        kind=kind,
        beta=beta,
        feature_names=feature_names,
    )


class _Standard(nn.Module):
    """pythae's standard networks; a VAE gives (reconstruction at mu, mu, logvar)."""

    def __init__(
        self, encoder: list[nn.Linear], heads: list[nn.Linear], decoder: list[nn.Linear]
    ) -> None:
        super().__init__()
        self.encoder = nn.Sequential(*(nn.Sequential(layer, nn.ReLU()) for layer in encoder))
        self.heads = nn.ModuleList(heads)
        last = len(decoder) - 1
        self.decoder = nn.Sequential(
            *(
                nn.Sequential(layer, nn.Sigmoid() if i == last else nn.ReLU())
                for i, layer in enumerate(decoder)
            )
        )

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        trunk = self.encoder(x)
        encoded = [head(trunk) for head in self.heads]
        y: Tensor = self.decoder(encoded[0])
        return y if len(encoded) == 1 else (y, *encoded)


def _layers(state: Mapping[str, Tensor], prefix: str) -> list[nn.Linear]:
    pattern = re.compile(re.escape(prefix) + r"\.(\d+)\.0\.weight")
    n = sum(1 for name in state if pattern.fullmatch(name))
    if n == 0:
        raise ValueError(f"state: {prefix}.0.0.weight is missing: expected a pythae AE or VAE")
    return [_linear(state, f"{prefix}.{i}.0") for i in range(n)]


def _linear(state: Mapping[str, Tensor], name: str) -> nn.Linear:
    for what in ("weight", "bias"):
        if f"{name}.{what}" not in state:
            raise ValueError(f"state: {name}.{what} is missing: expected a pythae AE or VAE")
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    if weight.ndim != 2 or bias.shape != weight.shape[:1]:
        raise ValueError(f"state: {name} of shapes {list(weight.shape)} and {list(bias.shape)}")
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return layer
