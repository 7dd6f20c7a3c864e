"""Drift and faults: what was put in is found, and what is normal is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ks_2samp

import vaelocity
from vaelocity import ScoreHistogram
from vaelocity.drift import (
    BINS,
    MAJOR_PSI,
    MOST_ROWS,
    Channel,
    DriftMonitor,
    Reference,
    ks,
    psi,
    score_drift,
)
from vaelocity.faults import FAULTS, inject, rate_changes
from vaelocity.intervals import clopper_pearson

NAMES = ["wide", "positive", "padded", "counts", "constant"]


def events(n: int, seed: int = 0) -> np.ndarray:
    """Five kinds of channels: normal, exponential, 99 % zeros, small whole numbers, always 2."""
    rng = np.random.default_rng(seed)
    padded = np.where(rng.random(n) < 0.99, 0, rng.exponential(5, n))
    columns = [
        rng.normal(3, 10, n),
        rng.exponential(2, n),
        padded,
        rng.poisson(3, n),
        np.full(n, 2),
    ]
    return np.column_stack(columns).astype(np.float32)


def states(rows: np.ndarray, every: int = 1) -> dict[str, str]:
    monitor = DriftMonitor(Reference.of(events(20_000)), every).update(rows)
    return {channel.name: channel.state for channel in monitor.channels(NAMES)}


OK = dict.fromkeys(NAMES, "ok")


# ---- The reference


def test_each_bin_of_the_reference_holds_the_same_number() -> None:
    rows = events(3200)
    reference = Reference.of(rows)
    assert (reference.counts[:2] == 100).all(), "continuous channels"
    assert (reference.counts.sum(axis=1) == 3200).all(), "channels with ties"
    assert np.array_equal(reference.range, np.stack([rows.min(axis=0), rows.max(axis=0)], axis=1))
    for j in range(5):
        most = np.unique(rows[:, j], return_counts=True)[1].max()
        assert reference.mode[j] == np.float32(most / 3200)
        below = [np.count_nonzero(rows[:, j] <= edge) for edge in reference.edges[j]]
        assert np.array_equal(np.cumsum(reference.counts[j])[:-1], below)


@pytest.mark.parametrize("n", [1, 2, 31, 32, 33])
def test_a_reference_of_few_rows(n: int) -> None:
    reference = Reference.of(events(n))
    assert (reference.counts.sum(axis=1) == n).all()
    assert reference.edges.shape == (5, BINS - 1)


def test_a_reference_is_small_and_takes_a_part_of_many_rows() -> None:
    reference = Reference.of(np.repeat(events(2**9), 2**10, axis=0))
    assert (reference.counts.sum(axis=1) == MOST_ROWS).all()
    assert sum(array.nbytes for array in reference.to_arrays().values()) == 5 * (
        31 * 4 + 32 * 8 + 12
    )


@pytest.mark.parametrize(
    "rows", [np.zeros((0, 3)), np.zeros(3), np.zeros((3, 2), int), np.array([[1.0], [np.nan]])]
)
def test_rows_that_make_no_reference(rows: np.ndarray) -> None:
    with pytest.raises(ValueError, match="rows: "):
        Reference.of(rows)


# ---- PSI and KS


def test_psi_is_its_formula() -> None:
    p, q = np.array([100.0, 200, 300]), np.array([30.0, 20, 10])
    a, b = (p + 0.5) / (p + 0.5).sum(), (q + 0.5) / (q + 0.5).sum()
    assert psi(p, q) == pytest.approx(sum((b - a) * np.log(b / a)))
    assert psi(p, 7 * p) == pytest.approx(0, abs=1e-4)
    assert psi(np.append(p, 0), np.append(q, 0)) == psi(p, q), "what is empty in both is no bin"


def test_psi_without_a_change_is_what_it_should_be() -> None:
    rng = np.random.default_rng(0)
    n, m = 20_000, 2_000
    found = [
        psi(
            rng.multinomial(n, np.full(BINS, 1 / BINS)), rng.multinomial(m, np.full(BINS, 1 / BINS))
        )
        for _ in range(300)
    ]
    expected = (BINS - 1) * (1 / n + 1 / m)
    # A chi-squared of 31 degrees of freedom, scaled: its mean over 300 is known to 1.5 %.
    assert np.mean(found) == pytest.approx(expected, rel=0.08)


def test_ks_is_the_two_sample_distance_up_to_a_bin() -> None:
    rng = np.random.default_rng(0)
    for shift in (0.0, 0.1, 0.5, 2.0):
        a, b = rng.normal(size=(5000, 1)), rng.normal(shift, 1, size=(3000, 1))
        reference = Reference.of(a)
        channel = DriftMonitor(reference).update(b.astype(np.float32)).channels(["x"])[0]
        exact = ks_2samp(a[:, 0], b[:, 0]).statistic
        assert exact - 1 / BINS <= channel.ks <= exact + 1e-3


def test_ks_of_scores_is_that_of_their_bins() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.gamma(shape, 2, 20_000).astype(np.float32) for shape in (5, 5.5))
    first, second = ScoreHistogram().update(a), ScoreHistogram().update(b)
    index, distance = score_drift(first, second)
    assert distance == pytest.approx(ks_2samp(a, b).statistic, abs=2e-3)
    binned = np.quantile(a, np.arange(1, BINS) / BINS)
    counts = [np.bincount(np.searchsorted(binned, x), minlength=BINS) for x in (a, b)]
    assert index == pytest.approx(psi(*counts), rel=0.05)
    same = score_drift(first, ScoreHistogram().update(rng.gamma(5, 2, 20_000).astype(np.float32)))
    assert same[0] < 0.01
    assert same[1] < 0.03
    with pytest.raises(ValueError, match="a histogram is empty"):
        score_drift(first, ScoreHistogram())


# ---- Channels


def test_nothing_is_found_where_nothing_is() -> None:
    for seed in range(1, 6):
        assert states(events(5000, seed)) == OK


def test_every_kind_of_fault_is_found_in_its_channel_alone() -> None:
    for j, name in enumerate(NAMES[:2]):
        for value, state in ((0, "dead"), (1.5, "stuck"), (np.nan, "missing"), (1e6, "stuck")):
            rows = events(5000, 1)
            rows[:, j] = value
            assert states(rows) == {**OK, name: state}
        rows = events(5000, 1)
        rows[::50, j] = 1e6
        assert states(rows) == {**OK, name: "hot"}
        rows[::50, j] = -1e6
        assert states(rows) == {**OK, name: "low"}
        rows = events(5000, 1)
        rows[:, j] = rows[:, j] * 2 if name == "positive" else rows[:, j] + 6
        assert states(rows) == {**OK, name: "drifted"}


def test_a_channel_that_is_mostly_zero_is_dead_only_when_chance_is_ruled_out() -> None:
    few, many = events(1000, 1), events(3000, 1)
    few[:, 2] = many[:, 2] = 0
    assert 0.99**1000 > 1e-6 > 0.99**3000
    assert states(few) == OK
    assert states(many) == {**OK, "padded": "dead"}


def test_a_channel_that_was_always_constant_may_stay_so() -> None:
    assert states(events(10**5, 1))["constant"] == "ok"
    rows = events(1000, 1)
    for value, state in ((3, "hot"), (1, "low"), (0, "low")):
        rows[:, 4] = value
        assert states(rows)["constant"] == state


def test_numbers_of_a_channel() -> None:
    rows = events(1000, 1)
    rows[:100, 0] = np.nan
    rows[100:150, 0] = np.inf
    rows[150:200, 0] = 1e9
    channel = DriftMonitor(Reference.of(events(20_000))).update(rows).channels(NAMES)[0]
    assert isinstance(channel, Channel)
    assert channel.missing == 0.15
    assert (channel.above, channel.below) == (0.1, 0), "infinity is above, too"
    rows[:, 0] = np.nan
    channel = DriftMonitor(Reference.of(events(20_000))).update(rows).channels(NAMES)[0]
    assert np.isnan(channel.psi)
    assert channel.missing == 1


def test_batches_threads_and_merging_change_nothing() -> None:
    rows, reference = events(3000, 1), Reference.of(events(2000))
    whole = DriftMonitor(reference).update(rows).channels(NAMES)
    cut, merged = DriftMonitor(reference), DriftMonitor(reference)
    for at in range(0, 3000, 271):
        cut.update(rows[at : at + 271])
        merged.merge(DriftMonitor(reference).update(rows[at : at + 271]))
    assert cut.channels(NAMES) == whole
    assert merged.channels(NAMES) == whole


@pytest.mark.parametrize("every", [2, 7, 1000])
def test_every_nth_row_is_taken_whatever_the_batches(every: int) -> None:
    rows, reference = events(3000, 1), Reference.of(events(2000))
    whole = DriftMonitor(reference).update(rows[::every])
    cut = DriftMonitor(reference, every)
    for at in range(0, 3000, 271):
        cut.update(rows[at : at + 271])
    assert cut.n == whole.n == len(rows[::every])
    assert cut.channels(NAMES) == whole.channels(NAMES)


def test_wrong_use_of_the_monitor() -> None:
    reference = Reference.of(events(100))
    monitor = DriftMonitor(reference)
    with pytest.raises(ValueError, match="no rows were counted"):
        monitor.channels(NAMES)
    with pytest.raises(ValueError, match=r"rows: expected shape \(n, 5\), got \(3, 4\)"):
        monitor.update(np.zeros((3, 4), np.float32))
    with pytest.raises(ValueError, match="names: expected 5"):
        monitor.update(events(10)).channels(["a"])
    with pytest.raises(ValueError, match="every: expected a positive int"):
        DriftMonitor(reference, 0)
    with pytest.raises(ValueError, match="a monitor of another reference"):
        monitor.merge(DriftMonitor(Reference.of(events(100, 1))))


# ---- Faults


def test_faults_do_what_they_say() -> None:
    rows = events(1001)
    rows[0, 0] = np.nan
    column = rows[1:, 0]
    middle, largest = np.median(column), column.max()
    expected = {"dead": 0.0, "stuck": middle, "saturated": largest, "hot": 2 * largest - middle}
    for fault in FAULTS:
        broken = inject(rows, 0, fault)
        assert np.array_equal(broken[:, 1:], rows[:, 1:])
        if fault == "swapped":
            assert np.array_equal(broken[:, 0], rows[:, 1])
        else:
            assert (broken[:, 0] == np.float32(expected[fault])).all()
    assert np.array_equal(inject(rows, 4, "swapped")[1:, 4], rows[1:, 0])
    for bad in ((5, "dead"), (-1, "dead")):
        with pytest.raises(ValueError, match="there is no channel"):
            inject(rows, *bad)
    with pytest.raises(ValueError, match="fault: expected one of dead, stuck, saturated, hot"):
        inject(rows, 0, "tired")


def test_rate_changes_are_those_of_scoring_the_faulty_rows(
    make_bundle: Callable[..., Path],
) -> None:
    scorer = vaelocity.load(make_bundle([5, 8, 2]))
    rows = np.random.default_rng(0).normal(size=(4000, 5)).astype(np.float32)
    threshold = scorer.threshold_for(rows, fpr=0.05)
    effects = rate_changes(scorer, rows, threshold)
    assert [(e.feature, e.fault) for e in effects] == [
        (name, fault) for name in scorer.feature_names for fault in FAULTS
    ]
    for effect in effects:
        broken = rows.copy()
        j = scorer.feature_names.index(effect.feature)
        if effect.fault == "dead":
            broken[:, j] = 0
        else:
            broken = inject(rows, j, effect.fault)
        accepted = np.count_nonzero(scorer.score(broken) > np.float32(threshold.value))
        assert effect.accepted == accepted / 4000
        assert effect.nominal == 0.05
        assert effect.ratio == pytest.approx(accepted / 200)
        assert effect.interval == clopper_pearson(accepted, 4000)
    assert max(e.ratio for e in effects if e.fault == "hot") > 2, "a hot channel is an anomaly"
    with pytest.raises(ValueError, match="rows: no rows"):
        rate_changes(scorer, rows[:0], threshold)


def test_an_injected_fault_is_seen_by_the_monitor() -> None:
    reference = Reference.of(events(20_000))
    found = {}
    for fault in FAULTS:
        rows = inject(events(5000, 1), 3, fault)
        found[fault] = DriftMonitor(reference).update(rows).channels(NAMES)[3].state
    assert found == {
        "dead": "dead", "stuck": "stuck", "saturated": "stuck", "hot": "stuck",
        "swapped": "stuck",
    }  # fmt: skip
    assert MAJOR_PSI > 0.1
    assert ks([1, 1], [2, 2]) == 0
