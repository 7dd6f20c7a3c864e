"""The score histogram: its bins, exact merging, tails, and that every way to count is the same."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaelocity import ScoreHistogram, _core
from vaelocity import histogram_reference as reference
from vaelocity.intervals import clopper_pearson

Floats = npt.NDArray[np.float32]

LARGEST = np.finfo(np.float32).max
TINY = np.float32(1e-45)
EDGES = np.array(
    [0, -0.0, TINY, -TINY, 1e-38, -1e-38, 1, -1, LARGEST, -LARGEST, np.inf, -np.inf],
    np.float32,
)


def mixed(n: int, seed: int = 0) -> Floats:
    """Scores of every size and sign, with the edges of float32 and some NaN among them."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 1 << 32, n, dtype=np.uint64).astype(np.uint32)
    scores = np.concatenate([bits.view(np.float32), rng.gamma(5, 2, n).astype(np.float32), EDGES])
    scores[rng.integers(0, len(scores), 5)] = np.nan
    return scores


def test_both_agree_on_the_layout() -> None:
    assert reference.BITS == _core.HISTOGRAM_BITS


def test_bins_follow_the_order_of_the_numbers() -> None:
    scores = mixed(20000)
    scores = np.sort(scores[~np.isnan(scores)])
    bins = reference.bins_of(scores)
    assert (np.diff(bins) >= 0).all()
    assert bins.min() >= 0
    assert bins.max() < reference.BINS
    edges = reference.upper_edges(bins)
    assert (scores <= edges).all(), "a score lies above the edge of its bin"
    assert np.array_equal(reference.bins_of(edges), bins), "an edge lies in another bin"
    # Above an edge is another bin: what makes a tail above an edge exact.
    inner = edges[np.abs(edges) < LARGEST]
    beyond = reference.bins_of(np.nextafter(inner, np.float32(np.inf)))
    assert (beyond == reference.bins_of(inner) + 1).all()


def test_a_bin_is_half_a_thousandth_wide() -> None:
    scores = np.random.default_rng(0).gamma(5, 2, 10000).astype(np.float32)
    edges = reference.upper_edges(reference.bins_of(scores)).astype(np.float64)
    widest = (edges - scores.astype(np.float64)) / scores
    assert widest.max() < 2**-11
    assert widest.max() > 2**-12, "the claim of the docstring is no better than this"


def test_zeros_of_both_signs_are_one_number() -> None:
    histogram = ScoreHistogram().update(np.array([-0.0, 0.0, -TINY], np.float32))
    assert histogram.tail(float(-TINY)).above == 2
    assert histogram.tail(float(-TINY)).exact
    assert histogram.tail(0.0) == histogram.tail(-0.0)
    assert len(histogram.steps().edges) == 2


@pytest.mark.parametrize("weighted", [False, True])
def test_numpy_counts_what_cpp_counts(weighted: bool) -> None:
    fast, slow = ScoreHistogram(), ScoreHistogram()
    for seed in range(3):
        scores = mixed(5000, seed)
        weights = np.random.default_rng(seed).exponential(size=len(scores)) if weighted else None
        fast.update(scores, weights)
        slow.update(scores, weights, backend="reference")
    assert fast == slow
    assert fast.n == 3 * (10000 + len(EDGES))
    assert fast.n_nan == slow.n_nan > 0
    assert fast.n_infinite == slow.n_infinite >= 6


@pytest.mark.parametrize("weighted", [False, True])
def test_counts_are_those_of_the_sample(weighted: bool) -> None:
    scores = mixed(5000)
    weights = np.random.default_rng(0).exponential(size=len(scores)) if weighted else None
    histogram = ScoreHistogram().update(scores, weights)
    each = np.ones(len(scores)) if weights is None else weights
    steps = histogram.steps()
    for i in np.linspace(0, len(steps.edges) - 1, 50).astype(int):
        above = ~(scores <= steps.edges[i])
        tail = histogram.tail(float(steps.edges[i]))
        assert tail.exact
        assert tail.above == pytest.approx(each[above].sum(), rel=1e-12)
        assert tail.fraction == pytest.approx(each[above].sum() / each.sum(), rel=1e-12)


