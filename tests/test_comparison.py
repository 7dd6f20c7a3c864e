"""Two models on the same events: counts, correlations and disagreements against brute force."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vaelocity.comparison import Comparison
from vaelocity.histogram import ScoreHistogram
from vaelocity.histogram_tail import parts_from


def pair(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores of two models that agree roughly, on scales of their own."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=n)
    live = np.exp(truth + 0.3 * rng.normal(size=n)).astype(np.float32)
    shadow = (100 * np.exp(2 * (truth + 0.3 * rng.normal(size=n)))).astype(np.float32)
    return live, shadow


def compared(live: np.ndarray, shadow: np.ndarray, size: int, **more) -> Comparison:
    cuts = (float(np.quantile(live, 0.99)), float(np.quantile(shadow, 0.98)))
    comparison = Comparison(cuts, **more)
    for at in range(0, len(live), size):
        part = slice(at, at + size)
        comparison.update(live[part], shadow[part], lambda i, at=at: {"event": at + i})
    return comparison


@pytest.mark.parametrize("size", [70, 20_000])
def test_decisions_are_counted_as_by_hand(size: int) -> None:
    live, shadow = pair(20_000)
    live[5] = np.nan
    comparison = Comparison((3.0, 900.0))
    for at in range(0, len(live), size):
        comparison.update(live[at : at + size], shadow[at : at + size], lambda i: {})
    a, b = ~(live <= 3), ~(shadow <= 900)
    found = comparison.decisions()
    assert found is not None
    assert {name: share.events for name, share in found.items()} == {
        "live": a.sum(), "shadow": b.sum(), "both": (a & b).sum(), "only_live": (a & ~b).sum(),
        "only_shadow": (~a & b).sum(), "neither": (~a & ~b).sum(),
    }  # fmt: skip
    assert 0 < (a & b).sum() < a.sum()
    low, high = found["both"].interval
    assert low < found["both"].fraction == (a & b).mean() < high
    assert comparison.summary()["jaccard"] == (a & b).sum() / (a | b).sum()
    assert comparison.n == 20_000


@pytest.mark.parametrize("size", [110, 30_000])
def test_correlations_and_quantiles(size: int) -> None:
    stats = pytest.importorskip("scipy.stats", reason="the oracle")
    live, shadow = pair(30_000)
    live[:3] = [np.nan, 0.0, -1.0]
    shadow[7] = np.finfo(np.float32).max
    found = compared(live, shadow, size).summary()
    used = (live > 0) & (shadow > 0)
    exact = np.corrcoef(np.log10(live[used]), np.log10(shadow[used].astype(np.float64)))[0, 1]
    assert found["correlation"] == pytest.approx(exact, rel=1e-9)
    assert found["correlation_events"] == used.sum() == 30_000 - 3
    whole = ~np.isnan(live)
    ranks = stats.spearmanr(live[whole], shadow[whole]).statistic
    assert found["rank_correlation_events"] == 4096
    assert found["rank_correlation"] == pytest.approx(ranks, abs=0.02)
    for entry in found["quantiles"]:
        exact = np.nanquantile(live, entry["q"], method="inverted_cdf")
        assert exact <= entry["live"] <= exact * 1.0005 + 1e-9
    small = compared(live[100:400], shadow[100:400], size).summary()
    ranks = stats.spearmanr(live[100:400], shadow[100:400]).statistic
    assert small["rank_correlation"] == pytest.approx(ranks, rel=1e-9)
    ties = Comparison((None, None)).update(
        np.float32([1, 1, 2, 3]), np.float32([1, 2, 2, 2]), lambda i: {}
    )
    ranks = stats.spearmanr([1, 1, 2, 3], [1, 2, 2, 2]).statistic
    assert ties.summary()["rank_correlation"] == pytest.approx(ranks, rel=1e-9)


def test_the_sample_is_drawn_evenly() -> None:
    """Of 100 events 20 are drawn; in 100 drawings each of them is drawn about 20 times."""
    times = np.zeros(100)
    scores = np.arange(1, 101, dtype=np.float32)
    for seed in range(100):
        comparison = Comparison((None, None), sample=20, seed=seed)
        for at in range(0, 100, 9):
            comparison.update(scores[at : at + 9], scores[at : at + 9], lambda i: {})
        times[comparison._sample._pairs[0].astype(int) - 1] += 1
    assert times.sum() == 100 * 20
    assert times.min() > 20 - 5 * 4
    assert times.max() < 20 + 5 * 4


@pytest.mark.parametrize("size", [13, 5000])
def test_the_largest_disagreements_are_those_of_all_events(size: int) -> None:
    live, shadow = pair(5000)
    rare = {17: (1e4, 50.0), 2600: (0.5, 1e9), 4990: (1e5, 70.0)}
    for i, (a, b) in rare.items():
        live[i], shadow[i] = a, b
    comparison = compared(live, shadow, size, keep=5)
    worst = comparison.disagreements()
    assert {one.event["event"] for one in worst[:3]} == set(rare)
    for one in worst:
        i = one.event["event"]
        assert one.scores == (live[i], shadow[i])
        parts = (np.mean(live >= live[i]), np.mean(shadow >= shadow[i]))
        assert one.parts == pytest.approx(parts, rel=0.05)
        assert one.decades == pytest.approx(abs(np.log10(one.parts[0] / one.parts[1])))
    decades = [one.decades for one in worst]
    assert decades == sorted(decades, reverse=True)
    assert len(worst) == 5


def test_what_cannot_be_said_is_none_and_all_of_it_is_json() -> None:
    empty = Comparison((1.0, 2.0))
    assert json.loads(json.dumps(empty.summary(), allow_nan=False))["decisions"] is None
    nothing = np.full(3, np.nan, np.float32)
    found = Comparison((1.0, None)).update(nothing, nothing, lambda i: {"i": i}).summary()
    json.dumps(found, allow_nan=False)
    assert (found["events"], found["decisions"], found["correlation"]) == (3, None, None)
    assert found["rank_correlation"] is None
    assert found["quantiles"] == found["disagreements"] == []
    one = Comparison((1.0, 1.0)).update(nothing, np.float32([0, 1, 2]), lambda i: {"i": i})
    json.dumps(one.summary(), allow_nan=False)
    assert one.summary()["disagreements"][0]["scores"][0] is None
    assert Comparison((1.0, 1.0)).update(nothing[:0], nothing[:0], dict).decisions() is None
    with pytest.raises(ValueError, match=r"expected one shape \(n,\), got \(3,\) and \(2,\)"):
        one.update(nothing, nothing[:2], lambda i: {})


def test_parts_are_those_of_the_scores_in_their_bins_and_above() -> None:
    scores = np.float32([-2, -1, 0, 0.5, 1, 1, 2, 4, np.inf, np.nan])
    steps = ScoreHistogram().update(scores).steps()
    parts = parts_from(steps, scores)
    at_least = [(~(scores < score)).sum() for score in scores[:-1]] + [1]
    np.testing.assert_allclose(parts, np.array(at_least) / 10)
    assert parts_from(ScoreHistogram().update(scores[:4]).steps(), np.float32([3])) == [0.25]
