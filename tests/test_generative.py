"""What all adversarial and diffusion models share: seeds, checkpoints, files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra vaelocity[train]")

import torch
from ring import ring

import vaelocity
from vaelocity import BundleError, models
from vaelocity.models import GAN, VAEGAN, AdversarialAutoencoder, Diffusion
from vaelocity.models.base import Model

pytestmark = [
    pytest.mark.usefixtures("one_torch_thread"),
    # Some are trained for an epoch or two.
    pytest.mark.filterwarnings("ignore::vaelocity.models.posterior.PosteriorCollapse"),
]

MAKERS: dict[str, Callable[[], Model]] = {
    "diffusion": lambda: Diffusion(2, hidden=(8, 8)),
    "diffusion, labels": lambda: Diffusion(2, hidden=(8, 8), n_classes=2),
    "gan": lambda: GAN(2, latent=2, hidden=(8,)),
    "gan, hinge, labels": lambda: GAN(
        2, latent=2, hidden=(8,), loss="hinge", spectral_norm=True, n_classes=2
    ),
    "aae": lambda: AdversarialAutoencoder(2, latent=1, hidden=(8,)),
    "vaegan": lambda: VAEGAN(2, latent=1, hidden=(8,), adversarial_weight=0.5),
}
every_model = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
ROWS = ring(300)
LABELS = (ROWS[:, 1] > 0).astype(np.int64)


def fit(model: Model, epochs: int, **arguments: Any) -> Model:
    if model.n_classes:
        arguments["label"] = LABELS
    return model.fit(ROWS, epochs=epochs, batch_size=64, **arguments)


def same_state(a: Model, b: Model) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


@every_model
def test_a_seed_gives_the_same_weights_twice_and_leaves_torch_s_own_numbers_alone(
    make: Callable[[], Model],
) -> None:
    before = torch.random.get_rng_state()
    first = fit(make(), 2, seed=3)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(99)
    assert same_state(fit(make(), 2, seed=3), first)
    assert not same_state(fit(make(), 2, seed=4), first)


@every_model
def test_one_epoch_and_two_are_three(make: Callable[[], Model]) -> None:
    assert same_state(fit(fit(make(), 1), 2), fit(make(), 3))


@every_model
def test_a_training_goes_on_from_its_checkpoint(make: Callable[[], Model], tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    fit(make(), 2, checkpoint=path)
    resumed = fit(make(), 4, checkpoint=path)
    whole = fit(make(), 4)
    assert same_state(resumed, whole)
    assert resumed.history == whole.history
    assert len(whole.history["loss"]) == 4


@every_model
def test_what_is_loaded_scores_the_same_and_trains_on(
    make: Callable[[], Model], tmp_path: Path
) -> None:
    model = fit(make(), 2)
    path = tmp_path / "m.vael"
    model.save(path)
    again = models.load(path)
    assert type(again) is type(model)
    for kind in model.kinds:
        scores = model.score(ROWS, kind)
        assert np.isfinite(scores).all()
        assert np.array_equal(again.score(ROWS, kind), scores)
    assert np.array_equal(again.sample(7, seed=1), model.sample(7, seed=1))  # type: ignore[attr-defined]
    assert again.history == model.history
    assert again.provenance == model.provenance
    assert again.reference is not None
    assert same_state(again, model)
    fit(again, 1)
    assert again.history["epoch"] == [1, 2, 3]
    assert not same_state(again, model)


@every_model
def test_nothing_is_scored_saved_or_drawn_before_fit(
    make: Callable[[], Model], tmp_path: Path
) -> None:
    model = make()
    for use in (
        lambda: model.score(ROWS),
        lambda: model.sample(3),  # type: ignore[attr-defined]
        lambda: model.save(tmp_path / "m.vael"),
    ):
        with pytest.raises(RuntimeError, match=f"this {type(model).__name__} was not fitted"):
            use()


@pytest.mark.parametrize("name", ["diffusion", "gan"])
def test_what_does_not_freeze_says_so(name: str, tmp_path: Path) -> None:
    model = fit(MAKERS[name](), 1)
    model.save(tmp_path / "m.vael")
    said = rf"m\.vael: a {type(model).__name__} model, which has no frozen scorer: load it with"
    with pytest.raises(BundleError, match=said):
        vaelocity.load(tmp_path / "m.vael")
    with pytest.raises(ValueError, match="conformance: "):
        model.save(tmp_path / "n.vael", conformance=ROWS)
    with pytest.raises(ValueError, match="kind: "):
        model.save(tmp_path / "n.vael", kind="denoising")
    assert not (tmp_path / "n.vael").exists()


def test_a_model_of_your_own_comes_back_if_its_class_is_given(tmp_path: Path) -> None:
    class Mine(Diffusion):
        """Its arguments are Diffusion's."""

    model = fit(Mine(2, hidden=(8, 8)), 1)
    model.save(tmp_path / "m.vael")
    with pytest.raises(BundleError, match="unknown class 'Mine'; see classes"):
        models.load(tmp_path / "m.vael")
    again = models.load(tmp_path / "m.vael", classes=[Mine])
    assert type(again) is Mine
    assert np.array_equal(again.score(ROWS), model.score(ROWS))


def test_networks_of_your_own_are_used_and_not_saved(tmp_path: Path) -> None:
    class Zero(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = torch.nn.Parameter(torch.zeros(()))

        def forward(self, x: torch.Tensor, *_: object) -> torch.Tensor:
            return self.factor * x

    model = fit(Diffusion(2, hidden=(8,), network=Zero()), 1)
    assert isinstance(model.network, Zero)
    with pytest.raises(ValueError, match=r"Diffusion with networks of its own .* subclass"):
        model.save(tmp_path / "m.vael")
    assert list(tmp_path.iterdir()) == []