def test_merging_is_exact_in_any_order_and_on_any_number_of_threads() -> None:
    parts = [mixed(3000, seed) for seed in range(6)]
    whole = ScoreHistogram("kl", "m").update(np.concatenate(parts))
    with ThreadPoolExecutor(3) as pool:
        counted = list(pool.map(lambda part: ScoreHistogram("kl", "m").update(part), parts))
    forward, backward = ScoreHistogram(), ScoreHistogram()
    for one, other in zip(counted, reversed(counted), strict=True):
        forward.merge(one)
        backward.merge(other)
    assert forward == whole
    assert backward == whole


def test_merging_whole_weights_is_exact_and_no_weight_is_one() -> None:
    parts = [mixed(2000, seed) for seed in range(3)]
    weights = [np.random.default_rng(7).integers(1, 5000, len(parts[0])), None, np.full(4012, 3)]
    whole = ScoreHistogram()
    for part, weight in zip(parts, weights, strict=True):
        whole.update(part, weight)
    merged = ScoreHistogram()
    for part, weight in reversed(list(zip(parts, weights, strict=True))):
        merged.merge(ScoreHistogram().update(part, weight))
    assert merged == whole
    assert whole.weighted
    plain = ScoreHistogram().update(parts[1])
    assert plain.copy() == plain
    assert not plain.weighted
    assert plain.merge(ScoreHistogram().update(parts[0], weights[0])).weighted


def test_an_empty_histogram_is_the_zero_of_merging() -> None:
    full = ScoreHistogram().update(mixed(100))
    assert full.copy().merge(ScoreHistogram()) == full
    assert ScoreHistogram().merge(full) == full
    assert ScoreHistogram().n == 0
    assert ScoreHistogram().update(np.empty(0, np.float32)) == ScoreHistogram()


def test_scores_of_two_models_do_not_merge() -> None:
    mine = ScoreHistogram("kl", "a")
    with pytest.raises(ValueError, match="another model: 'b' into 'a'"):
        mine.merge(ScoreHistogram("kl", "b"))
    with pytest.raises(ValueError, match="another kind: 'mu2' into 'kl'"):
        mine.merge(ScoreHistogram("mu2", "a"))
    with pytest.raises(TypeError, match="expected a ScoreHistogram, got dict"):
        mine.merge({})  # type: ignore[arg-type]


@pytest.mark.parametrize("q", [0, 0.1, 0.5, 0.9, 0.999, 1])
def test_quantile_is_the_edge_of_the_exact_quantiles_bin(q: float) -> None:
    scores = np.random.default_rng(0).normal(0, 10, 30001).astype(np.float32)
    exact = np.quantile(scores, q, method="inverted_cdf")
    found = ScoreHistogram().update(np.append(scores, np.float32(np.nan))).quantile(q)
    bins = reference.bins_of(np.array([exact, found], np.float32))
    assert bins[0] == bins[1]
    assert exact <= found


def test_a_tail_within_a_bin_is_interpolated_and_says_so() -> None:
    rng = np.random.default_rng(0)
    scores = (1 + 0.999 * rng.random(100_000) / 2048).astype(np.float32)  # one bin, evenly filled
    histogram = ScoreHistogram().update(scores)
    value = 1 + 0.25 / 2048
    tail = histogram.tail(value)
    assert not tail.exact
    assert tail.fraction == pytest.approx(0.75, abs=1e-3)
    assert tail.interval[0] == 0
    assert tail.interval[1] == 1
    assert histogram.tail(2.0).fraction == 0
    assert histogram.tail(0.5).fraction == 1
    assert histogram.tail(0.5).exact


@pytest.mark.parametrize("confidence", [0.68, 0.95])
def test_the_interval_of_a_tail_is_clopper_pearsons(confidence: float) -> None:
    scores = np.random.default_rng(0).gamma(5, 2, 20_000).astype(np.float32)
    histogram = ScoreHistogram().update(scores)
    for q in (0.5, 0.99, 0.9995, 1):
        value = histogram.quantile(q)
        above = int(np.count_nonzero(scores > np.float32(value)))
        found = histogram.tail(value, confidence)
        assert found.interval == clopper_pearson(above, 20_000, confidence)
        # Equal weights of any size are no weights.
        weighted = ScoreHistogram().update(scores, np.full(20_000, 3.0)).tail(value, confidence)
        assert weighted.interval == pytest.approx(found.interval, rel=1e-9)


