"""From torch modules to steps: the frozen network computes what torch does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra vaelocity[train]")

import torch
from torch import nn

from vaelocity import _core
from vaelocity.bundle import bundle_bytes
from vaelocity.models.conv_networks import ConvDecoder, ConvEncoder
from vaelocity.models.layers import Network
from vaelocity.models.steps import steps_of

pytestmark = pytest.mark.usefixtures("one_torch_thread")

Shape = Sequence[int]


def down(channels_in: int, channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels, 3, stride=2, padding=1)


def up(channels_in: int, channels: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels_in, channels, 3, stride=2, padding=1, output_padding=1)


def mnist() -> tuple[Shape, nn.Module, nn.Module]:
    """1 x 28 x 28 to 32 numbers and back."""
    encoder = nn.Sequential(
        down(1, 16), nn.ReLU(), down(16, 32), nn.ReLU(), nn.Flatten(), nn.Linear(1568, 32)
    )
    decoder = nn.Sequential(
        nn.Linear(32, 1568),
        nn.ReLU(),
        nn.Unflatten(1, (32, 7, 7)),
        nn.Sequential(up(32, 16), nn.ReLU(), up(16, 1)),
        nn.Flatten(),
    )
    return (1, 28, 28), encoder, decoder


def calorimeter() -> tuple[Shape, nn.Module, nn.Module]:
    """18 x 14 regions, in the way of CICADA's teacher."""
    encoder = nn.Sequential(
        nn.Conv2d(1, 20, 3, padding="same"),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(20, 30, 3, padding=1, bias=False),
        nn.BatchNorm2d(30),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(1890, 80),
    )
    decoder = nn.Sequential(
        nn.Linear(80, 1890),
        nn.Unflatten(1, (30, 9, 7)),
        nn.ELU(),
        nn.ConvTranspose2d(30, 20, 2, stride=2),
        nn.BatchNorm2d(20, affine=False),
        nn.LeakyReLU(0.2),
        nn.Conv2d(20, 1, 3, padding=1),
        nn.Flatten(),
    )
    return (1, 18, 14), encoder, decoder


def signal() -> tuple[Shape, nn.Module, nn.Module]:
    """Three channels of 40 samples."""
    encoder = nn.Sequential(
        nn.MaxPool1d(3, stride=1, padding=1),
        nn.Conv1d(3, 6, 5, stride=2, padding=2),
        nn.LayerNorm([6, 20]),
        nn.SiLU(),
        nn.AvgPool1d(2),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(60, 10),
        nn.BatchNorm1d(10),
        nn.Tanh(),
        nn.LayerNorm(10, elementwise_affine=False),
        nn.Linear(10, 4),
    )
    decoder = nn.Sequential(
        nn.Linear(4, 60),
        nn.GELU(),
        nn.Unflatten(1, (6, 10)),
        nn.GroupNorm(3, 6),
        nn.ConvTranspose1d(6, 3, 4, stride=4, bias=False),
        nn.Sigmoid(),
        nn.Flatten(),
    )
    return (3, 40), encoder, decoder


def of_the_package() -> tuple[Shape, nn.Module, nn.Module]:
    """The networks of ConvVAE and of the dense models."""
    image, channels = (1, 16, 16), (8, 16)
    down, up = ConvEncoder(image, channels, 6), ConvDecoder(image, channels, 6)
    encoder = nn.Sequential(
        down.convolutions, nn.Flatten(), down.last, Network([6, 9, 6], "leaky_relu", True)
    )
    decoder = nn.Sequential(up.first, nn.Unflatten(1, up.smallest), up.deconvolutions)
    return image, encoder, decoder


NETWORKS = [mnist, calorimeter, signal, of_the_package]


