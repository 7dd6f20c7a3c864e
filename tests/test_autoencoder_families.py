"""Sparse, denoising and masked autoencoders, the linear one, students and ensembles: each learns
what a model that gives the mean does not know; files; what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra vaelocity[train]")

import torch

import vaelocity
from vaelocity import _core, models
from vaelocity.models import (
    VAE,
    VAEGAN,
    AdversarialAutoencoder,
    Autoencoder,
    DenoisingAutoencoder,
    Ensemble,
    MaskedAutoencoder,
    SparseAutoencoder,
    Student,
    distill,
)
from vaelocity.models.base import Model
from vaelocity.models.corruption import CORRUPTIONS
from vaelocity.models.latent import LatentModel
from vaelocity.models.latent_reconstruction import latent_reconstruction
from vaelocity.models.pca import initialise_pca
from vaelocity.report.metrics import auc
from vaelocity.threshold import threshold_for

pytestmark = pytest.mark.usefixtures("one_torch_thread")

FIT: dict[str, Any] = {"epochs": 20, "batch_size": 64, "lr": 5e-3, "patience": None}
SHORT = {**FIT, "epochs": 3}


def events(n: int, seed: int = 0) -> np.ndarray:
    """n rows of six features that two numbers determine, but for a little noise."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, n))
    sheet = np.column_stack([a, b, a * b, 5 * np.sin(2 * a), a + b, np.cos(2 * b) - 3])
    return (sheet + 0.05 * rng.normal(size=(n, 6))).astype(np.float32)


def shuffled(X: np.ndarray, seed: int = 1) -> np.ndarray:
    """The same values with nothing left of how they belong together. Every single feature is
    distributed as before: of this the squared norm, the score of a collapsed model, sees little."""
    return np.random.default_rng(seed).permuted(X, axis=0)


X, TEST = events(1500), events(600, seed=2)

FAMILIES: dict[str, Callable[[], Model]] = {
    "sparse": lambda: SparseAutoencoder(6, latent=24, hidden=(32,), penalty=0.01),
    "top k": lambda: SparseAutoencoder(6, latent=24, hidden=(32,), top_k=4),
    "masked": lambda: MaskedAutoencoder(6, hidden=(32, 32)),
    **{
        corruption: lambda corruption=corruption: DenoisingAutoencoder(  # type: ignore[misc]
            6, latent=24, hidden=(32,), corruption=corruption, level=0.2
        )
        for corruption in CORRUPTIONS
    },
}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Model:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model = FAMILIES[request.param]().fit(X, **FIT)
    torch.set_num_threads(threads)
    return model


def test_a_family_learns_how_features_belong_together(family: Model) -> None:
    norm = np.square(family.scaler(torch.from_numpy(TEST)).numpy()).sum(1)
    other = np.square(family.scaler(torch.from_numpy(shuffled(TEST))).numpy()).sum(1)
    assert auc(norm, other).value < 0.6
    for kind in family.kinds:
        found = auc(family.score(TEST, kind), family.score(shuffled(TEST), kind)).value
        assert found > 0.75, (kind, found)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Autoencoder(6, latent=2, hidden=(32,)),
        lambda: VAE(6, latent=4, hidden=(32,), beta=0.05),
        lambda: AdversarialAutoencoder(6, latent=2, hidden=(32,), activation="tanh"),
        lambda: VAEGAN(6, latent=4, hidden=(32,), beta=0.05),
    ],
    ids=["deep", "VAE", "adversarial", "VAE-GAN"],
)
def test_a_narrow_family_learns_how_features_belong_together(make: Callable[[], Model]) -> None:
    model = make().fit(X, **FIT)
    assert auc(model.score(TEST), model.score(shuffled(TEST))).value > 0.75


def test_scores_are_the_same_twice_and_whatever_the_batch(family: Model) -> None:
    for kind in family.kinds:
        scores = family.score(TEST, kind)
        assert np.array_equal(family.score(TEST, kind), scores)
        np.testing.assert_allclose(family.score(TEST[7:8], kind), scores[7:8], rtol=1e-4, atol=1e-5)


def test_what_is_loaded_scores_the_same_bits(family: Model, tmp_path: Path) -> None:
    path = tmp_path / "m.vael"
    family.save(path)
    again = models.load(path)
    assert type(again) is type(family)
    assert again.arguments() == family.arguments()
    for kind in family.kinds:
        assert np.array_equal(again.score(TEST, kind), family.score(TEST, kind))


