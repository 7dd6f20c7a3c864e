"""Diffusion: what it learns, its two scores, what it draws, with labels and without."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra vaelocity[train]")

import torch
from ring import middle, off_the_ring, ring

from vaelocity import ops
from vaelocity.models import Diffusion
from vaelocity.models.diffusion import cosine_schedule
from vaelocity.report.metrics import auc

pytestmark = pytest.mark.usefixtures("one_torch_thread")

SMALL = {"hidden": (64, 64), "ema": 0.99}


@pytest.fixture(scope="module")
def model() -> Diffusion:
    return Diffusion(2, **SMALL).fit(ring(4096), epochs=30, batch_size=128, lr=3e-3)


@pytest.fixture(scope="module")
def halves() -> Diffusion:
    """Label 0 is the upper half of the ring, label 1 the lower."""
    rows = np.concatenate([ring(2048, 0, (0, np.pi)), ring(2048, 1, (-np.pi, 0))])
    label = np.repeat([0, 1], 2048)
    model = Diffusion(2, n_classes=2, label_dropout=0.3, **SMALL)
    return model.fit(rows, label=label, epochs=30, batch_size=128, lr=3e-3)


def test_both_scores_find_what_a_collapsed_model_calls_normal(model: Diffusion) -> None:
    normal, odd = ring(1000, 7), middle(1000)
    assert auc(0.5 * (normal**2).sum(1), 0.5 * (odd**2).sum(1)).value < 0.01
    for kind in model.kinds:
        assert auc(model.score(normal, kind), model.score(odd, kind)).value > 0.95, kind


def test_samples_lie_on_the_ring_all_around(model: Diffusion) -> None:
    rows = model.sample(2000, seed=1)
    assert rows.dtype == np.float32
    # The ring itself is 0.04 off, a Gaussian of its covariance 0.39.
    assert off_the_ring(rows) < 0.12
    octants, _ = np.histogram(np.arctan2(rows[:, 1], rows[:, 0]), 8, (-np.pi, np.pi))
    assert octants.min() > 150


def test_samples_are_named_by_their_seed(model: Diffusion) -> None:
    rows = model.sample(1500, seed=3, steps=10)
    assert np.array_equal(model.sample(1500, seed=3, steps=10), rows)
    np.testing.assert_allclose(model.sample(5, seed=3, steps=10), rows[:5], rtol=1e-4, atol=1e-5)
    assert not np.array_equal(model.sample(1500, seed=4, steps=10), rows)
    assert model.sample(0).shape == (0, 2)


def test_a_score_is_the_row_s_own(model: Diffusion) -> None:
    """The same bits a second time; up to rounding the same in any batch and at any place in it."""
    rows = ring(300, 5)
    for kind in model.kinds:
        scores = model.score(rows, kind)
        assert np.array_equal(model.score(rows, kind), scores)
        np.testing.assert_allclose(model.score(rows[::-1].copy(), kind)[::-1], scores, rtol=1e-4)
        np.testing.assert_allclose(model.score(rows[17:18], kind), scores[17:18], rtol=1e-4)


def test_diffusion_time_rises_with_the_noise(model: Diffusion) -> None:
    rows = ring(1000, 6)
    eps = np.random.default_rng(0).normal(size=rows.shape).astype(np.float32)
    means = [model.score(rows + s * eps, "diffusion_time").mean() for s in (0, 0.3, 1, 3)]
    assert means == sorted(means)
    assert means[0] < 0.3
    assert means[-1] > 0.6


def test_samples_show_the_label_that_was_asked_for(halves: Diffusion) -> None:
    for label, upper in ((0, True), (1, False)):
        rows = halves.sample(500, label=label)
        assert ((rows[:, 1] > 0) == upper).mean() > 0.9
        assert off_the_ring(rows) < 0.15
    each = np.arange(500) % 2
    assert ((halves.sample(500, label=each)[:, 1] > 0) == (each == 0)).mean() > 0.9
    # Without a label from both halves, and pushed away from that with guidance.
    free = halves.sample(500)
    assert 0.35 < (free[:, 1] > 0).mean() < 0.65
    pushed = halves.sample(500, label=0, guidance=3.0)
    assert pushed[:, 1].mean() > halves.sample(500, label=0)[:, 1].mean()
    for kind in halves.kinds:
        assert auc(halves.score(ring(500, 7), kind), halves.score(middle(500), kind)).value > 0.6


def test_training_terms_are_their_formulas() -> None:
    """With a denoiser that knows the row, the noise it predicts is the noise that was added."""

    class Oracle(torch.nn.Module):
        def forward(self, x_t: torch.Tensor, t: torch.Tensor, label: object) -> torch.Tensor:
            kept = made.alpha_bar[t][:, None]
            eps = (x_t - kept.sqrt() * x) / (1 - kept).sqrt()
            return kept.sqrt() * eps - (1 - kept).sqrt() * x

    x = torch.from_numpy(ring(64))
    made = Diffusion(2, hidden=(8,), network=Oracle())
    terms = made.training_terms(x, ops.Rng(1))
    assert set(terms) == {"loss", "denoising", "time"}
    # eps is divided by sqrt(1 - a): a hundredth at the first step.
    assert terms["denoising"].max() < 1e-6
    plain = Diffusion(2, hidden=(8,)).training_terms(x, ops.Rng(1))
    assert plain["denoising"].mean() > 0.1
    assert torch.equal(plain["loss"], plain["denoising"] + plain["time"])


def test_the_schedule_is_that_of_the_paper() -> None:
    alpha_bar = cosine_schedule(1000).double()
    t = torch.arange(1, 999, dtype=torch.float64)
    exact = torch.cos((t / 1000 + 0.008) / 1.008 * torch.pi / 2) ** 2
    exact /= np.cos(0.008 / 1.008 * np.pi / 2) ** 2
    torch.testing.assert_close(alpha_bar[:998], exact, rtol=1e-6, atol=0)
    assert (alpha_bar.diff() < 0).all()
    assert 0 < alpha_bar[-1] < 1e-5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"steps": 0}, "steps: expected a positive integer, got 0"),
        ({"n_classes": -1}, "n_classes: expected an integer of at least 0, got -1"),
        ({"label_dropout": 1.5}, r"label_dropout: expected a number from 0 to 1, got 1\.5"),
        ({"ema": float("nan")}, "ema: expected a number from 0 to 1, got nan"),
        ({"hidden": (8, 0)}, "hidden: expected a positive integer, got 0"),
        ({"activation": "relux"}, "activation: expected one of identity, relu"),
    ],
)
def test_the_constructor_names_the_argument_that_is_wrong(
    arguments: dict[str, object], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        Diffusion(2, **arguments)  # type: ignore[arg-type]


def test_what_is_asked_of_a_fitted_model(model: Diffusion, halves: Diffusion) -> None:
    with pytest.raises(ValueError, match="n: expected an integer of at least 0, got -1"):
        model.sample(-1)
    with pytest.raises(ValueError, match="steps: expected 1 to 1000, got 1001"):
        model.sample(1, steps=1001)
    with pytest.raises(ValueError, match="label: this model has no classes"):
        model.sample(1, label=0)
    with pytest.raises(ValueError, match="label: expected integers from 0 to 1, got 2 at 0"):
        halves.sample(1, label=2)
    with pytest.raises(ValueError, match="label: expected 3 integers, one a row, got int64 of"):
        halves.sample(3, label=[0, 1])
    with pytest.raises(RuntimeError, match="this Diffusion was not fitted"):
        Diffusion(2, hidden=(4,)).sample(1)