def test_nan_scores_are_above_every_threshold() -> None:
    histogram = ScoreHistogram().update(np.array([1, 2, np.nan, np.nan], np.float32))
    assert histogram.tail(np.inf).above == 2
    assert histogram.quantile(1) >= 2
    weighted = ScoreHistogram().update(np.array([1, np.nan], np.float32), [1, 3])
    assert weighted.tail(5).fraction == 0.75


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=True), min_size=1, max_size=60), st.booleans())
def test_saving_gives_back_every_number(values: list[float], weighted: bool) -> None:
    scores = np.array(values, np.float32)
    weights = np.arange(len(scores)) / 7 if weighted else None
    histogram = ScoreHistogram("elbo", "abc").update(scores, weights)
    arrays = ScoreHistogram.from_arrays(histogram.to_arrays(), "elbo", "abc")
    text = ScoreHistogram.from_dict(json.loads(json.dumps(histogram.to_dict())))
    pickled = pickle.loads(pickle.dumps(histogram))
    for other in (arrays, text, pickled):
        assert other == histogram
        # It goes on counting where it stopped.
        assert other.update(scores) == histogram.copy().update(scores)


def test_a_pickle_is_small() -> None:
    scores = np.random.default_rng(0).gamma(5, 2, 10**5).astype(np.float32)
    assert len(pickle.dumps(ScoreHistogram().update(scores))) < 150_000


def test_equality_sees_every_part() -> None:
    one = ScoreHistogram("kl", "a").update(np.array([1], np.float32))
    assert one == ScoreHistogram("kl", "a").update(np.array([1], np.float32))
    assert one != ScoreHistogram("kl", "a").update(np.array([2], np.float32))
    assert one != ScoreHistogram("kl", "b").update(np.array([1], np.float32))
    assert one != ScoreHistogram("kl", "a").update(np.array([1], np.float32), [1])
    assert one != ScoreHistogram("kl", "a").update(np.array([1, np.nan], np.float32))
    assert one != 1


def test_memory_is_bounded_and_does_not_grow() -> None:
    histogram = ScoreHistogram()
    size = histogram._counts.nbytes
    before = histogram._counts
    for seed in range(3):
        histogram.update(mixed(1000, seed))
    assert histogram._counts is before
    assert size == 8 << 20


def test_counts_made_elsewhere_are_added() -> None:
    scores = np.array([1.0, 2.0, 2.0, np.nan, -0.0, np.inf], np.float32)
    counts = np.zeros(reference.BINS + 1, np.int32)
    reference_counts = np.zeros(reference.BINS, np.uint64)
    reference.histogram_count(scores, reference_counts)
    counts[:-1], counts[-1] = reference_counts, 1
    found = ScoreHistogram().add_counts(counts).add_counts(np.zeros_like(counts))
    assert found == ScoreHistogram().update(scores)
    assert found.add_counts(counts) == ScoreHistogram().update(np.tile(scores, 2))
    counts[7] = -1
    for bad in (counts, counts[:-1], np.zeros(reference.BINS + 1)):
        with pytest.raises(ValueError, match=r"counts: expected integers of at least 0 of shape"):
            found.add_counts(bad)
    assert found.n == 12


@pytest.mark.parametrize(
    ("scores", "weights", "message"),
    [
        (np.zeros((2, 2), np.float32), None, r"scores: expected floats of shape \(n,\), got"),
        (np.zeros(2, np.int32), None, "scores: expected floats"),
        (np.zeros(2, np.float32), [1.0], r"weights: expected numbers of shape \(2,\)"),
        (np.zeros(2, np.float32), [1.0, -1.0], "weights: 1 are negative or not finite"),
        (np.zeros(2, np.float32), [np.nan, 1.0], "the first is nan at 0"),
    ],
)
def test_bad_input_is_refused_and_counts_nothing(scores, weights, message) -> None:
    histogram = ScoreHistogram().update(np.ones(3, np.float32))
    with pytest.raises(ValueError, match=message):
        histogram.update(scores, weights)
    assert histogram == ScoreHistogram().update(np.ones(3, np.float32))


