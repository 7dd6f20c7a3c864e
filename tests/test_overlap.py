"""Pure rates, overlaps, prescales and the pass-through stream, against brute force."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest

from vaelocity.intervals import clopper_pearson
from vaelocity.overlap import MOST_SELECTIONS, Overlap
from vaelocity.prescale import Prescale, pass_through

Mask = npt.NDArray[np.bool_]


def decisions(n: int, m: int, seed: int = 0) -> list[Mask]:
    """m selections of n events with different rates, correlated through a common part."""
    rng = np.random.default_rng(seed)
    common = rng.random(n)
    return [0.5 * common + 0.5 * rng.random(n) > 0.6 + 0.05 * j for j in range(m)]


@pytest.mark.parametrize("m", [1, 2, 3, 5, 8])
def test_every_number_is_that_of_brute_force(m: int) -> None:
    names, n = [f"s{j}" for j in range(m)], 3000
    masks = decisions(n, m)
    counts = Overlap(names).update(masks)
    sets = [{i for i in range(n) if mask[i]} for mask in masks]
    assert counts.n == n
    assert counts.any().events == len(set().union(*sets))
    for j, name in enumerate(names):
        others = set().union(*(s for k, s in enumerate(sets) if k != j))
        assert counts.accepted(name).events == len(sets[j])
        pure = counts.pure(name)
        assert pure.events == len(sets[j] - others)
        assert pure.fraction == pure.events / n
        assert pure.interval == clopper_pearson(pure.events, n)
    for (j, one), (k, other) in combinations(enumerate(names), 2):
        both = sets[j] & sets[k]
        assert counts.both(one, other).events == len(both)
        assert counts.both(other, one).events == len(both)
        assert counts.jaccard(one, other) == len(both) / len(sets[j] | sets[k])


def test_pure_rates_and_what_is_shared_add_up() -> None:
    counts = Overlap(["a", "b", "c"]).update(decisions(5000, 3))
    shared = counts.any().events - sum(counts.pure(name).events for name in "abc")
    masks = np.stack(decisions(5000, 3))
    assert shared == np.count_nonzero(masks.sum(axis=0) >= 2)


def test_batches_and_merging_change_nothing() -> None:
    masks = decisions(1000, 4)
    names = list("abcd")
    whole = Overlap(names).update(masks)
    cut = Overlap(names)
    for at in range(0, 1000, 77):
        cut.merge(Overlap(names).update([mask[at : at + 77] for mask in masks]))
    assert np.array_equal(cut._counts, whole._counts)


def test_two_that_accept_nothing_share_nothing() -> None:
    counts = Overlap(["a", "b"]).update([np.zeros(3, bool)] * 2)
    assert np.isnan(counts.jaccard("a", "b"))
    assert counts.any().events == 0


def test_wrong_use_is_refused() -> None:
    with pytest.raises(ValueError, match="expected distinct ones"):
        Overlap(["a", "a"])
    for names in ([], [str(j) for j in range(MOST_SELECTIONS + 1)]):
        with pytest.raises(ValueError, match="expected 1 to 16 selections"):
            Overlap(names)
    counts = Overlap(["a", "b"])
    with pytest.raises(ValueError, match="no events were counted"):
        counts.any()
    with pytest.raises(ValueError, match="decisions: expected 2 arrays, got 1"):
        counts.update([np.zeros(3, bool)])
    with pytest.raises(ValueError, match=r"decisions: b: expected bool of shape \(3,\)"):
        counts.update([np.zeros(3, bool), np.zeros(4, bool)])
    with pytest.raises(ValueError, match="decisions: a: expected bool"):
        counts.update([np.zeros(3), np.zeros(3, bool)])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="name: expected one of a, b, got 'c'"):
        counts.update([np.zeros(3, bool)] * 2).pure("c")
    with pytest.raises(ValueError, match="other: of"):
        counts.merge(Overlap(["b", "a"]))


# ---- Prescales


@pytest.mark.parametrize("factor", [1, 2, 7, 1000])
def test_a_prescale_keeps_every_nth_whatever_the_batches(factor: int) -> None:
    accepted = np.random.default_rng(0).random(10_000) < 0.3
    expected = np.zeros(10_000, bool)
    expected[np.flatnonzero(accepted)[::factor]] = True
    assert np.array_equal(Prescale(factor)(accepted), expected)
    prescale, kept, at = Prescale(factor), [], 0
    for size in (1, 0, 2, 500, 13, 9484):
        kept.append(prescale(accepted[at : at + size]))
        at += size
    assert np.array_equal(np.concatenate(kept), expected)
    assert prescale.accepted == np.count_nonzero(accepted)


def test_pass_through_is_a_choice_by_the_number_of_the_event_alone() -> None:
    numbers = np.arange(10**6)
    kept = pass_through(numbers, 100, seed=3)
    order = np.random.default_rng(0).permutation(len(numbers))
    assert np.array_equal(pass_through(numbers[order], 100, seed=3), kept[order])
    assert np.array_equal(pass_through(numbers[5:9].astype(np.uint32), 100, 3), kept[5:9])
    assert pass_through(numbers[:99], 1).all()


def test_pass_through_is_as_good_as_random() -> None:
    n, factor = 10**6, 50
    kept = pass_through(np.arange(n), factor)
    spread = np.sqrt(n / factor * (1 - 1 / factor))
    assert abs(np.count_nonzero(kept) - n / factor) < 5 * spread
    # No beat with the orbit: chi-squared over the 3,564 bunch places.
    places = np.bincount(np.flatnonzero(kept) % 3564, minlength=3564)
    expected = np.bincount(np.arange(n) % 3564) / factor
    chi2 = ((places - expected) ** 2 / expected).sum()
    assert abs(chi2 - 3563) < 5 * np.sqrt(2 * 3563)
    # Neighbours and seeds are independent.
    both = np.count_nonzero(kept[1:] & kept[:-1])
    assert abs(both - n / factor**2) < 5 * np.sqrt(n / factor**2)
    other = np.count_nonzero(kept & pass_through(np.arange(n), factor, seed=1))
    assert abs(other - n / factor**2) < 5 * np.sqrt(n / factor**2)


def test_splitmix64_gives_the_published_numbers() -> None:
    from vaelocity.prescale import _mixed

    # The generator of Steele, Lea and Flood from state 0: its n-th output is the mix of n gammas.
    gamma = np.uint64(0x9E3779B97F4A7C15)
    first = _mixed(np.arange(3, dtype=np.uint64) * gamma)
    assert [hex(int(x)) for x in first] == [
        "0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4", "0x6c45d188009454f",
    ]  # fmt: skip


@pytest.mark.parametrize("factor", [0, -1, 2.5, True])
def test_factors_are_whole_numbers_from_one(factor: int) -> None:
    with pytest.raises(ValueError, match="factor: expected a whole number of at least 1"):
        Prescale(factor)
    with pytest.raises(ValueError, match="factor: expected a whole number of at least 1"):
        pass_through(np.arange(3), factor)


def test_masks_and_numbers_are_checked() -> None:
    with pytest.raises(ValueError, match="accepted: expected bool of shape"):
        Prescale(2)(np.zeros(3))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="events: expected integers of shape"):
        pass_through(np.zeros(3), 2)
