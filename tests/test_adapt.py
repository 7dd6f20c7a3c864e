"""Following drift: the rate holds where a frozen model loses it, on real streams, and how."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import vaelocity
from vaelocity import ScoreHistogram
from vaelocity.adapt import DecayingScaler, Follower
from vaelocity.bundle import read_bundle
from vaelocity.working_points import store_thresholds

WINDOW = 12
FPR = 0.02

# An office through the seasons, a database server, and another one; times what was asked for.
DRIFTING = {
    "realKnownCause/ambient_temperature_system_failure.csv": 2,
    "realAWSCloudwatch/rds_cpu_utilization_e47b3b.csv": 2,
    "realAWSCloudwatch/rds_cpu_utilization_cc0c53.csv": 3,
}


def stream(data_dir: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Windows [n, WINDOW] of a NAB stream, and which of them touch a labelled anomaly, [n]."""
    with (data_dir / "nab" / "data" / name).open() as file:
        lines = list(csv.reader(file))[1:]
    labelled = json.loads((data_dir / "nab" / "labels" / "combined_windows.json").read_text())
    times = np.array([line[0] for line in lines])
    values = np.array([float(line[1]) for line in lines], np.float32)
    anomalous = np.zeros(len(values), bool)
    for start, stop in labelled[name]:
        anomalous |= (times >= start[:19]) & (times <= stop[:19])
    view = np.lib.stride_tricks.sliding_window_view
    return view(values, WINDOW).copy(), view(anomalous, WINDOW).any(axis=1)


