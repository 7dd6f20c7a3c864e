"""score_batch: Arrow in, Arrow out."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs pyarrow")

import pyarrow as pa

import vaelocity
from vaelocity.record_batch import score_batches

Make = Callable[..., Path]


@pytest.fixture
def scorer(make_bundle: Make) -> vaelocity.Scorer:
    return vaelocity.load(make_bundle([7, 5, 2]))


def rows_of(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 7)).astype(np.float32)


def as_columns(rows: np.ndarray, **more: object) -> pa.RecordBatch:
    columns = {f"f{j}": pa.array(column) for j, column in enumerate(rows.T)}
    return pa.record_batch({**more, **columns})


def as_lists(rows: np.ndarray) -> pa.RecordBatch:
    lists = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])
    return pa.record_batch({"anything": lists})


def test_scores_are_those_of_the_scorer_bit_for_bit(scorer: vaelocity.Scorer) -> None:
    rows = rows_of(1001)
    expected = scorer.score(rows)
    turned = as_columns(rows[:, ::-1]).rename_columns([f"f{j}" for j in range(6, -1, -1)])
    for batch in (as_columns(rows), as_lists(rows), turned):
        scored = vaelocity.score_batch(scorer, batch)
        np.testing.assert_array_equal(scored.column("score").to_numpy(), expected)
        assert scored.schema.names == ["score", "flags"]
        assert scored.schema.metadata[b"vaelocity.fingerprint"].decode() == scorer.fingerprint


@pytest.mark.parametrize("sizes", [[1001], [300, 512, 189], [3, 0, 990, 8], [0, 0]])
@pytest.mark.parametrize("form", ["columns", "lists"])
def test_batches_that_are_scored_together_are_scored_as_one(
    scorer: vaelocity.Scorer, sizes: list[int], form: str
) -> None:
    """Long ones are scored where they lie, short ones are copied together: the same result."""
    n = sum(sizes)
    rows = rows_of(n)
    if n:
        rows[[4, 500]] = np.nan
        rows[900, 3] = 1e30
    make = as_columns if form == "columns" else as_lists
    whole = make(rows).add_column(0, "event", pa.array(np.arange(n)))
    edges = np.cumsum([0, *sizes]).tolist()
    parts = [whole.slice(a, b - a) for a, b in pairwise(edges)]
    cut = float(np.nanmedian(scorer.score(rows))) if n else 1.0
    found = score_batches(scorer, parts, threshold=cut, columns=["event"])
    expected = vaelocity.score_batch(scorer, whole, threshold=cut, columns=["event"])
    assert found.schema.equals(expected.schema, check_metadata=True)
    for name in expected.schema.names:
        np.testing.assert_array_equal(found.column(name), expected.column(name), err_msg=name)
    if n:
        assert found.column("flags").to_numpy()[[4, 500, 900]].tolist() == [1, 1, 2]


def test_slices_and_nulls_of_whole_rows(scorer: vaelocity.Scorer) -> None:
    rows = rows_of(20)
    lists = as_lists(rows).column(0)
    part = pa.record_batch({"x": lists.slice(3, 9)})
    np.testing.assert_array_equal(
        vaelocity.score_batch(scorer, part).column("score").to_numpy(), scorer.score(rows[3:12])
    )
    holes = pa.array(
        [None if i == 4 else row.tolist() for i, row in enumerate(rows)],
        pa.list_(pa.float32(), 7),
    )
    scored = vaelocity.score_batch(scorer, pa.record_batch({"x": holes.slice(2)}))
    score, flags = scored.column("score").to_numpy(), scored.column("flags").to_numpy()
    assert np.isnan(score[2])
    np.testing.assert_array_equal(flags, [0, 0, 1] + [0] * 15)
    np.testing.assert_array_equal(score[3:], scorer.score(rows[5:]))


def test_a_null_feature_is_a_nan_and_flagged(scorer: vaelocity.Scorer) -> None:
    rows = rows_of(5)
    batch = as_columns(rows)
    holed = pa.array([1.0, None, 2.0, 3.0, 4.0], pa.float32())
    batch = batch.set_column(3, "f3", holed)
    scored = vaelocity.score_batch(scorer, batch, threshold=1e30)
    assert scored.column("flags").to_pylist() == [0, 1, 0, 0, 0]
    assert scored.column("anomalous").to_pylist() == [False, True, False, False, False]


def test_flags_are_those_of_the_scorer(scorer: vaelocity.Scorer) -> None:
    rows = rows_of(300)
    rows[7, 2], rows[8, 0], rows[200, :] = np.nan, np.inf, 1e38
    flags = scorer.flags(rows)
    assert set(flags) == {0, 1, 2}
    for batch in (as_columns(rows), as_lists(rows)):
        found = vaelocity.score_batch(scorer, batch).column("flags").to_numpy()
        np.testing.assert_array_equal(found, flags)


def test_the_decision_and_the_columns_passed_on(scorer: vaelocity.Scorer) -> None:
    rows = rows_of(100)
    rows[5, 0] = np.nan
    score = scorer.score(rows)
    cut = float(np.nanmedian(score))
    identifier = np.arange(2**53, 2**53 + 100, dtype=np.int64)
    batch = as_columns(rows, event=identifier, run=["a"] * 100)
    every = vaelocity.score_batch(scorer, batch, threshold=cut, columns=["event", "run"])
    assert every.schema.names == ["event", "run", "score", "flags", "anomalous"]
    np.testing.assert_array_equal(every.column("anomalous"), scorer.predict(rows, cut))
    np.testing.assert_array_equal(every.column("event").to_numpy(), identifier)
    some = vaelocity.score_batch(
        scorer, batch, threshold=cut, columns=["event"], accepted_only=True
    )
    np.testing.assert_array_equal(
        some.column("event").to_numpy(), identifier[scorer.predict(rows, cut)]
    )
    assert some.column("anomalous").to_pylist() == [True] * some.num_rows
    assert some.schema.metadata[b"vaelocity.threshold"] == repr(cut).encode()


def test_no_rows(scorer: vaelocity.Scorer) -> None:
    for batch in (as_columns(rows_of(0)), as_lists(rows_of(0))):
        assert vaelocity.score_batch(scorer, batch, threshold=1.0).num_rows == 0


def test_threads_give_the_same_bits(scorer: vaelocity.Scorer) -> None:
    batch = as_lists(rows_of(20_000))
    one, three = (vaelocity.score_batch(scorer, batch, threads=n) for n in (1, 3))
    assert one.equals(three)


def test_what_cannot_be_scored_is_named(scorer: vaelocity.Scorer) -> None:
    batch = as_columns(rows_of(3), score=[1.0, 2.0, 3.0])
    score = vaelocity.score_batch
    with pytest.raises(ValueError, match=r"1 of the model's 7 features are missing: f2"):
        score(scorer, batch.drop_columns(["f2"]))
    with pytest.raises(TypeError, match=r"column 'f1': expected Arrow float32, got double"):
        score(scorer, batch.set_column(2, "f1", pa.array([1.0, 2.0, 3.0])))
    with pytest.raises(ValueError, match=r"columns: 'event' is not one column of the batch"):
        score(scorer, batch, columns=["event"])
    with pytest.raises(ValueError, match=r"columns: 'score' is the name of a column"):
        score(scorer, batch, columns=["score"])
    with pytest.raises(ValueError, match=r"accepted_only: needs a threshold"):
        score(scorer, batch, accepted_only=True)
    with pytest.raises(ValueError, match=r"threshold: got NaN"):
        score(scorer, batch, threshold=float("nan"))
