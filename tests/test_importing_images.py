"""Networks with convolutions, pools, norms and skip connections, of torch and of ONNX."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import vaelocity  # noqa: E402
from vaelocity.bundle import read_bundle  # noqa: E402
from vaelocity.importing import UnsupportedNode, onnx_file  # noqa: E402


class Skip(nn.Module):
    """x + f(x)."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Sequential(*layers)

    def forward(self, x: Any) -> Any:
        return x + self.inner(x)


class View(nn.Module):
    """[n, -1] as images, in the way that every exporter writes as one Reshape."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Any) -> Any:
        return x.view(-1, *self.shape)


def images() -> nn.Module:
    """[n, 2, 8, 6] and back: everything that a file has a step for."""
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.LeakyReLU(0.2),
        Skip(nn.Conv2d(6, 6, 3, padding=1, groups=3), nn.GELU(), nn.Conv2d(6, 6, 1)),
        nn.ReLU(),
        nn.GroupNorm(3, 6),
        nn.MaxPool2d((2, 1)),
        nn.Flatten(),
        nn.LayerNorm(36),
        nn.Tanh(),
        nn.Linear(36, 5),
        nn.Linear(5, 36),
        nn.SiLU(),
        View(6, 2, 3),
        nn.ConvTranspose2d(6, 4, (4, 3), stride=(4, 2), padding=(0, 1), output_padding=(0, 1)),
        nn.BatchNorm2d(4),
        nn.ELU(),
        nn.AvgPool2d(3, stride=1, padding=1),
        nn.Conv2d(4, 2, 3, padding=1),
        nn.Sigmoid(),
    )


def signals() -> nn.Module:
    """[n, 1, 16], with a mean over the whole signal."""
    return nn.Sequential(
        nn.Conv1d(1, 4, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(4, 3, 3, padding=1),
        nn.InstanceNorm1d(3, affine=True),
        nn.Tanh(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(1),
        nn.Linear(3, 8),
        nn.ReLU(),
        View(2, 4),
        nn.ConvTranspose1d(2, 1, 4, stride=4),
    )


SHAPES = {"images": (2, 8, 6), "signals": (1, 16)}
MADE = {"images": images, "signals": signals}


def trained(name: str) -> tuple[nn.Module, Any]:
    """A module whose batch norms have seen data, and rows for it."""
    torch.manual_seed(3)
    module, x = MADE[name](), torch.randn(64, *SHAPES[name])
    module.train()
    for _ in range(3):
        module(torch.randn(64, *SHAPES[name]))
    return module.eval(), x


def exact(module: nn.Module, x: Any) -> np.ndarray:
    """The scores in float64."""
    with torch.no_grad():
        y = module.double()(x.double())
    module.float()
    return 0.5 * (y - x.double()).square().flatten(1).sum(1).numpy()


@pytest.mark.parametrize("name", MADE)
def test_a_module_of_images_is_frozen(name: str, tmp_path: Path) -> None:
    module, x = trained(name)
    scorer = vaelocity.freeze(module, x, tmp_path / "m.vael")
    np.testing.assert_allclose(scorer.score(x.flatten(1).numpy()), exact(module, x), rtol=1e-5)
    again = vaelocity.freeze(module, x[:8].numpy(), tmp_path / "again.vael")
    assert scorer.score(x.flatten(1).numpy()) == pytest.approx(
        again.score(x.flatten(1).numpy()), rel=0
    )


def test_the_steps_are_those_of_the_layers(tmp_path: Path) -> None:
    """A batch norm behind a convolution is folded into it; no other step is added."""
    module, x = trained("images")
    vaelocity.freeze(module, x, tmp_path / "m.vael")
    metadata, _ = read_bundle(tmp_path / "m.vael")
    assert [step["op"] for step in metadata["encoder"]] == [
        "conv", "conv", "conv", "residual", "layer_norm", "max_pool", "layer_norm", "dense",
    ]  # fmt: skip
    assert [step["op"] for step in metadata["decoder"]] == [
        "dense", "conv_transpose", "average_pool", "conv",
    ]  # fmt: skip
    assert metadata["latent"] == {"kind": "point", "size": 5}
    activations = [step["activation"] for step in metadata["encoder"]]
    assert activations[3:7] == ["relu", "identity", "identity", "tanh"]


@pytest.mark.parametrize("name", MADE)
def test_an_onnx_file_of_images(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    module, x = trained(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter that needs no onnxscript is deprecated
        torch.onnx.export(module, (x[:4],), tmp_path / "m.onnx", dynamo=False, opset_version=20)
    scorer = onnx_file(tmp_path / "m.onnx", tmp_path / "m.vael", example=x.numpy())
    np.testing.assert_allclose(scorer.score(x.flatten(1).numpy()), exact(module, x), rtol=1e-5)


class Vae(nn.Module):
    """mu and logvar from two heads behind a convolution."""

    def __init__(self, head: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(1, 3, 3, stride=2, padding=1), nn.ReLU())
        self.mu, self.logvar = head(), head()
        self.decoder = nn.Sequential(
            nn.Linear(4, 27), nn.ReLU(), nn.Unflatten(1, (3, 3, 3)), nn.ConvTranspose2d(3, 1, 2, 2)
        )

    def forward(self, x: Any) -> Any:
        trunk = self.trunk(x)
        mu, logvar = (head(trunk).flatten(1) for head in (self.mu, self.logvar))
        return self.decoder(mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)), mu, logvar


def test_a_vae_of_images_has_every_kind_of_score(tmp_path: Path) -> None:
    torch.manual_seed(1)
    module = Vae(lambda: nn.Sequential(nn.Flatten(), nn.Linear(27, 4))).eval()
    x = torch.randn(50, 1, 6, 6)
    vaelocity.freeze(module, x, tmp_path / "m.vael")
    with torch.no_grad():
        mu = module.double().mu(module.trunk(x.double())).numpy()
    scores = vaelocity.load(tmp_path / "m.vael", kind="mu2").score(x.flatten(1).numpy())
    np.testing.assert_allclose(scores, np.square(mu).sum(1), rtol=1e-5)


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([nn.Conv2d(1, 2, 3, dilation=2)], "conv2d.*a dilated convolution"),
        ([nn.Conv2d(1, 1, 3, padding="same")], "conv2d.*padding 'same', expected numbers"),
        ([nn.MaxPool2d(2, ceil_mode=True)], "max_pool2d.*ceil_mode or dilation"),
        ([nn.AvgPool2d(2, padding=1, count_include_pad=False)], "avg_pool2d.*without the padding"),
        ([nn.Upsample(scale_factor=2)], "no step of a .vael file does this"),
        ([nn.LayerNorm(6)], "layer_norm.*over part of a row"),
        ([nn.Linear(6, 6)], "linear.*for rows of shape"),
    ],
)
def test_what_has_no_step_is_named(layers: list[nn.Module], said: str, tmp_path: Path) -> None:
    module = nn.Sequential(*layers).eval()
    with pytest.raises(UnsupportedNode, match=said):
        vaelocity.freeze(module, torch.randn(8, 1, 6, 6), tmp_path / "m.vael")
    assert not (tmp_path / "m.vael").exists()


def test_a_skip_connection_around_the_latent_space(tmp_path: Path) -> None:
    narrow = nn.Sequential(Skip(nn.Linear(6, 2), nn.ReLU(), nn.Linear(2, 6)), nn.ReLU())
    x = torch.randn(20, 6)
    with pytest.raises(ValueError, match="skip connections go around every layer"):
        vaelocity.freeze(Skip(nn.Linear(6, 2), nn.ReLU(), nn.Linear(2, 6)), x, tmp_path / "m.vael")
    wide = nn.Sequential(narrow, nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 6))
    scorer = vaelocity.freeze(wide, x, tmp_path / "m.vael")
    assert scorer.metadata["latent"]["size"] == 5
    np.testing.assert_allclose(scorer.score(x.numpy()), exact(wide, x), rtol=1e-5)


def test_mu_of_a_convolution_of_its_own_is_refused(tmp_path: Path) -> None:
    module = Vae(lambda: nn.Conv2d(3, 4, 3)).eval()
    with pytest.raises(
        ValueError, match="mu, logvar: expected dense layers of their own, got conv"
    ):
        vaelocity.freeze(module, torch.randn(8, 1, 6, 6), tmp_path / "m.vael")