@pytest.mark.parametrize(("name", "bound"), DRIFTING.items())
def test_the_rate_stays_near_what_was_asked_where_a_frozen_model_drifts_away(
    name: str, bound: float, data_dir: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torch", reason="needs the extra vaelocity[train]")
    from vaelocity import models

    rows, anomalous = stream(data_dir, name)
    first, second = len(rows) // 4, len(rows) * 45 // 100
    training, held = (
        part[~label]
        for part, label in (
            (rows[:first], anomalous[:first]),
            (rows[first:second], anomalous[first:second]),
        )
    )
    later = rows[second:][~anomalous[second:]]
    model = models.Autoencoder(WINDOW, latent=3, hidden=(8,))
    model.fit(training, epochs=10, batch_size=128, progress=False)
    path = tmp_path / "m.vael"
    model.save(path)
    scorer = vaelocity.load(path)
    threshold = scorer.threshold_for(held, fpr=FPR, least_above=5, name="watch")
    store_thresholds(path, [threshold], histogram=scorer.histogram(held))

    follower = Follower.load(path, half_life=500, threshold="watch")
    accepted = np.concatenate(
        [follower.predict(later[at : at + 64])[1] for at in range(0, len(later), 64)]
    )
    frozen = scorer.predict(later, threshold).mean()
    assert frozen > 5 * FPR, "the frozen model's rate is more than five times what was asked"
    # Measured: 1.4, 1.0 and 2.4 times what was asked; the last one jumps, and following is late.
    assert accepted.mean() < bound * FPR
    assert accepted.mean() < frozen / 5
    assert accepted.mean() > FPR / 2
    assert follower.threshold.fpr == FPR
    assert follower.threshold.name == "watch"


# ---- The scaler


def weighted(rows: np.ndarray, half_life: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation by their definition, of rows after endless rows of mean 1, deviation 2."""
    decay = 2 ** (-1 / half_life)
    weights = (1 - decay) * decay ** np.arange(len(rows) - 1, -1, -1)
    old = decay ** len(rows)
    mean = old * 1 + weights @ rows
    second = old * (1 + 4) + weights @ rows**2
    return mean, np.sqrt(second - mean**2)


def test_the_scaler_is_its_definition_whatever_the_batches() -> None:
    rows = np.random.default_rng(0).normal(3, 5, size=(1000, 2))
    mean, scale = weighted(rows, 200)
    for size in (1, 7, 1000):
        scaler = DecayingScaler([1, 1], [2, 2], 200)
        for at in range(0, 1000, size):
            scaler.update(rows[at : at + size])
        assert scaler.mean == pytest.approx(mean, rel=1e-12)
        assert scaler.scale == pytest.approx(scale, rel=1e-12)


def test_the_scaler_brings_drifted_rows_back() -> None:
    rng = np.random.default_rng(0)
    scaler = DecayingScaler([1, -5], [2, 0.5], 100)
    assert np.allclose(scaler.transform(np.array([[4.0, 7]])), [[4, 7]], rtol=1e-6)
    scaler.update(rng.normal([10, 20], [4, 5], size=(5000, 2)))
    fresh = rng.normal([10, 20], [4, 5], size=(20_000, 2))
    back = scaler.transform(fresh)
    assert back.dtype == np.float32
    assert back.mean(axis=0) == pytest.approx([1, -5], abs=0.5)
    assert back.std(axis=0) == pytest.approx([2, 0.5], rel=0.2)


def test_rows_without_a_number_teach_nothing() -> None:
    scaler = DecayingScaler([0, 0], [1, 1], 10)
    scaler.update(np.array([[np.nan, 5.0], [np.inf, 5.0]]))
    assert scaler.mean.tolist() == [0, 0]
    assert np.isnan(scaler.transform(np.array([[np.nan, 1.0]]))[0, 0])
    scaler.update(np.ones((10_000, 2)))
    assert (scaler.scale > 0).all(), "a constant feature is not divided by 0"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0], [1, 1], 5), "expected one shape"),
        (([0], [0], 5), "the scale above 0"),
        (([np.nan], [1], 5), "expected finite numbers"),
        (([0], [1], 0), "half_life: expected a positive number"),
        (([0], [1], np.nan), "half_life: expected a positive number"),
    ],
)
def test_scalers_that_cannot_be(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        DecayingScaler(*arguments)


# ---- The histogram


def test_decay_multiplies_weights_and_forgets() -> None:
    scores = np.random.default_rng(0).gamma(5, 2, 3000).astype(np.float32)
    scores[0] = np.nan
    weights = np.random.default_rng(1).random(3000)
    whole = ScoreHistogram().update(scores, weights)
    halved = whole.copy().decay(0.5)
    assert halved.tail(9).fraction == pytest.approx(whole.tail(9).fraction, rel=1e-12)
    assert halved.tail(9).total == pytest.approx(whole.tail(9).total / 2, rel=1e-12)
    assert halved.tail(9).interval == pytest.approx(whole.tail(9).interval, rel=1e-9)
    gone = halved.decay(1e-40)
    assert gone.n == 0
    assert gone.n_nan == 0
    later = gone.update(scores + 100)
    assert later.tail(50).fraction == 1
    assert later.n == 3000
    plain = ScoreHistogram().update(scores[1:]).decay(0.25)
    assert plain.tail(0).total == 2999 / 4
    with pytest.raises(ValueError, match="factor: expected a number from 0 to 1, got 2"):
        whole.decay(2)


def test_bins_out_of_use_become_free() -> None:
    histogram = ScoreHistogram()
    for i in range(300):
        histogram.decay(0.5).update(np.full(10, 1.2**i, np.float32))
    assert len(histogram.steps().edges) <= 110  # 2^-100 is 1e-30


# ---- The follower


def rows_of(n: int, seed: int, shift: float = 0.0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=(n, 5)) + shift).astype(np.float32)


@pytest.fixture
def path(make_bundle: Callable[..., Path]) -> Path:
    path = make_bundle([5, 8, 2])
    scorer = vaelocity.load(path)
    threshold = scorer.threshold_for(rows_of(4000, 1), fpr=0.05, input_rate=100, name="t")
    store_thresholds(path, [threshold], histogram=scorer.histogram(rows_of(4000, 1)))
    return path


def test_the_first_batch_is_decided_as_by_the_frozen_model(path: Path) -> None:
    scorer = vaelocity.load(path)
    rows = rows_of(500, 2)
    scores, accepted = Follower.load(path, 1000).predict(rows)
    assert scores == pytest.approx(scorer.score(rows), rel=1e-4)
    assert np.array_equal(accepted, scores > np.float32(scorer.thresholds["t"].value))


def test_a_stream_without_drift_keeps_its_rate_and_with_drift_gets_it_back(path: Path) -> None:
    scorer = vaelocity.load(path)
    follower = Follower.load(path, half_life=2000)
    calm = [follower.predict(rows_of(500, seed))[1].mean() for seed in range(10, 40)]
    assert np.mean(calm) == pytest.approx(0.05, abs=0.01)
    drifted = [rows_of(500, seed, 0.02 * (seed - 40)) for seed in range(40, 140)]
    found = [follower.predict(rows)[1].mean() for rows in drifted]
    assert np.mean([scorer.predict(rows, "t").mean() for rows in drifted[-20:]]) > 0.2
    assert np.mean(found[-20:]) == pytest.approx(0.05, abs=0.02)
    assert follower.threshold.input_rate == 100
    assert follower.threshold.model == scorer.identity
    assert follower.scaler.mean == pytest.approx(drifted[-1].mean(axis=0), abs=1)


def test_anomalies_do_not_teach_the_scaler(path: Path) -> None:
    follower = Follower.load(path, half_life=2000)
    before = follower.scaler.mean
    _, accepted = follower.predict(rows_of(100, 3, 50.0))
    assert accepted.all()
    assert np.array_equal(follower.scaler.mean, before)


def test_too_little_remembered_leaves_the_threshold(path: Path) -> None:
    scorer = vaelocity.load(path)
    scaler = Follower.load(path, half_life=20).scaler
    follower = Follower(scorer, scorer.thresholds["t"], 20, scaler)
    _, accepted = follower.predict(0.5 * rows_of(10, 3))
    assert not accepted.any()
    assert follower.threshold == scorer.thresholds["t"]


def test_too_many_accepted_raise_the_threshold_above_all_that_is_remembered(path: Path) -> None:
    scorer = vaelocity.load(path)
    scaler = Follower.load(path, half_life=20).scaler
    follower = Follower(scorer, scorer.thresholds["t"], 20, scaler)
    scores, accepted = follower.predict(rows_of(10, 3, 50.0))
    assert accepted.all()
    assert follower.wanted == 0
    assert follower.threshold.value >= scores.max()
    assert follower.threshold.fpr == 0.05
    assert not follower.predict(rows_of(10, 3, 50.0))[1].any()


@pytest.mark.parametrize("growth", [1.0005, 1.002, 0.9999])
def test_the_long_run_rate_is_held_whatever_the_scores_do(path: Path, growth: float) -> None:
    """Rows that grow for ever: the histogram alone would be late for ever."""
    follower = Follower.load(path, half_life=400)
    # The scaler would take the growth away: here the threshold is on its own.
    follower.scaler.update = lambda rows: None  # type: ignore[method-assign]
    rng = np.random.default_rng(0)
    accepted = []
    for i in range(300):
        rows = rng.normal(size=(50, 5)) * growth ** (50 * i)
        accepted.append(follower.predict(rows.astype(np.float32))[1])
    assert np.mean(accepted[40:]) == pytest.approx(0.05, rel=0.1)


def test_a_threshold_of_another_model_is_refused(
    path: Path, make_bundle: Callable[..., Path]
) -> None:
    other = vaelocity.load(make_bundle([5, 8, 2], seed=5))
    scaler = Follower.load(path, 20).scaler
    with pytest.raises(ValueError, match="t is for model"):
        Follower(other, vaelocity.load(path).thresholds["t"], 20, scaler)
    foreign = other.histogram(rows_of(10, 0))
    scorer = vaelocity.load(path)
    with pytest.raises(ValueError, match="merge: scores of another model"):
        Follower(scorer, scorer.thresholds["t"], 20, scaler, foreign)
    with pytest.raises(ValueError, match=r"one of the file's \('t'\), got 'x'"):
        Follower.load(path, 20, threshold="x")
    assert read_bundle(path)[0]["thresholds"][0]["name"] == "t"


def test_partial_fit_is_one_more_epoch() -> None:
    pytest.importorskip("torch", reason="needs the extra vaelocity[train]")
    from vaelocity import models

    one, other = (models.VAE(5, latent=2, hidden=(8,)) for _ in range(2))
    one.fit(rows_of(500, 0), epochs=2, progress=False)
    other.fit(rows_of(500, 0), epochs=1, progress=False)
    other.partial_fit(rows_of(500, 0), progress=False)
    assert np.array_equal(one.score(rows_of(50, 1)), other.score(rows_of(50, 1)))
    scaled = other.scaler.mean.clone()
    before = other.score(rows_of(500, 9, 1.0)).mean()
    for seed in range(10):
        other.partial_fit(rows_of(500, seed, 1.0), progress=False, batch_size=64, lr=1e-2)
    assert other.score(rows_of(500, 9, 1.0)).mean() < before, "it learns the new rows"
    assert other.history["epoch"] == list(range(1, 13))
    assert (other.scaler.mean == scaled).all()
