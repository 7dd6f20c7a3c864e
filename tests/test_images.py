"""Models of images learn digits: what a collapsed model fails; their files; what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra vaelocity[train]")

import torch

from vaelocity import data, models
from vaelocity.models import ConvVAE, ImageDiffusion, ImageGAN
from vaelocity.models.base import Model
from vaelocity.models.interpolation import spherical
from vaelocity.models.pixel_scaler import PixelScaler, PooledScaler
from vaelocity.report.metrics import auc

pytestmark = pytest.mark.usefixtures("one_torch_thread")

Digits = tuple[np.ndarray, np.ndarray]

IMAGE = (1, 12, 12)

SMALL: dict[str, Callable[[], Model]] = {
    "ConvVAE": lambda: ConvVAE(IMAGE, channels=(8, 16), latent=8),
    "squared_error": lambda: ConvVAE(
        IMAGE, channels=(8, 16), latent=8, loss="squared_error", beta=0.05
    ),
    "ImageGAN": lambda: ImageGAN(IMAGE, channels=(8, 16), n_classes=2, ema=0.9),
    "ImageDiffusion": lambda: ImageDiffusion(IMAGE, width=16, n_classes=2, ema=0.9),
}


@pytest.fixture(scope="module")
def digits(data_dir: Path) -> Digits:
    """2,000 zeros and ones, small to be quick, float32 [2000, 144], and what they show: the inner
    24 x 24 pixels, each 2 x 2 of them as their mean, 0 to 255."""
    table = data.read(data_dir / "mnist" / "train-images-idx3-ubyte.gz", n_rows=12000)
    assert table.labels is not None
    chosen = np.flatnonzero(table.labels < 2)[:2000]
    inner = table.rows[chosen].reshape(-1, 28, 28)[:, 2:26, 2:26]
    small = np.ascontiguousarray(inner.reshape(-1, 12, 2, 12, 2).mean((2, 4)))
    return small.reshape(-1, 144), table.labels[chosen]


@pytest.fixture
def noise() -> Digits:
    """200 images of nothing, where what they show does not matter."""
    rng = np.random.default_rng(4)
    return rng.uniform(0, 255, (200, 144)).astype(np.float32), rng.integers(2, size=200)


def fitted(name: str, digits: Digits, rows: int, **arguments: Any) -> Any:
    """The model of that name after some epochs on the first `rows` digits."""
    model = SMALL[name]()
    labels = {"label": digits[1][:rows]} if model.n_classes else {}
    return model.fit(digits[0][:rows], batch_size=64, patience=None, **arguments, **labels)


@pytest.mark.parametrize("name", ["ConvVAE", "squared_error"])
def test_conv_vae_learns(name: str, digits: Digits) -> None:
    """Held-out digits come back with far less error than from the mean digit of their label, and
    the latent space tells the labels apart."""
    model = fitted(name, digits, 1800, epochs=6, lr=3e-3)
    X, label = digits[0][1800:], digits[1][1800:]
    error = np.square(model.reconstruct(X) - X).sum(1)
    means = np.stack([digits[0][:1800][digits[1][:1800] == k].mean(0) for k in (0, 1)])
    assert error.mean() < 0.6 * np.square(means[label] - X).sum(1).mean()
    code = model.encode(X)
    direction = model.attribute(digits[0][:1800][digits[1][:1800] == 1], digits[0][:1800])
    assert direction.shape == (8,)
    projected = code @ direction
    assert auc(projected[label == 0], projected[label == 1]).value > 0.95
    # Brighter than any training row is not more normal than these.
    assert model.score(10 * X).min() > model.score(X).max()
    np.testing.assert_allclose(
        model.score_features(X).sum(1), model.score(X, "reconstruction"), rtol=1e-4
    )


def test_attribute_turns_zeros_into_ones(digits: Digits) -> None:
    model = fitted("ConvVAE", digits, 1800, epochs=6, lr=3e-3)
    X, label = digits[0][:1800], digits[1][:1800]
    zeros, ones = X[label == 0], X[label == 1]
    turned = model.decode(model.encode(zeros[:50]) + model.attribute(ones, zeros))
    to_one = np.square(turned - ones.mean(0)).sum(1)
    to_zero = np.square(turned - zeros.mean(0)).sum(1)
    assert (to_one < to_zero).mean() > 0.9


@pytest.mark.parametrize("path", ["linear", "spherical"])
def test_interpolation_ends_at_the_reconstructions(path: str, noise: Digits) -> None:
    model = fitted("ConvVAE", noise, 200, epochs=1)
    a, b = noise[0][:3], noise[0][3:6]
    way = model.interpolate(a, b, 5, path)
    assert way.shape == (3, 5, 144)
    for at, rows in ((0, a), (-1, b)):
        np.testing.assert_allclose(way[:, at], model.reconstruct(rows), atol=1e-2)
    with pytest.raises(ValueError, match="path: expected one of linear, spherical, got 'arc'"):
        model.interpolate(a, b, 5, "arc")


def test_spherical_keeps_the_length() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 6, 4)).astype(np.float32)
    b *= np.linalg.norm(a, axis=1, keepdims=True) / np.linalg.norm(b, axis=1, keepdims=True)
    b[5], b[4] = a[5], 0  # no angle: a line
    way = spherical(a, b, np.linspace(0, 1, 7))
    expected = np.linalg.norm(a, axis=1, keepdims=True).repeat(7, axis=1)
    expected[4] *= np.linspace(1, 0, 7)
    np.testing.assert_allclose(np.linalg.norm(way, axis=2), expected, rtol=1e-5, atol=1e-6)
    # Equal angles: every step is as far as the next.
    steps = np.linalg.norm(np.diff(way[:4], axis=1), axis=2)
    np.testing.assert_allclose(steps, steps[:, :1].repeat(6, axis=1), rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("ImageGAN", {"epochs": 8, "lr": 2e-3}),
        ("ImageDiffusion", {"epochs": 10, "lr": 4e-3}),
    ],
)
def test_samples_show_the_label_asked_for(
    name: str, arguments: dict[str, Any], digits: Digits
) -> None:
    """Nearer to the mean digit of their label than to that of the other; and the samples of a
    label are not all the same."""
    model = fitted(name, digits, 2000, **arguments)
    means = np.stack([digits[0][digits[1] == k].mean(0) for k in (0, 1)])
    label = np.arange(60) % 2
    options = {"steps": 20, "guidance": 2.0} if name == "ImageDiffusion" else {}
    made = model.sample(60, seed=3, label=label, **options)
    distance = np.square(made[:, None] - means).sum(2)  # [60, 2]
    assert (distance.argmin(1) == label).mean() > 0.85
    # Of real digits this is 1; of a generator that has forgotten its z, 0.
    spread = made[label == 0].std(0).mean() / digits[0][digits[1] == 0].std(0).mean()
    assert spread > 0.1


def test_diffusion_predicts_the_noise(digits: Digits) -> None:
    """Better than the best multiple of x_t: of pixels with mean 0 and variance s that leaves a
    variance s / (a s + 1 - a) of v at a time with a = alpha_bar; and the loss is of the noise, a
    of that."""
    model = fitted("ImageDiffusion", digits, 2000, epochs=8, lr=4e-3)
    x = model.scaler(torch.from_numpy(digits[0])).double()
    second, a = x.square().mean(0), model.alpha_bar.double()[:, None]
    baseline = 0.5 * (a * second / (a * second + 1 - a)).sum(1).mean()
    assert model.history["denoising"][-1] < 0.85 * float(baseline)


@pytest.mark.parametrize("name", SMALL)
def test_files(name: str, noise: Digits, tmp_path: Path) -> None:
    """A model comes back from its file with the same scores, bit for bit, in all kinds."""
    model = fitted(name, noise, 200, epochs=1)
    model.save(tmp_path / "a.vael")
    again = models.load(tmp_path / "a.vael")
    assert type(again) is type(model)
    assert again.arguments() == model.arguments()
    assert again.history == model.history
    for kind in model.kinds:
        np.testing.assert_array_equal(
            again.score(noise[0][:40], kind), model.score(noise[0][:40], kind)
        )
    np.testing.assert_array_equal(again.sample(4, seed=1), model.sample(4, seed=1))


@pytest.mark.parametrize("name", ["ConvVAE", "ImageGAN", "ImageDiffusion"])
def test_seeds(name: str, noise: Digits) -> None:
    """The same seed gives the same weights, another one others, and torch's global random numbers
    stay."""
    before = torch.random.get_rng_state()
    one, other, third = (fitted(name, noise, 130, epochs=1, seed=seed) for seed in (5, 5, 6))
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not all(
        torch.equal(a, b) for a, b in zip(one.parameters(), third.parameters(), strict=True)
    )
    assert torch.equal(torch.random.get_rng_state(), before)


def test_scalers() -> None:
    x = torch.tensor([[0.0, 10.0, 4.0], [20.0, 10.0, 0.0]])
    pixels = PixelScaler(3, -1.0, 1.0)
    pixels.fit_(x)
    expected = torch.tensor([[-1.0, 0.0, -0.6], [1.0, 0.0, -1.0]])
    torch.testing.assert_close(pixels(x), expected)
    torch.testing.assert_close(pixels.inverse(pixels(x)), x)
    pooled = PooledScaler(3)
    pooled.fit_(x)
    torch.testing.assert_close(pooled.mean, torch.tensor([10.0, 10.0, 2.0]))
    torch.testing.assert_close(pooled.scale, torch.full((3,), ((100 + 0 + 4) / 3) ** 0.5))
    for scaler in (pixels, pooled):
        scaler.fit_(torch.full((2, 3), 7.0))
        assert torch.equal(scaler.scale, torch.ones(3))
        scaler.fit_(torch.tensor([[0.0] * 3, [4.0] * 3, [1e9] * 3]), torch.tensor([1.0, 1.0, 0.0]))
        torch.testing.assert_close(scaler.scale, torch.full((3,), 2.0))
    # What varies in a row of weight 0 alone does not vary.
    pooled = PooledScaler(2)
    rows = torch.tensor([[0.0, 0.0], [0.0, 4.0], [9.0, 4.0]])
    pooled.fit_(rows, torch.tensor([1.0, 1.0, 0.0]))
    torch.testing.assert_close(pooled.scale, torch.full((2,), 2**0.5))


@pytest.mark.parametrize(
    "make",
    [
        lambda: ConvVAE((1, 8, 8), channels=(34, 68)),
        lambda: ImageGAN((1, 8, 8), channels=(8, 17)),
        lambda: ImageDiffusion((1, 8, 8), width=17),
    ],
)
def test_channels_may_be_any_number(make: Callable[[], Model], noise: Digits) -> None:
    model = make().fit(noise[0][:64, :64], epochs=1)
    assert np.isfinite(model.score(noise[0][:5, :64], model.kinds[0])).all()


def test_refusals() -> None:
    with pytest.raises(
        ValueError, match=r"image: expected \(channels, height, width\), got \(28, 28\)"
    ):
        ConvVAE(image=(28, 28))
    with pytest.raises(ValueError, match=r"image: 3 halvings need .* multiples of 8, got 28 x 28"):
        ConvVAE(channels=(8, 8, 8))
    with pytest.raises(ValueError, match=r"channels: expected positive integers, got \(8, 0\)"):
        ImageGAN(channels=(8, 0))
    with pytest.raises(ValueError, match="loss: expected one of bce_with_logits, squared_error"):
        ConvVAE(loss="hinge")
    with pytest.raises(ValueError, match="beta: expected a finite number of at least 0, got -1"):
        ConvVAE(beta=-1)
    with pytest.raises(ValueError, match=r"image: 2 halvings need .* got 27 x 28"):
        ImageDiffusion(image=(1, 27, 28))
