"""The adapters, held against the conformance suites of the packages whose interfaces they have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra vaelocity[train]")

import vaelocity
from vaelocity import models
from vaelocity.adapters import as_pyod, as_river, as_sklearn

pytestmark = pytest.mark.usefixtures("one_torch_thread")

D = 6
SMALL: dict[str, Any] = {"latent": 2, "hidden": (8,), "epochs": 2}


def events(n: int, odd: int = 0, seed: int = 0) -> np.ndarray:
    """n rows near a plane and then `odd` rows far from it: float64 [n + odd, D]."""
    rng = np.random.default_rng(seed)
    plane = np.random.default_rng(9).normal(size=(2, D))
    rows = rng.normal(size=(n, 2)) @ plane + 0.1 * rng.normal(size=(n, D))
    return np.concatenate([rows, rng.uniform(5, 9, size=(odd, D)) * rng.choice([-1, 1], (odd, D))])


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> vaelocity.Scorer:
    rows = events(600).astype(np.float32)
    model = models.Autoencoder(D, latent=2, hidden=(8,)).fit(rows, epochs=20, progress=False)
    path = tmp_path_factory.mktemp("adapters") / "m.vael"
    held_out = events(500, seed=1).astype(np.float32)
    model.save(path)
    found = vaelocity.load(path).threshold_for(held_out, fpr=0.05)
    model.save(path, thresholds=[found])
    return vaelocity.load(path)


# ---- scikit-learn


def test_scikit_learn_s_own_checks() -> None:
    pytest.importorskip("sklearn")
    from sklearn.utils.estimator_checks import check_estimator

    from vaelocity.adapters.sklearn import OutlierDetector

    with pytest.warns() as caught:  # a skipped check is a warning
        results = check_estimator(OutlierDetector(**SMALL), on_fail=None)
    assert all("skip" in str(warning.message).lower() for warning in caught)
    failed = [each for each in results if each["status"] not in ("passed", "skipped")]
    assert not failed
    assert sum(each["status"] == "passed" for each in results) > 40


@pytest.mark.parametrize("family", ["autoencoder", "vae"])
def test_an_outlier_detector_of_scikit_learn(family: str) -> None:
    pytest.importorskip("sklearn")
    from vaelocity.adapters.sklearn import OutlierDetector

    x = events(450, odd=50)
    detector = OutlierDetector(family, latent=2, hidden=(8,), epochs=20, beta=0.1)
    labels = detector.fit_predict(x)
    assert (labels == -1).sum() == 50
    assert (labels[450:] == -1).mean() > 0.8
    np.testing.assert_array_equal(labels, np.where(detector.decision_function(x) < 0, -1, 1))
    assert (detector.score_samples(x) <= 0).all()
    for wrong in ({"family": "gan"}, {"contamination": 0.7}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected"):
            OutlierDetector(**{**SMALL, **wrong}).fit(x)


def test_a_scorer_in_scikit_learn(scorer: vaelocity.Scorer) -> None:
    pytest.importorskip("sklearn")
    x = events(300, odd=30, seed=2)
    rows = x.astype(np.float32)
    stored = scorer.as_sklearn()
    np.testing.assert_array_equal(stored.predict(x) == -1, scorer.predict(rows))
    np.testing.assert_array_equal(-stored.score_samples(x), scorer.score(rows))
    sample = as_sklearn(scorer, x, contamination=0.2)
    assert (sample.predict(x) == -1).sum() == 66
    model = models.Autoencoder(D, latent=2, hidden=(8,)).fit(rows, epochs=1, progress=False)
    assert (as_sklearn(model, x, 0.2).predict(x) == -1).sum() == 66
    with pytest.raises(ValueError, match="rows: a model needs rows"):
        as_sklearn(model)


# ---- PyOD: what each of its detectors' tests asserts


def test_pyod_s_own_detector_tests() -> None:
    pytest.importorskip("pyod")
    from pyod.utils.data import generate_data
    from sklearn.base import clone
    from sklearn.metrics import roc_auc_score

    from vaelocity.adapters.pyod import Detector

    x, x_test, y, y_test = generate_data(
        n_train=400, n_test=100, n_features=8, contamination=0.1, random_state=42
    )
    detector = Detector(contamination=0.1, latent=2, hidden=(8,), epochs=20).fit(x)
    for attribute in ("decision_scores_", "labels_", "threshold_", "_mu", "_sigma"):
        assert getattr(detector, attribute, None) is not None
    np.testing.assert_equal(len(detector.decision_scores_), len(x))
    assert detector.labels_.sum() == 40
    np.testing.assert_array_equal(detector.predict(x), detector.labels_)
    scores = detector.decision_function(x_test)
    assert scores.shape == y_test.shape
    assert roc_auc_score(y_test, scores) >= 0.8
    assert set(detector.predict(x_test)) <= {0, 1}
    for method in ("linear", "unify"):
        probability, confidence = detector.predict_proba(x_test, method, return_confidence=True)
        assert 0 <= probability.min() <= probability.max() <= 1
        np.testing.assert_allclose(probability.sum(axis=1), 1)
        assert 0 <= confidence.min() <= confidence.max() <= 1
    with pytest.raises(ValueError, match="not a valid probability"):
        detector.predict_proba(x_test, method="something")
    labels, confidence = detector.predict(x_test, return_confidence=True)
    assert labels.shape == confidence.shape == y_test.shape
    rejecting = detector.predict_with_rejection(x_test, c_r=0.1)
    assert set(rejecting) <= {-2, 0, 1}
    assert detector._predict_rank(x_test).max() <= len(x)
    normed = detector._predict_rank(x_test, normalized=True)
    assert 0 <= normed.min() <= normed.max() <= 1
    assert clone(detector).get_params() == detector.get_params()
    with pytest.raises(ValueError, match=r"contamination must be in \(0, 0.5\]"):
        Detector(contamination=0.7)
    np.testing.assert_array_equal(y.shape, detector.labels_.shape)


def test_a_scorer_in_pyod(scorer: vaelocity.Scorer) -> None:
    pytest.importorskip("pyod")
    x = events(270, odd=30, seed=2)
    detector = scorer.as_pyod(x, contamination=0.1)
    np.testing.assert_array_equal(detector.decision_scores_, scorer.score(x.astype(np.float32)))
    assert detector.labels_.sum() == 30
    assert detector.predict_proba(x).shape == (300, 2)
    np.testing.assert_array_equal(as_pyod(scorer, x, 0.1).labels_, detector.labels_)


# ---- river


def dicts(rows: np.ndarray) -> list[dict[str, float]]:
    return [{f"x{j}": float(value) for j, value in enumerate(row)} for row in rows]


def test_river_s_own_checks() -> None:
    pytest.importorskip("river")
    from river import checks

    from vaelocity.adapters.river import Anomaly

    rng = np.random.default_rng(3)
    is_odd = rng.random(600) < 0.05
    rows = np.where(is_odd[:, None], events(0, odd=600), events(600))
    stream = list(zip(dicts(rows), is_odd.tolist(), strict=True))
    model = Anomaly(latent=2, hidden=(8,), warm_up=64, epochs=5)
    ran = 0
    for check in checks.yield_checks(model):
        if "dataset" in (getattr(check, "keywords", None) or {}):
            # river's own data are a download: the same check on this stream
            check.func(model.clone(), dataset=stream)
        else:
            check(model.clone())
        ran += 1
    assert ran > 5


def test_river_learns_and_goes_on_learning() -> None:
    pytest.importorskip("river")
    from vaelocity.adapters.river import Anomaly

    detector = Anomaly(latent=2, hidden=(8,), warm_up=200, epochs=30, batch_size=50)
    stream = dicts(events(600))
    assert detector.score_one(stream[0]) == 0
    for event in stream[:200]:
        detector.learn_one(event)
    normal = np.median([detector.score_one(event) for event in stream[200:300]])
    odd = np.median([detector.score_one(event) for event in dicts(events(0, odd=50))])
    assert odd > 10 * normal
    before = detector.score_one(stream[0])
    for event in stream[200:249]:
        detector.learn_one(event)
    detector.learn_one({**stream[0], "x3": float("nan")})
    assert detector.score_one(stream[0]) == before
    detector.learn_one(stream[249])
    assert detector.score_one(stream[0]) != before
    assert np.isnan(detector.score_one({"x0": 1.0}))
    with pytest.raises(ValueError, match="warm_up: expected at least 2, got 1"):
        Anomaly(warm_up=1)


def test_a_scorer_and_a_model_in_river(scorer: vaelocity.Scorer, tmp_path: Path) -> None:
    pytest.importorskip("river")
    rows = events(100).astype(np.float32)
    frozen = scorer.as_river()
    expected = scorer.score(rows)
    for event, score in zip(dicts(rows), expected, strict=True):
        assert frozen.score_one(event) == score
        frozen.learn_one(event)
    model = models.Autoencoder(D, latent=2).fit(rows, epochs=1, progress=False)
    learning = as_river(model, batch_size=100)
    before = learning.score_one(dicts(rows)[0])
    for event in dicts(rows):
        learning.learn_one(event)
    assert learning.score_one(dicts(rows)[0]) != before


def test_a_threshold_is_of_the_scores_it_was_found_in(tmp_path: Path) -> None:
    rows = events(200).astype(np.float32)
    masked = models.MaskedAutoencoder(D, hidden=(8,)).fit(rows, epochs=2)
    assert as_sklearn(masked, rows).threshold_.kind == "masked"
    models.Autoencoder(D, latent=2).fit(rows, epochs=2).save(tmp_path / "m.vael")
    scorer = vaelocity.load(tmp_path / "m.vael")
    found = as_sklearn(scorer, rows).threshold_
    assert (found.kind, found.model) == ("reconstruction", scorer.identity)
