"""Thresholds: they accept what was asked, tell their error, and refuse what cannot be known."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binom

from vaelocity import ScoreHistogram, Threshold, threshold_for
from vaelocity.intervals import clopper_pearson, effective_counts
from vaelocity.threshold import events_needed
from vaelocity.units import LHC_REVOLUTION_HZ, format_rate, lhc_input_rate, parse_rate

Floats = npt.NDArray[np.float32]

N = 2_000_000
SHAPES: dict[str, Callable[[np.random.Generator, int], npt.NDArray[np.float64]]] = {
    "gamma": lambda rng, n: rng.gamma(5, 2, n),
    "exponential": lambda rng, n: rng.exponential(1e-6, n),
    "lognormal": lambda rng, n: rng.lognormal(3, 1, n),
    "pareto": lambda rng, n: 1 + rng.pareto(1.5, n),
    "half the chi-squared of 59 features": lambda rng, n: rng.chisquare(59, n) / 2,
    "negative and positive": lambda rng, n: rng.normal(-3, 10, n),
    "all negative": lambda rng, n: -rng.gamma(5, 2, n),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_achieves_the_asked_rate_within_two_per_cent(shape: str) -> None:
    scores = SHAPES[shape](np.random.default_rng(1), N).astype(np.float32)
    histogram = ScoreHistogram().update(scores)
    for fpr in (1e-2, 1e-3, 1e-4):
        for found in (threshold_for(scores, fpr=fpr), threshold_for(histogram=histogram, fpr=fpr)):
            counted = np.count_nonzero(scores > np.float32(found.value)) / N
            assert counted == found.achieved, "what it says is what it does"
            assert 0.98 * fpr <= counted <= fpr
            assert found.interval[0] < counted < found.interval[1]
            assert found.n == N


@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_the_req_sketch(shape: str) -> None:
    datasketches = pytest.importorskip("datasketches", reason="datasketches is the oracle")
    scores = SHAPES[shape](np.random.default_rng(2), 500_000).astype(np.float32)
    sketch = datasketches.req_floats_sketch(50, True)
    sketch.update(scores)
    histogram = ScoreHistogram().update(scores)
    for fpr in (1e-2, 1e-3, 1e-4):
        found = threshold_for(histogram=histogram, fpr=fpr)
        above = 1 - sketch.get_rank(found.value, True)
        bound = (
            1 - sketch.get_rank_upper_bound(1 - found.achieved, 3) - 1e-9,
            1 - sketch.get_rank_lower_bound(1 - found.achieved, 3) + 1e-9,
        )
        assert bound[0] <= above <= bound[1]
        assert abs(above - found.achieved) <= 0.02 * fpr + 2 / len(scores)


def test_a_narrow_peak_far_from_zero_is_told_not_hidden() -> None:
    # 1e4 +- 1: a bin is a quarter of the spread or more, so the steps of the tail are coarse.
    scores = np.random.default_rng(0).normal(1e4, 1, 10**6).astype(np.float32)
    found = threshold_for(histogram=ScoreHistogram().update(scores), fpr=1e-3)
    assert found.achieved <= 1e-3
    assert found.achieved == np.count_nonzero(scores > np.float32(found.value)) / 10**6
    assert found.achieved + found.ties / 10**6 > 1e-3, "one bin lower is too many"
    exact = threshold_for(scores, fpr=1e-3)
    assert 0.98e-3 < exact.achieved <= 1e-3


def test_from_an_array_it_is_the_lowest_score_that_will_do() -> None:
    scores = np.random.default_rng(0).permutation(1000).astype(np.float32)
    found = threshold_for(scores, fpr=0.02, kind="kl", name="tight", model="abc")
    assert (found.value, found.achieved, found.ties) == (979, 0.02, 1)
    assert (found.kind, found.name, found.model, found.n) == ("kl", "tight", "abc", 1000)
    assert threshold_for(scores, fpr=0.0209).value == 979


def test_ties_are_told() -> None:
    scores = np.repeat(np.arange(10, dtype=np.float32), 100)
    for found in (
        threshold_for(scores, fpr=0.25),
        threshold_for(scores, fpr=0.25, weights=np.full(1000, 0.5)),
        threshold_for(histogram=ScoreHistogram().update(scores), fpr=0.25),
    ):
        assert found.achieved == 0.2
        assert found.ties == 100
        assert scores[scores > found.value].tolist() == [8] * 100 + [9] * 100
        assert "100 tie" in str(found)
    same = threshold_for(np.ones(1000, np.float32), fpr=0.1)
    assert (same.value, same.achieved, same.ties) == (1, 0, 1000)


def test_refuses_to_extrapolate_and_says_how_many_it_takes() -> None:
    scores = np.arange(999, dtype=np.float32)
    expected = r"fpr=0.01 needs at least 1000 held-out scores \(10 above the threshold\), got 999"
    with pytest.raises(ValueError, match=expected):
        threshold_for(scores, fpr=0.01)
    with pytest.raises(ValueError, match=expected):
        threshold_for(histogram=ScoreHistogram().update(scores), fpr=0.01)
    assert threshold_for(np.arange(1000, dtype=np.float32), fpr=0.01).achieved == 0.01
    with pytest.raises(ValueError, match="rate=1 kHz needs at least 400000 held-out scores"):
        threshold_for(scores, rate="1 kHz", input_rate="40 MHz")
    assert threshold_for(scores, fpr=0.001002, least_above=1).achieved == 1 / 999
    assert events_needed(0.01) == 1000
    # The reason why 1 kHz of a 28 MHz input at 10 % takes 2.8 M zero-bias events.
    assert events_needed(1e3 / 28e6, 0.1) == pytest.approx(2.8e6, rel=1e-3)


def test_a_rate_is_a_part_of_the_input_rate() -> None:
    scores = np.random.default_rng(0).gamma(5, 2, 500_000).astype(np.float32)
    found = threshold_for(scores, rate="1 kHz", input_rate="40 MHz")
    assert found.name == "rate=1 kHz"
    assert found.fpr == 1e3 / 40e6
    assert found.rate == found.achieved * 40e6
    assert 0.9e3 < found.rate <= 1e3
    low, high = found.rate_interval or (0, 0)
    assert low < 1e3 < high
    assert "of 40 MHz" in str(found)
    plain = threshold_for(scores, fpr=0.01)
    assert (plain.rate, plain.rate_interval, plain.input_rate) == (None, None, None)
    assert threshold_for(scores, fpr=0.01, input_rate=1000).rate == pytest.approx(10)


def test_contamination_is_a_part_of_the_sample() -> None:
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(0, 1, 9000), rng.normal(20, 1, 1000)]).astype(np.float32)
    found = threshold_for(scores, contamination=0.1)
    assert found.name == "contamination=0.1"
    assert np.array_equal(scores > found.value, np.arange(10000) >= 9000)


def test_a_histogram_brings_its_kind_and_its_model() -> None:
    histogram = ScoreHistogram("kl", "abc").update(np.arange(1000, dtype=np.float32))
    found = threshold_for(histogram=histogram, fpr=0.1)
    assert (found.kind, found.model) == ("kl", "abc")
    with pytest.raises(ValueError, match="kind: got 'mu2', the histogram's is 'kl'"):
        threshold_for(histogram=histogram, fpr=0.1, kind="mu2")
    with pytest.raises(ValueError, match="model: got 'x', the histogram's is 'abc'"):
        threshold_for(histogram=histogram, fpr=0.1, model="x")


# ---- Weights


def test_weights_count_as_copies_do() -> None:
    rng = np.random.default_rng(0)
    scores, times = rng.gamma(5, 2, 5000).astype(np.float32), rng.integers(0, 4, 5000)
    copied = threshold_for(np.repeat(scores, times), fpr=0.02)
    weighted = threshold_for(scores, fpr=0.02, weights=times)
    assert weighted.value == copied.value
    assert weighted.achieved == copied.achieved
    assert weighted.interval[1] - weighted.interval[0] > copied.interval[1] - copied.interval[0]


def test_weights_of_one_change_nothing() -> None:
    scores = np.random.default_rng(0).gamma(5, 2, 20000).astype(np.float32)
    plain = threshold_for(scores, fpr=0.01)
    ones = threshold_for(scores, fpr=0.01, weights=np.full(20000, 3.0))
    assert (ones.value, ones.achieved, ones.ties) == (plain.value, plain.achieved, plain.ties)
    assert ones.interval == pytest.approx(plain.interval, rel=1e-9)


def test_few_heavy_events_are_too_few() -> None:
    scores = np.arange(10000, dtype=np.float32)
    weights = np.ones(10000)
    weights[-5:] = 1000.0
    expected = "fpr=0.25 needs at least 10 effective events above the threshold"
    with pytest.raises(ValueError, match=expected):
        threshold_for(scores, fpr=0.25, weights=weights)
    with pytest.raises(ValueError, match=expected):
        threshold_for(histogram=ScoreHistogram().update(scores, weights), fpr=0.25)
    with pytest.raises(ValueError, match="the weights of 10,000 scores add up to 0"):
        threshold_for(scores, fpr=0.25, weights=np.zeros(10000))


def test_the_weighted_interval_covers() -> None:
    # Weights independent of the score, exponential: the true part above 0 is 2 %.
    rng = np.random.default_rng(3)
    covered, runs = 0, 400
    for _ in range(runs):
        scores = (rng.random(2000) - 0.98).astype(np.float32)
        tail = ScoreHistogram().update(scores, rng.exponential(size=2000)).tail(-1e-45)
        covered += tail.interval[0] <= 0.02 <= tail.interval[1]
    # 95 % or more; four standard deviations of 400 draws below.
    assert covered >= runs * (0.95 - 4 * math.sqrt(0.95 * 0.05 / runs))


# ---- Scores that are no numbers


def test_scores_that_are_not_finite_are_refused_or_counted_as_accepted() -> None:
    scores = np.random.default_rng(0).gamma(5, 2, 10000).astype(np.float32)
    scores[:100] = np.nan
    histogram = ScoreHistogram().update(scores)
    with pytest.raises(ValueError, match="100 of 10000 are NaN or infinite, the first at 0"):
        threshold_for(scores, fpr=0.02)
    with pytest.raises(ValueError, match="100 of 10,000 scores are NaN or infinite"):
        threshold_for(histogram=histogram, fpr=0.02)
    for found in (
        threshold_for(scores, fpr=0.02, not_finite="count"),
        threshold_for(histogram=histogram, fpr=0.02, not_finite="count"),
        threshold_for(scores, fpr=0.02, not_finite="count", weights=np.ones(10000)),
    ):
        accepted = np.count_nonzero(~(scores <= np.float32(found.value)))
        assert accepted / 10000 == found.achieved
        assert 0.0195 <= found.achieved <= 0.02
    for given in ({"scores": scores}, {"histogram": histogram}):
        with pytest.raises(ValueError, match="NaN and infinite scores alone are more than that"):
            threshold_for(**given, fpr=0.005, not_finite="count")


# ---- Arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "fpr, rate, contamination: expected one of them, got 0"),
        ({"fpr": 0.1, "contamination": 0.1}, "expected one of them, got 2"),
        ({"fpr": 0.0}, "fpr: expected a number between 0 and 1, got 0.0"),
        ({"fpr": 1}, "fpr: expected a number between 0 and 1, got 1"),
        ({"contamination": -0.1}, "contamination: expected a number between 0 and 1"),
        ({"rate": 1}, "rate: needs input_rate"),
        ({"rate": "2 kHz", "input_rate": "1 kHz"}, "less than input_rate, got 2 kHz of 1 kHz"),
        ({"rate": "2", "input_rate": "1 kHz"}, "rate: expected a number and one of mHz, Hz"),
        ({"fpr": 0.1, "confidence": 95}, "confidence: expected a number between 0 and 1, got 95"),
        ({"fpr": 0.1, "least_above": 0}, "least_above: expected an int of at least 1, got 0"),
        ({"fpr": 0.1, "not_finite": "drop"}, "not_finite: expected 'refuse' or 'count'"),
        ({"fpr": 0.1, "weights": [1.0]}, "weights: expected numbers of shape"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        threshold_for(np.arange(1000, dtype=np.float32), **arguments)


def test_scores_or_histogram() -> None:
    with pytest.raises(ValueError, match="scores, histogram: expected one of them"):
        threshold_for(fpr=0.1)
    with pytest.raises(ValueError, match="scores, histogram: expected one of them"):
        threshold_for(np.ones(9, np.float32), fpr=0.1, histogram=ScoreHistogram())
    with pytest.raises(ValueError, match="weights: a histogram has its own"):
        threshold_for(histogram=ScoreHistogram(), weights=[1], fpr=0.1)


def test_json_and_back() -> None:
    scores = np.arange(1000, dtype=np.float32)
    found = threshold_for(scores, rate=1, input_rate=50, name="t", model="m", kind="kl")
    assert Threshold.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    old = {name: value for name, value in found.to_dict().items() if name in (
        "name", "kind", "value", "fpr", "achieved", "interval", "n")}  # fmt: skip
    assert Threshold.from_dict(old).value == found.value
    with pytest.raises(ValueError, match="unknown colour"):
        Threshold.from_dict({**old, "colour": "red"})
    with pytest.raises(ValueError, match="no entry of a threshold"):
        Threshold.from_dict({"name": "x"})


# ---- Intervals


@pytest.mark.parametrize(("k", "n"), [(1, 10), (10, 1000), (199, 2_000_000), (10**5, 10**9)])
@pytest.mark.parametrize("confidence", [0.68, 0.95])
def test_clopper_pearson_is_where_the_binomial_tails_are(k: int, n: int, confidence: float) -> None:
    low, high = clopper_pearson(k, n, confidence)
    tail = (1 - confidence) / 2
    assert binom.sf(k - 1, n, low) == pytest.approx(tail, rel=1e-6)
    assert binom.cdf(k, n, high) == pytest.approx(tail, rel=1e-6)


def test_clopper_pearson_at_the_ends() -> None:
    assert clopper_pearson(0, 10)[0] == 0
    assert clopper_pearson(0, 10)[1] == pytest.approx(1 - 0.025**0.1)
    assert clopper_pearson(10, 10) == (pytest.approx(0.025**0.1), 1)
    for bad in ((11, 10), (-1, 10), (0, 0)):
        with pytest.raises(ValueError, match="expected 0 <= count <= n"):
            clopper_pearson(*bad)


def test_effective_counts_of_equal_weights_are_the_counts() -> None:
    count, n = effective_counts(3 * 20, 9 * 20, 3 * 1000, 9 * 1000)
    assert (count, n) == (pytest.approx(20), pytest.approx(1000))
    assert effective_counts(0, 0, 10, 20) == (0, 5)


# ---- Units


@pytest.mark.parametrize(
    ("text", "hz"),
    [("1 kHz", 1e3), ("40MHz", 4e7), (" 2.5e-1 GHz ", 2.5e8), ("3 mHz", 3e-3), ("60/min", 1.0),
     ("86400 /day", 1.0), (7, 7.0), (0.5, 0.5), ("1e+2 Hz", 100.0)],
)  # fmt: skip
def test_rates_with_units(text: float | str, hz: float) -> None:
    assert parse_rate(text) == pytest.approx(hz, rel=1e-15)


@pytest.mark.parametrize("bad", ["1", "kHz", "1 khz", "1 kHz 2", "-1 kHz", "1 parsec", ""])
def test_rates_without_a_unit_are_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="r: expected a number and one of mHz, Hz, kHz"):
        parse_rate(bad, "r")


@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf, "0 Hz", "1e999 Hz", True])
def test_rates_that_are_no_rates_are_refused(bad: float | str) -> None:
    with pytest.raises(ValueError, match="rate: expected a positive number of Hz"):
        parse_rate(bad)


@pytest.mark.parametrize("hz", [1.234e-3, 0.5, 5, 4.2e4, 4e7, 3e9])
def test_a_formatted_rate_is_read_back(hz: float) -> None:
    assert parse_rate(format_rate(hz)) == pytest.approx(hz, rel=1e-3)


def test_lhc_input_rate() -> None:
    assert lhc_input_rate(2544) == 2544 * LHC_REVOLUTION_HZ
    assert lhc_input_rate(2544, 2.0e34, 1.6e34) == pytest.approx(1.25 * 2544 * 11245.6)
    # c over the ring's circumference, LHC design report, chapter 2
    assert pytest.approx(299_792_458 / 26_658.883, rel=2e-5) == LHC_REVOLUTION_HZ
    for bad in ((0,), (3565,), (2.5,), (100, 1.0), (100, None, 1.0), (100, 0.0, 1.0)):
        with pytest.raises(ValueError, match="expected"):
            lhc_input_rate(*bad)