@torch.no_grad()
def unsettled(module: nn.Module) -> nn.Module:
    """With weights and running statistics that differ everywhere, in eval mode."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in module.state_dict().items():
        if not tensor.is_floating_point():
            continue
        drawn = torch.randn(tensor.shape, generator=generator)
        if name.endswith("running_var"):
            tensor.copy_(drawn.abs() + 0.5)
        elif tensor.ndim == 1:
            tensor.copy_(0.3 * drawn + (1 if name.endswith("weight") else 0))
        else:
            tensor.copy_(drawn / math.sqrt(tensor[0].numel()))
    return module.eval()


def frozen(
    shape: Shape, encoder: nn.Module, decoder: nn.Module, latent: int
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    width = math.prod(shape)
    tensors = {"mean": np.zeros(width, np.float32), "scale": np.ones(width, np.float32)}
    metadata = {
        "features": [f"x{j}" for j in range(width)],
        "preprocess": [{"op": "standardize", "mean": "mean", "scale": "scale"}],
        "encoder": steps_of(encoder, "encoder", shape, tensors),
        "latent": {"kind": "point", "size": latent},
        "decoder": steps_of(decoder, "decoder", (latent,), tensors),
        "score": {"kind": "reconstruction", "loss": "squared_error"},
    }
    return metadata, tensors


@pytest.mark.parametrize("make", NETWORKS, ids=lambda make: make.__name__)
def test_the_frozen_network_scores_as_torch(make: Any) -> None:
    shape, encoder, decoder = make()
    encoder, decoder = unsettled(encoder), unsettled(decoder)
    rows = torch.randn(20, math.prod(shape), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        z = encoder(rows.view(-1, *shape))
        y = decoder(z).flatten(1)
        expected = (0.5 * (y.double() - rows.double()).square().sum(1)).numpy()
    metadata, tensors = frozen(shape, encoder, decoder, z.shape[1])
    model = _core.Model.from_bytes(bundle_bytes(metadata, tensors), verify=False)
    assert np.allclose(model.score(rows.numpy()), expected, rtol=2e-5, atol=0)
    assert not np.allclose(expected, expected[0], rtol=1e-2)


class _Shifted(nn.Conv2d):
    """A convolution that is none."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + 1


class _Around(nn.Sequential):
    """A residual block as it is often written."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = super().forward(x)
        return x + y


@pytest.mark.parametrize(
    ("module", "error", "said"),
    [
        (nn.LSTM(4, 4), TypeError, "encoder: module 0, a LSTM: a frozen network has no such step"),
        (nn.Conv2d(2, 4, 3, groups=2), ValueError, "groups 2 has no frozen form, only 1"),
        (nn.Conv2d(2, 4, 3, dilation=2), ValueError, "dilation"),
        (nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect"), ValueError, "padding_mode"),
        (nn.Conv2d(2, 4, 4, padding="same"), ValueError, "of an even kernel is one-sided"),
        (nn.Conv2d(3, 4, 3), ValueError, "takes 3 channels, and is given 2"),
        (nn.MaxPool2d(3, ceil_mode=True), ValueError, "ceil_mode True has no frozen form"),
        (nn.AvgPool2d(3, padding=1, count_include_pad=False), ValueError, "count_include_pad"),
        (nn.AvgPool2d(3, divisor_override=2), ValueError, "divisor_override"),
        (nn.LayerNorm(6), ValueError, r"normalises \(6,\), not the row's 60 values"),
        (nn.ReLU(), ValueError, "needs a step before it"),
        (nn.BatchNorm2d(2), ValueError, "needs a linear layer or a convolution right before it"),
        (nn.Linear(7, 2), ValueError, "takes 7 values"),
        (nn.Unflatten(1, (3, 5)), ValueError, "makes"),
        (nn.Sequential(nn.Linear(60, 2), nn.Conv2d(2, 2, 1)), ValueError, "takes an image"),
        (nn.Sequential(nn.Linear(60, 2), nn.ReLU(), nn.ReLU()), ValueError, "module 2, a ReLU"),
        (nn.Sequential(nn.Linear(60, 2), nn.ELU(2.0)), ValueError, "alpha 2.0"),
        (nn.Sequential(nn.Linear(60, 2), nn.GELU("tanh")), ValueError, "approximate"),
        (nn.Flatten(2), ValueError, "flattens a part of a row"),
        (nn.Conv1d(2, 2, 3), ValueError, r"takes \[channels, length\]"),
        (nn.MaxPool1d(2), ValueError, r"takes \[channels, length\]"),
        (nn.Sequential(nn.Flatten(), nn.Conv2d(2, 2, 1)), ValueError, "takes an image"),
        (nn.Sequential(nn.Conv2d(2, 2, 1), nn.Flatten(), nn.BatchNorm1d(60)), ValueError, "right"),
        (_Shifted(2, 2, 1), TypeError, "module 0, a _Shifted"),
        (_Around(nn.Linear(60, 60)), TypeError, "module 0, a _Around"),
    ],
)
def test_what_has_no_step_is_refused_by_name(
    module: nn.Module, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        steps_of(module, "encoder", (2, 5, 6), {})


def test_a_weight_that_is_not_finite_is_refused() -> None:
    layer = nn.Linear(60, 2)
    with torch.no_grad():
        layer.bias[1] = torch.inf
    with pytest.raises(ValueError, match=r"encoder\.0\.bias is not finite"):
        steps_of(layer, "encoder", (60,), {})