def test_bad_questions_are_refused() -> None:
    empty = ScoreHistogram()
    with pytest.raises(ValueError, match="tail: the histogram is empty"):
        empty.tail(1)
    with pytest.raises(ValueError, match="quantile: the histogram is empty"):
        empty.quantile(0.5)
    with pytest.raises(ValueError, match="q: expected a number from 0 to 1, got 2"):
        empty.quantile(2)
    full = ScoreHistogram().update(np.ones(3, np.float32))
    with pytest.raises(ValueError, match="value: got NaN"):
        full.tail(np.nan)
    with pytest.raises(ValueError, match="confidence: expected a number between 0 and 1"):
        full.tail(1, confidence=95)
    with pytest.raises(
        ValueError, match="backend: expected 'auto', 'cpu', 'reference' or 'triton'"
    ):
        full.update(np.ones(1, np.float32), backend="gpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layout": "float32>>4"}, "expected the layout 'float32>>12', got 'float32>>4'"),
        ({"bins": [5, 4]}, "the bins do not rise"),
        ({"bins": [1, 1 << 20]}, "not below 1048576"),
        ({"counts": [1]}, "not of one length"),
        ({"nan": [0, -1, 0]}, "negative or not finite"),
        ({"sums": [1.0, 1.0]}, "expected"),
    ],
)
def test_a_dict_that_is_none_of_its_own_is_refused(changes, message) -> None:
    entry = ScoreHistogram().update(np.array([1, 2], np.float32)).to_dict()
    with pytest.raises(ValueError, match=message):
        ScoreHistogram.from_dict({**entry, **changes})


def test_cpp_refuses_arrays_it_could_not_count_into() -> None:
    scores = np.ones(4, np.float32)
    counts = np.zeros(reference.BINS, np.uint64)
    for bad in (counts[:-1], np.zeros(2 * reference.BINS, np.uint64)[::2]):
        with pytest.raises(ValueError, match="counts: expected a writeable contiguous array"):
            _core.histogram_count(scores, bad)
    counts.flags.writeable = False
    with pytest.raises(ValueError, match="counts: expected a writeable"):
        _core.histogram_count(scores, counts)
    with pytest.raises(TypeError):
        _core.histogram_count(scores, np.zeros(reference.BINS, np.int64))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="scores: expected a contiguous array of 2"):
        _core.histogram_count(scores[::2], np.zeros(reference.BINS, np.uint64))


TRITON = """
import sys
import numpy as np, torch
sys.path.insert(0, sys.argv[1])
from test_histogram import mixed
from vaelocity import ScoreHistogram
device = sys.argv[2]
for seed in range(2):
    scores = mixed(1500, seed)
    tensor = torch.from_numpy(scores).to(device)
    found = ScoreHistogram("kl", "m").update(tensor, backend="triton")
    assert found == ScoreHistogram("kl", "m").update(scores)
    assert found.n_nan > 0 and found.n_infinite > 0
    weighted = ScoreHistogram().update(scores, np.ones(len(scores)))
    assert weighted.copy().update(tensor, backend="triton") == weighted.copy().merge(weighted)
assert ScoreHistogram().update(tensor[:0], backend="triton") == ScoreHistogram()
assert ScoreHistogram().update(tensor[::3], backend="triton").n == len(tensor[::3])
only_nan = torch.full((5,), float("nan"), device=device)
assert ScoreHistogram().update(only_nan, backend="triton").n_nan == 5
for arguments in (dict(scores=tensor, weights=scores), dict(scores=tensor[None])):
    try:
        ScoreHistogram().update(**arguments, backend="triton")
    except ValueError as error:
        assert str(error).startswith(("weights: not on the GPU", "scores: expected floats"))
    else:
        raise AssertionError(arguments)
if device == "cuda":
    assert ScoreHistogram().update(tensor) == ScoreHistogram().update(scores)
"""


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_triton_counts_what_cpp_counts(device: str) -> None:
    """In a process of its own: the interpreter is chosen before Triton is imported."""
    torch = pytest.importorskip("torch", reason="needs the extra vaelocity[train]")
    pytest.importorskip("triton", reason="needs the extra vaelocity[gpu]")
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    interpret = {"TRITON_INTERPRET": "1"} if device == "cpu" else {}
    command = [sys.executable, "-c", TRITON, str(Path(__file__).parent), device]
    done = subprocess.run(
        command, env={**os.environ, **interpret}, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
