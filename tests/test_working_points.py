"""Thresholds in model files: the identity, what is refused, and how the scorer uses them."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import vaelocity
from vaelocity import BundleError, ScoreHistogram, Threshold
from vaelocity.bundle import bundle_bytes, parse_bundle, read_bundle, write_bundle
from vaelocity.bundle_parts import get_histogram, get_reference, put_histogram, put_reference
from vaelocity.drift import Reference
from vaelocity.identity import identity_of
from vaelocity.working_points import store_thresholds, working_points

MakeBundle = Callable[..., Path]


def rows(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 5)).astype(np.float32)


@pytest.fixture
def model(make_bundle: MakeBundle) -> Path:
    return make_bundle([5, 8, 2], gaussian=True)


@pytest.fixture
def scorer(model: Path) -> vaelocity.Scorer:
    return vaelocity.load(model)


# ---- Identity


def test_identity_does_not_change_with_what_is_stored_beside_the_model(
    model: Path, scorer: vaelocity.Scorer
) -> None:
    before, fingerprint = scorer.identity, scorer.fingerprint
    threshold = scorer.threshold_for(rows(1000), fpr=0.1, name="tight")
    store_thresholds(model, [threshold], histogram=scorer.histogram(rows(1000)))
    after = vaelocity.load(model)
    assert before is not None
    assert len(before) == 64
    assert after.identity == before
    assert after.fingerprint != fingerprint
    assert np.array_equal(after.score(rows(50)), scorer.score(rows(50)))


def test_identity_changes_with_every_number_and_name_that_a_score_depends_on(model: Path) -> None:
    metadata, tensors = read_bundle(model)
    known = {metadata["identity"]}
    conformance = set(metadata["conformance"]["scores"].values())
    for name, array in tensors.items():
        if name.startswith("conformance"):
            continue
        changed = array.copy()
        changed.flat[-1] = np.nextafter(changed.flat[-1], np.float32(9))
        known.add(identity_of(metadata, {**tensors, name: changed}))
    assert len(known) == 1 + len(tensors) - 1 - 2 * len(conformance)
    for change in (
        {"features": ["a", *metadata["features"][1:]]},
        {"score": {**metadata["score"], "beta": 0.5}},
        {"encoder": [{**metadata["encoder"][0], "activation": "tanh"}, *metadata["encoder"][1:]]},
    ):
        known.add(identity_of({**metadata, **change}, tensors))
    assert len(known) == 4 + len(tensors) - 1 - 2 * len(conformance)
    same = {**metadata, "score": {**metadata["score"], "kind": "mu2"}, "provenance": {"seed": 1}}
    assert identity_of(same, tensors) == metadata["identity"]


def test_identity_is_that_of_the_trained_model_and_stays_through_torch(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra vaelocity[train]")
    from vaelocity import models

    module = models.VAE(5, latent=2, hidden=(8,), batch_norm=True)
    module.fit(rows(500), epochs=1, progress=False)
    first, second = tmp_path / "a.vael", tmp_path / "b.vael"
    module.save(first)
    scorer = vaelocity.load(first, kind="kl")
    tight = scorer.threshold_for(rows(1000, 2), fpr=0.1, name="tight")
    module.save(first, thresholds=[tight], histograms=[scorer.histogram(rows(1000, 2))])
    again = models.load(first)
    assert again.thresholds == [tight]
    assert again.histograms["kl"] == scorer.histogram(rows(1000, 2))
    again.save(second)
    assert vaelocity.load(second).identity == scorer.identity
    assert vaelocity.load(second, kind="kl").thresholds == {"tight": tight}
    again.fit(rows(500), epochs=1, progress=False)
    assert (again.thresholds, again.histograms) == ([], {})
    with pytest.raises(ValueError, match=r"threshold tight: it is for model .* file holds model"):
        again.save(second, thresholds=[tight])
    with pytest.raises(ValueError, match="histogram: it is of model"):
        again.save(second, histograms=[scorer.histogram(rows(1000, 2))])
    assert vaelocity.load(second).identity == scorer.identity, "nothing was written"


def test_fit_stores_how_the_features_were_distributed(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra vaelocity[train]")
    from vaelocity import models

    module = models.Autoencoder(5, latent=2, hidden=(8,)).fit(rows(500), epochs=1, progress=False)
    path = tmp_path / "m.vael"
    module.save(path)
    stored, expected = get_reference(*read_bundle(path)), Reference.of(rows(500))
    assert stored is not None
    for name, array in expected.to_arrays().items():
        assert np.array_equal(stored.to_arrays()[name], array), name
    models.load(path).save(path)
    assert get_reference(*read_bundle(path)) is not None


# ---- What is refused


def test_a_threshold_of_another_model_is_refused_everywhere(
    make_bundle: MakeBundle, model: Path, scorer: vaelocity.Scorer
) -> None:
    other = vaelocity.load(make_bundle([5, 8, 2], gaussian=True, seed=7))
    foreign = other.threshold_for(rows(1000), fpr=0.1, name="tight")
    before = model.read_bytes()
    with pytest.raises(ValueError, match=f"tight is for model {other.identity}"):
        store_thresholds(model, [foreign])
    with pytest.raises(ValueError, match=f"tight is for model {other.identity}"):
        scorer.predict(rows(3), foreign)
    with pytest.raises(ValueError, match="histogram: it is of model"):
        store_thresholds(model, [], histogram=other.histogram(rows(100)))
    metadata, tensors = read_bundle(model)
    with pytest.raises(BundleError, match="threshold tight: it is for model"):
        bundle_bytes({**metadata, "thresholds": [foreign.to_dict()]}, tensors)
    assert model.read_bytes() == before
    mine = scorer.threshold_for(rows(1000), fpr=0.1)
    assert np.array_equal(scorer.predict(rows(99), mine), scorer.predict(rows(99), mine.value))


def test_a_threshold_of_another_kind_is_refused(model: Path, scorer: vaelocity.Scorer) -> None:
    mu2 = vaelocity.load(model, kind="mu2").threshold_for(rows(1000), fpr=0.1, name="t")
    with pytest.raises(ValueError, match="t is for mu2 scores, these are reconstruction"):
        scorer.predict(rows(3), mu2)
    with pytest.raises(ValueError, match="t is for speed scores, the model has reconstruction, kl"):
        store_thresholds(model, [replace(mu2, kind="speed")])
    with pytest.raises(ValueError, match="t more than once for mu2"):
        store_thresholds(model, [mu2, mu2])


def test_a_file_whose_parts_do_not_fit_is_refused(model: Path, scorer: vaelocity.Scorer) -> None:
    store_thresholds(
        model, [scorer.threshold_for(rows(1000), fpr=0.1)], histogram=scorer.histogram(rows(100))
    )
    metadata, tensors = read_bundle(model)
    put_reference(metadata, tensors, Reference.of(rows(100)))
    data = bundle_bytes(metadata, tensors)
    assert parse_bundle(data)[0] == metadata
    entry = metadata["thresholds"][0]
    names = metadata["score_histograms"]["reconstruction"]
    wrong_counts = {**tensors, names["counts"]: tensors[names["counts"]][:-1]}
    unordered = {**tensors, names["bins"]: tensors[names["bins"]][::-1]}
    narrow = {**tensors, "drift.mode": np.zeros(3, np.float32)}
    for change, arrays, message in (
        ({"thresholds": [entry, entry]}, tensors, "more than once for reconstruction"),
        ({"thresholds": [{**entry, "colour": 1}]}, tensors, "unknown colour"),
        ({"thresholds": [{"name": "x"}]}, tensors, "no entry of a threshold"),
        ({}, wrong_counts, "score_histograms: reconstruction: histogram: the arrays are not"),
        ({}, unordered, "the bins do not rise"),
        ({"score_histograms": {"kl": {**names, "bins": "no"}}}, tensors, "tensor no is missing"),
        ({"drift": {"edges": "drift.edges"}}, tensors, "drift: expected the shapes"),
        ({}, narrow, "drift: expected the shapes"),
    ):
        with pytest.raises(BundleError, match=message):
            bundle_bytes({**metadata, **change}, arrays)


def test_an_identity_that_is_not_the_files_is_refused(model: Path) -> None:
    metadata, tensors = read_bundle(model)
    data = bundle_bytes(metadata, tensors)
    forged = metadata["identity"][::-1]
    zeroed = data.replace(metadata["identity"].encode(), forged.encode())
    at = zeroed.index(b'"checksum":"sha256:') + len(b'"checksum":"sha256:')
    zeroed = zeroed[:at] + b"0" * 64 + zeroed[at + 64 :]
    sealed = zeroed[:at] + hashlib.sha256(zeroed).hexdigest().encode() + zeroed[at + 64 :]
    with pytest.raises(BundleError, match="identity: not that of the layers and preprocessing"):
        parse_bundle(sealed)


def test_a_file_without_identity_is_read_and_gets_one(
    model: Path, scorer: vaelocity.Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata, tensors = read_bundle(model)
    threshold = scorer.threshold_for(rows(1000), fpr=0.1).to_dict()
    old = {name: threshold[name] for name in (
        "name", "kind", "value", "fpr", "achieved", "interval", "n")}  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr("vaelocity.bundle.owned", lambda found, _: {**found, "thresholds": [old]})
        write_bundle(model, metadata, tensors)
    older = vaelocity.load(model)
    assert older.identity is None
    assert older.predict(rows(50)).tolist() == scorer.predict(rows(50), old["value"]).tolist()
    store_thresholds(model, [])
    assert vaelocity.load(model).identity == metadata["identity"]
    assert vaelocity.load(model).thresholds["fpr=0.1"].model == metadata["identity"]


# ---- Use


def test_thresholds_by_name(model: Path, scorer: vaelocity.Scorer) -> None:
    held = rows(5000, seed=1)
    points = working_points(
        {"loose": "5 kHz", "tight": 0.002},
        scorer.score(held),
        input_rate="100 kHz",
        kind=scorer.kind,
        model=scorer.identity,
    )
    assert [point.name for point in points] == ["loose", "tight"]
    assert [point.achieved for point in points] == [0.05, 0.002]
    store_thresholds(model, points)
    again = vaelocity.load(model)
    assert again.thresholds == {"loose": points[0], "tight": points[1]}
    scores = again.score(held)
    for point in points:
        accepted = again.predict(held, point.name)
        assert np.array_equal(accepted, scores > np.float32(point.value))
        assert np.array_equal(accepted, again.predict(held, point))
    assert np.array_equal(again.predict(held), again.predict(held, "loose"))
    assert vaelocity.load(model, kind="mu2").thresholds == {}
    with pytest.raises(ValueError, match=r"one of the file's \('loose', 'tight'\), got 'medium'"):
        again.predict(held, "medium")
    with pytest.raises(ValueError, match=r"one of the file's \(none\), got 'x'"):
        scorer.predict(held, "x")


def test_replacing_and_putting_in_front(model: Path, scorer: vaelocity.Scorer) -> None:
    def point(name: str, fpr: float) -> Threshold:
        return scorer.threshold_for(rows(1000), fpr=fpr, name=name)

    store_thresholds(model, [point("a", 0.1), point("b", 0.2)])
    store_thresholds(model, [point("a", 0.3), point("c", 0.4)])
    found = vaelocity.load(model).thresholds
    assert [(t.name, t.fpr) for t in found.values()] == [("a", 0.3), ("b", 0.2), ("c", 0.4)]
    store_thresholds(model, [point("c", 0.5)], first=True)
    found = vaelocity.load(model).thresholds
    assert [(t.name, t.fpr) for t in found.values()] == [("c", 0.5), ("a", 0.3), ("b", 0.2)]


def test_errors_of_points_name_the_point() -> None:
    with pytest.raises(ValueError, match=r"tight: fpr=1e-05 needs at least 1000000 held-out"):
        working_points({"loose": 0.1, "tight": 1e-5}, np.arange(1000, dtype=np.float32))
    with pytest.raises(ValueError, match="loose: rate: needs input_rate"):
        working_points({"loose": "1 Hz"}, np.arange(1000, dtype=np.float32))


def test_the_histogram_comes_back_and_gives_the_threshold(
    model: Path, scorer: vaelocity.Scorer
) -> None:
    histogram = scorer.histogram(rows(5000))
    store_thresholds(model, [], histogram=histogram)
    stored = get_histogram(*read_bundle(model), "reconstruction")
    assert stored == histogram
    assert get_histogram(*read_bundle(model), "kl") is None
    found = vaelocity.threshold_for(histogram=stored, fpr=0.01)
    assert (found.kind, found.model) == ("reconstruction", scorer.identity)
    weighted = ScoreHistogram("reconstruction").update(scorer.score(rows(100)), np.arange(100) / 3)
    metadata, tensors = read_bundle(model)
    put_histogram(metadata, tensors, weighted)
    metadata, tensors = parse_bundle(bundle_bytes(metadata, tensors))
    weighted.model = scorer.identity
    assert get_histogram(metadata, tensors, "reconstruction") == weighted
    put_histogram(metadata, tensors, histogram)
    assert "histogram.reconstruction.sums" not in tensors, "the old arrays are gone"
    with pytest.raises(ValueError, match="does not say of which kind"):
        put_histogram(metadata, tensors, ScoreHistogram())


def test_importing_vaelocity_imports_numpy_alone() -> None:
    code = (
        "import sys, vaelocity, vaelocity.drift, vaelocity.overlap\n"
        "heavy = {'torch', 'scipy', 'pyarrow', 'safetensors', 'typer', 'rich', 'triton'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