@pytest.mark.parametrize("name", ["top k", "masked"])
def test_a_family_without_a_frozen_scorer_says_so(name: str, tmp_path: Path) -> None:
    model = FAMILIES[name]().fit(X, epochs=1, patience=None)
    model.save(tmp_path / "m.vael")
    with pytest.raises(vaelocity.BundleError, match="no frozen scorer: load it with"):
        vaelocity.load(tmp_path / "m.vael")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: SparseAutoencoder(6, penalty=-1), "penalty: expected a finite number"),
        (lambda: SparseAutoencoder(6, latent=4, top_k=5), r"top_k: expected at most 4 \(latent\)"),
        (lambda: SparseAutoencoder(6, top_k=0), "top_k: expected a positive integer, got 0"),
        (lambda: DenoisingAutoencoder(6, corruption="snow"), "corruption: expected one of gaussia"),
        (lambda: DenoisingAutoencoder(6, level=0), "level: expected a positive number for gaussia"),
        (lambda: DenoisingAutoencoder(6, corruption="swap", level=2), "level: .* of at most 1 for"),
        (lambda: DenoisingAutoencoder(6, draws=0), "draws: expected a positive integer, got 0"),
        (lambda: MaskedAutoencoder(6, hidden_share=1), "hidden_share: expected between 0 and 1"),
        (lambda: MaskedAutoencoder(6, rounds=0), "rounds: expected a positive integer, got 0"),
        (lambda: VAE(6, free_bits=-1), "free_bits: expected a finite number of at least 0"),
        (lambda: VAE(6, warmup=-1), "warmup: expected an integer of at least 0"),
        (lambda: Ensemble([], X), "members: expected at least one"),
    ],
)
def test_the_constructor_names_the_argument_that_is_wrong(
    make: Callable[[], object], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        make()


# sparse


def test_a_penalty_leaves_units_unused_and_the_dictionary_names_what_excites_the_others() -> None:
    rng = np.random.default_rng(0)
    rows = np.where(rng.random((2000, 4)) < 0.2, rng.exponential(size=(2000, 4)), 0)
    rows = rows.astype(np.float32)
    names = ["a", "b", "c", "d"]
    fitted = {
        penalty: SparseAutoencoder(4, latent=12, penalty=penalty, feature_names=names).fit(
            rows, **FIT
        )
        for penalty in (0.0, 0.3)
    }
    used = {penalty: (model.encode(rows) > 0).mean() for penalty, model in fitted.items()}
    assert used[0.3] < 0.6 * used[0.0]
    model = fitted[0.3]
    dead = model.dead_units(rows)
    activity = model.activity(rows)
    assert np.array_equal(dead, np.flatnonzero(activity == 0))
    norms = model.decoder.dense()[0].linear.weight.norm(dim=0).detach().numpy()
    np.testing.assert_allclose(norms, 1, rtol=1e-5)
    z = model.encode(rows)
    for j, name in enumerate(names):
        # The unit that follows a feature most closely is excited by it above all.
        of = [np.corrcoef(z[:, k], rows[:, j])[0, 1] if activity[k] else 0 for k in range(12)]
        (found,) = model.exciting(rows, int(np.argmax(of)), most=1)
        assert found[0] == name
        assert found[1] > 0
    np.testing.assert_allclose(
        model.dictionary(rows)[activity > 0],
        model.encoder.dense()[0].linear.weight.detach().numpy()[activity > 0],
        rtol=1e-4,
        atol=1e-6,
    )
    with pytest.raises(ValueError, match="unit: expected 0 to 11, got 12"):
        model.exciting(rows, 12)


def test_top_k_is_the_most_that_a_row_uses() -> None:
    model = SparseAutoencoder(6, latent=24, hidden=(16,), top_k=3).fit(X, epochs=2, patience=None)
    used = (model.encode(TEST) > 0).sum(1)
    assert used.max() == 3


# masked


def test_a_missing_value_is_hidden_from_fit_and_score_and_imputed_from_the_rest() -> None:
    rng = np.random.default_rng(0)
    holes = events(1500, seed=3)
    holes[rng.random(holes.shape) < 0.1] = np.nan
    holes = holes[~np.isnan(holes).all(1)]
    model = MaskedAutoencoder(6, hidden=(32, 32)).fit(holes, **FIT)
    full = np.nan_to_num(holes, nan=0)
    np.testing.assert_allclose(
        model.scaler.mean.numpy(), np.nanmean(holes, axis=0, dtype=np.float64), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        model.scaler.scale.numpy(), np.nanstd(holes, axis=0, dtype=np.float64), rtol=1e-4
    )
    asked = TEST.copy()
    asked[:, 4] = np.nan  # a + b
    filled = model.impute(asked)
    assert np.array_equal(filled[:, :4], TEST[:, :4])
    left = filled[:, 4] - TEST[:, 4]
    assert left.std() < 0.35 * TEST[:, 4].std()
    scores = model.score(asked)
    assert np.isfinite(scores).all()
    other = asked.copy()
    other[:, 3] = shuffled(asked)[:, 3]
    assert auc(scores, model.score(other)).value > 0.7
    beyond = asked[:1].copy()
    beyond[0, 0] = np.inf
    assert np.isnan(model.impute(beyond)).all()
    # What stands in the place of a missing value is not looked at.
    features = model.score_features(asked)
    assert np.isnan(features[:, 4]).all()
    assert np.isfinite(np.delete(features, 4, axis=1)).all()
    nothing = np.full((1, 6), np.nan, np.float32)
    assert np.isnan(model.score(nothing)).all()
    assert np.isfinite(model.score(full)).all()
    with pytest.raises(ValueError, match=r"X: 1 of 3 rows hold an infinity .* nothing but NaN"):
        model.fit(np.concatenate([TEST[:2], nothing]))
    with pytest.raises(ValueError, match="X: 1 of 2 rows hold a NaN or an infinity"):
        Autoencoder(6).fit(np.concatenate([TEST[:1], nothing]))


def test_the_masks_of_the_score_hide_every_feature_equally_often() -> None:
    for d in (1, 2, 7, 40):
        masks = MaskedAutoencoder(d, rounds=3).masks()
        assert (masks.sum(0) == 3).all()
        if d > 1:
            assert masks.sum(1).max() <= -(-d // min(d, 3))


def test_feature_scores_add_up(family: Model) -> None:
    if isinstance(family, MaskedAutoencoder):
        pairs = [(family.score_features(TEST, kind), kind) for kind in family.kinds]
    else:
        assert isinstance(family, LatentModel)
        pairs = [(family.score_features(TEST), "reconstruction")]
    for found, kind in pairs:
        np.testing.assert_allclose(found.sum(1), family.score(TEST, kind), rtol=1e-4, atol=1e-4)


def test_swapped_values_come_back_with_the_file_whatever_it_promises(tmp_path: Path) -> None:
    model = DenoisingAutoencoder(6, latent=24, hidden=(32,), corruption="swap", level=0.2)
    model.fit(X, epochs=2).save(tmp_path / "m.vael", conformance=TEST[:7])
    again = models.load(tmp_path / "m.vael")
    assert np.array_equal(again.score(TEST, "denoising"), model.score(TEST, "denoising"))


def test_a_frozen_file_has_thresholds_of_its_own_scores_alone(tmp_path: Path) -> None:
    """Its identity says nothing of scores that torch alone computes."""
    model = DenoisingAutoencoder(6, latent=24, hidden=(32,)).fit(X, epochs=2)
    for kind, ours in (("reconstruction", True), ("denoising", False)):
        found = threshold_for(scores=model.score(TEST, kind), fpr=0.1, kind=kind)
        if ours:
            model.save(tmp_path / "m.vael", thresholds=[found])
            continue
        with pytest.raises(ValueError, match="a file of DenoisingAutoencoder does not have"):
            model.save(tmp_path / "n.vael", thresholds=[found])


# linear


def pca(rows: np.ndarray, latent: int) -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's components [latent, d] and reconstruction scores of the standardised rows."""
    PCA = pytest.importorskip("sklearn.decomposition").PCA

    rows = rows.astype(np.float64)
    x = (rows - rows.mean(0)) / rows.std(0)
    found = PCA(latent, svd_solver="full").fit(x)
    back = found.inverse_transform(found.transform(x))
    return found.components_, 0.5 * np.square(back - x).sum(1)


def angles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Sines of the principal angles between the row spaces of a and b."""
    qa, qb = np.linalg.qr(a.T)[0], np.linalg.qr(b.T)[0]
    return np.linalg.svd(qb - qa @ (qa.T @ qb), compute_uv=False)


def linear_rows() -> np.ndarray:
    rng = np.random.default_rng(5)
    mixing = rng.normal(size=(3, 10))
    rows = rng.normal(size=(2000, 3)) @ mixing + 0.3 * rng.normal(size=(2000, 10)) + 7
    return rows.astype(np.float32)


def subspace(model: Autoencoder) -> np.ndarray:
    weight: np.ndarray = model.decoder.dense()[0].linear.weight.detach().numpy().T
    return weight


def test_closed_form_initialisation_is_pca() -> None:
    rows = linear_rows()
    components, scores = pca(rows, 3)
    model = initialise_pca(Autoencoder(10, latent=3, hidden=()), rows)
    assert angles(components, subspace(model)).max() < 1e-4
    np.testing.assert_allclose(model.score(rows), scores, rtol=1e-3, atol=1e-4)
    before = model.score(rows).mean(dtype=np.float64)
    model.partial_fit(rows, lr=1e-4)
    assert abs(model.score(rows).mean(dtype=np.float64) / before - 1) < 1e-4
    for wrong, said in (
        (Autoencoder(10), r"expected hidden=\(\) and no batch norm"),
        (Autoencoder(10, latent=11, hidden=()), "11 latent dimensions, the rows have 10"),
        (model, "it was fitted already"),
    ):
        with pytest.raises(ValueError, match=said):
            initialise_pca(wrong, rows)


def test_streamed_sgd_reaches_the_principal_subspace() -> None:
    rows = linear_rows()
    components, scores = pca(rows, 3)
    model = Autoencoder(10, latent=3, hidden=())
    for _ in range(60):
        model.partial_fit(rows, lr=1e-2, batch_size=200)
    model.fit(rows, epochs=400, lr=1e-2, batch_size=500, patience=None, schedule="cosine")
    assert angles(components, subspace(model)).max() < 1e-3
    assert abs(model.score(rows).mean(dtype=np.float64) / scores.mean() - 1) < 1e-4


# several, small, and in the latent space


def standardised(scores: np.ndarray, normal: np.ndarray) -> np.ndarray:
    low, median, high = np.quantile(normal.astype(np.float64), [0.25, 0.5, 0.75])
    return (scores - median) / (high - low)


def test_an_ensemble_is_the_mean_of_standardised_scores(tmp_path: Path) -> None:
    members = [Autoencoder(6, latent=2).fit(X, epochs=2, seed=seed) for seed in (0, 1)]
    members[0].save(tmp_path / "m.vael")
    ensemble = Ensemble([vaelocity.load(tmp_path / "m.vael"), members[1]], X)
    each = np.stack([standardised(m.score(TEST), m.score(X)) for m in members])
    np.testing.assert_allclose(ensemble.score(TEST), each.mean(0), rtol=1e-3, atol=1e-4)
    assert ensemble.score_members(TEST).shape == (600, 2)
    with pytest.raises(
        ValueError, match="the scores of X by member 0 have an interquartile range of 0"
    ):
        Ensemble([members[0]], X[:1])


def test_an_ensemble_is_scored_by_the_kinds_it_is_told() -> None:
    vae = VAE(6, latent=2, beta=0.1).fit(X, **SHORT)
    masked = MaskedAutoencoder(6, hidden=(16,)).fit(X, **SHORT)
    ensemble = Ensemble([vae, masked], X, kinds=["elbo", None])
    each = [(vae, "elbo"), (masked, "masked")]
    found = np.stack([standardised(m.score(TEST, k), m.score(X, k)) for m, k in each], axis=1)
    np.testing.assert_allclose(ensemble.score_members(TEST), found, rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match="kinds: expected 2, one a member, got 1"):
        Ensemble([vae, masked], X, kinds=["elbo"])
    with pytest.raises(ValueError, match=r"kind: expected one of reconstruction, kl, .* got 'x'"):
        Ensemble([vae], X, kinds=["x"])
    with pytest.raises(TypeError, match="kinds: member 1 is a Ensemble, which has one kind"):
        Ensemble([vae, ensemble], X, kinds=["kl", "kl"])


def test_an_ensemble_comes_back_from_its_folder(tmp_path: Path) -> None:
    members: list[Any] = [VAE(6, latent=2, beta=0.1), MaskedAutoencoder(6, hidden=(8,))]
    for member in members:
        member.fit(X, **SHORT)
    inner = Ensemble(members, X, kinds=["elbo", "masked_error"])
    ensemble = Ensemble([inner, Autoencoder(6, latent=2).fit(X, epochs=2)], X)
    folder = tmp_path / "e"
    ensemble.save(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["0", "1.vael", "ensemble.json"]
    expected = ensemble.score(TEST)
    again = Ensemble.load(folder)
    assert np.array_equal(again.score(TEST), expected)
    assert again.members[0].kinds == ["elbo", "masked_error"]  # type: ignore[attr-defined]
    # A dense member's file is one like any other.
    assert vaelocity.load(folder / "1.vael").kind == "reconstruction"
    again.save(folder)
    assert np.array_equal(Ensemble.load(folder).score(TEST), expected)

    members[0].save(folder / "1.vael")
    with pytest.raises(vaelocity.BundleError, match=r"ensemble\.json: .* 1\.vael is another model"):
        Ensemble.load(folder)
    (folder / "ensemble.json").write_text('{"format": 3}')
    with pytest.raises(vaelocity.BundleError, match="format 3, this version reads up to 2"):
        Ensemble.load(folder)
    (folder / "ensemble.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"ensemble\.json"):
        Ensemble.load(folder)


def test_a_scorer_in_an_ensemble_writes_no_file(tmp_path: Path) -> None:
    model = Autoencoder(6, latent=2).fit(X, epochs=2)
    model.save(tmp_path / "m.vael")
    ensemble = Ensemble([model, vaelocity.load(tmp_path / "m.vael")], X)
    with pytest.raises(TypeError, match="member 1 is a Scorer, which writes no file"):
        ensemble.save(tmp_path / "e")
    assert not (tmp_path / "e").exists()


def test_a_student_gives_the_scores_of_its_teacher_and_freezes(tmp_path: Path) -> None:
    teacher = DenoisingAutoencoder(6, latent=24, hidden=(32,)).fit(X, **FIT)
    student = distill(teacher, X, hidden=(32, 16), **{**FIT, "epochs": 40})
    rows = np.concatenate([TEST, shuffled(TEST)])
    taught, learned = teacher.score(rows), student.score(rows)
    assert np.corrcoef(np.log1p(taught / np.median(teacher.score(X))), learned)[0, 1] > 0.8
    assert auc(student.score(TEST), student.score(shuffled(TEST))).value > 0.75
    path = tmp_path / "student.vael"
    student.save(path)
    assert isinstance(models.load(path), Student)
    frozen = vaelocity.load(path)
    assert frozen.kind == "mu2"
    for isa in _core.available_isas():
        assert np.array_equal(vaelocity.load(path, isa=isa).score(rows), frozen.score(rows)), isa
    np.testing.assert_allclose(frozen.score(rows), learned, rtol=1e-3, atol=1e-4)
    for ask in (student.reconstruct, student.score_features):
        with pytest.raises(TypeError, match="a Student has learned a score alone"):
            ask(rows[:3])
    with pytest.raises(TypeError, match="a Student has learned a score alone"):
        student.decode(rows[:3, :4])
    with pytest.raises(RuntimeError, match=r"trained by distill\(teacher, X\)"):
        student.fit(X)
    masked = MaskedAutoencoder(6, hidden=(32,)).fit(X, epochs=20, batch_size=64, lr=5e-3)
    with pytest.raises(ValueError, match=r"teacher: expected a masked score that is .* not negat"):
        distill(masked, X)


def test_a_teacher_is_asked_in_eval_mode_whatever_mode_it_is_in() -> None:
    teacher = Autoencoder(6, latent=2, hidden=(8,), batch_norm=True).fit(X, epochs=2)
    before = {name: values.clone() for name, values in teacher.state_dict().items()}
    teacher.train()
    distill(teacher, X, epochs=1)
    assert teacher.training
    for name, values in teacher.state_dict().items():
        assert torch.equal(values, before[name]), name


def test_the_latent_reconstruction_is_its_formula() -> None:
    model = Autoencoder(6, latent=2).fit(X, epochs=2)
    z = model.encode(TEST)
    again = model.encode(model.decode(z))
    expected = 0.5 * np.square(z - again).sum(1)
    np.testing.assert_allclose(latent_reconstruction(model, TEST), expected, rtol=1e-2, atol=1e-5)
    broken = TEST[:2].copy()
    broken[0, 0] = np.nan
    assert np.array_equal(np.isnan(latent_reconstruction(model, broken)), [True, False])


def test_the_latent_reconstruction_of_a_wide_code_learns_how_features_belong_together() -> None:
    wide = DenoisingAutoencoder(6, latent=24, hidden=(32,), level=0.2).fit(X, **FIT)
    narrow = Autoencoder(6, latent=2, hidden=(32,)).fit(X, **FIT)
    areas = [
        auc(*(latent_reconstruction(model, rows) for rows in (TEST, shuffled(TEST)))).value
        for model in (wide, narrow)
    ]
    assert areas[0] > 0.75
    # A code of no more numbers than the rows have comes back wherever the row was.
    assert areas[1] < 0.65
