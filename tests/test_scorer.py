"""The scorer as a Python user meets it: what it takes, what it refuses, what it never loads."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import vaelocity

MakeBundle = Callable[..., Path]


@pytest.fixture
def scorer(make_bundle: MakeBundle) -> vaelocity.Scorer:
    return vaelocity.load(make_bundle([7, 12, 3]))


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(5).normal(size=(50, 7)).astype(np.float32)


def test_scoring_loads_numpy_and_nothing_else_heavy(make_bundle: MakeBundle) -> None:
    path = make_bundle([7, 12, 3])
    code = f"""
import sys, numpy as np, vaelocity
scorer = vaelocity.load({str(path)!r})
scorer.score(np.zeros((3, 7), np.float32)); scorer.predict(np.zeros((3, 7), np.float32), 1.0)
heavy = {{"torch", "triton", "pyarrow", "pandas", "scipy", "matplotlib", "safetensors", "rich"}}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_all_holders_of_rows_give_the_same_scores(
    scorer: vaelocity.Scorer, rows: np.ndarray
) -> None:
    pa = pytest.importorskip("pyarrow")
    import torch

    expected = scorer.score(rows)
    names = scorer.feature_names
    columns = dict(zip(names, rows.T.copy(), strict=True))
    shuffled = dict(reversed(columns.items()))
    structured = np.zeros(len(rows), [("id", np.int32), *((name, np.float32) for name in names)])
    for name in names:
        structured[name] = columns[name]
    table = pa.table({"id": np.arange(len(rows)), **shuffled})
    holders = {
        "torch": torch.from_numpy(rows),
        "torch transposed": torch.from_numpy(rows.T.copy()).T,
        "list": list(columns.values()),
        "list of views of different strides": [rows[:, 0].copy(), *rows.T[1:]],
        "dict in another order": shuffled,
        "structured": structured,
        "record batch": table.to_batches()[0],
        "table": table,
        "table in chunks": pa.concat_tables([table[:20], table[20:]]),
    }
    for name, holder in holders.items():
        assert np.array_equal(scorer.score(holder), expected), name
        assert np.array_equal(scorer.score_features(holder), scorer.score_features(rows)), name


def test_score_features_sums_to_the_score(scorer: vaelocity.Scorer, rows: np.ndarray) -> None:
    features = scorer.score_features(rows)
    assert features.shape == rows.shape
    assert features.dtype == np.float32
    np.testing.assert_allclose(features.sum(1), scorer.score(rows), rtol=1e-5)


def test_score_features_of_many_rows_in_threads(scorer: vaelocity.Scorer) -> None:
    rows = np.random.default_rng(1).normal(size=(9000, 7)).astype(np.float32)
    rows[8000, 3] = np.nan
    assert np.array_equal(
        scorer.score_features(rows, threads=3), scorer.score_features(rows), equal_nan=True
    )
    assert np.array_equal(scorer.flags(rows, threads=3), scorer.flags(rows))


def test_scores_and_flags_of_one_pass_are_those_of_two(
    bundles: list[Path], physics_bundles: list[Path]
) -> None:
    """Whole, in columns, in neighbouring parts, on three threads; with every flag there is."""
    seen: set[int] = set()
    for path in (*bundles, *physics_bundles):
        scorer = vaelocity.load(path)
        d = scorer.n_features
        rows = np.random.default_rng(2).normal(size=(3001, d)).astype(np.float32)
        rows[7], rows[8, 0], rows[300] = np.nan, np.inf, 1e38
        rows[9:12, [1 % d, 4 % d, 17 % d]] = np.nan
        wanted = scorer.score(rows), scorer.flags(rows)
        seen |= set(wanted[1].tolist())
        columns = list(rows.T.copy())
        parts = [rows[:5], rows[5:5], rows[5:2000], rows[2000:]]
        for found in (
            scorer.score_flags(rows), scorer.score_flags(columns), scorer.score_flags_of(parts),
            scorer.score_flags(rows, threads=3), scorer.score_flags(columns, threads=3),
        ):  # fmt: skip
            for one, expected in zip(found, wanted, strict=True):
                np.testing.assert_array_equal(one, expected)
    assert seen >= {0, 1, 2, 4}
    with pytest.raises(ValueError, match=r"rows: expected shape \(n, "):
        scorer.score_flags_of([rows[:, :-1]])


@pytest.mark.parametrize("method", ["score", "flags", "score_flags"])
def test_other_threads_run_while_many_rows_are_scored(make_bundle: MakeBundle, method: str) -> None:
    """With the interpreter lock held they could do so at the ends of the call only."""
    scorer = vaelocity.load(make_bundle([59, 64, 32, 16]))
    rows = np.zeros((200_000, 59), np.float32)
    ends: list[float] = []

    def scoring() -> None:
        ends.append(time.perf_counter())
        getattr(scorer, method)(rows)
        ends.append(time.perf_counter())

    thread = threading.Thread(target=scoring)
    thread.start()
    seen = []
    while thread.is_alive():
        seen.append(time.perf_counter())
        time.sleep(0.0001)
    start, stop = ends
    low, high = start + 0.3 * (stop - start), start + 0.7 * (stop - start)
    assert any(low < now < high for now in seen)


def test_out_is_written_and_returned(scorer: vaelocity.Scorer, rows: np.ndarray) -> None:
    out = np.full(len(rows), np.nan, np.float32)
    assert scorer.score(rows, out=out) is out
    assert np.array_equal(out, scorer.score(rows))
    many = np.tile(rows, (200, 1))
    out = np.full(len(many), np.nan, np.float32)
    assert scorer.score(many, out=out, threads=2) is out
    assert np.array_equal(out, scorer.score(many))


def test_no_rows(scorer: vaelocity.Scorer) -> None:
    assert scorer.score(np.zeros((0, 7), np.float32)).shape == (0,)
    assert scorer.score_features(np.zeros((0, 7), np.float32)).shape == (0, 7)
    assert scorer.flags([np.zeros(0, np.float32)] * 7).shape == (0,)


def test_a_row_that_is_not_finite_is_flagged_and_never_lost(
    scorer: vaelocity.Scorer, rows: np.ndarray
) -> None:
    clean = scorer.score(rows)
    rows[3, 0], rows[10, 6], rows[49, 2], rows[20] = np.nan, np.inf, -np.inf, 1e30
    scores, flags = scorer.score(rows), scorer.flags(rows)
    assert np.isnan(scores[[3, 10, 49]]).all()
    assert scores[20] == np.finfo(np.float32).max
    assert flags[[3, 10, 49, 20]].tolist() == [1, 1, 1, 2]
    others = np.setdiff1d(np.arange(50), [3, 10, 49, 20])
    assert np.array_equal(scores[others], clean[others])
    assert not flags[others].any()
    assert scorer.predict(rows, threshold=np.inf)[[3, 10, 49]].all()
    assert np.isnan(scorer.score_features(rows)[3]).all()
    assert np.isfinite(scorer.score_features(rows)[20]).all()


def test_predict(scorer: vaelocity.Scorer, rows: np.ndarray) -> None:
    scores = scorer.score(rows)
    threshold = float(np.median(scores))
    assert np.array_equal(scorer.predict(rows, threshold), scores > np.float32(threshold))
    with pytest.raises(ValueError, match="has none for kind 'reconstruction'"):
        scorer.predict(rows)
    with pytest.raises(ValueError, match="threshold: got NaN"):
        scorer.predict(rows, float("nan"))


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (np.zeros((3, 7)), TypeError, "rows: expected float32, got float64"),
        (np.zeros((3, 7), ">f4"), TypeError, "rows: expected float32, got >f4"),
        (np.zeros((3, 6), np.float32), ValueError, r"expected shape \(n, 7\), got \(3, 6\)"),
        (np.zeros(7, np.float32), ValueError, r"expected shape \(n, 7\), got \(7,\)"),
        ([np.zeros(3, np.float32)] * 6, ValueError, "expected 7 columns, got 6"),
        ([], ValueError, "expected 7 columns, got 0"),
        ([[1.0] * 7], TypeError, "column 0: expected a numpy array, got list"),
        ([np.zeros(3)] * 7, TypeError, "column 0: expected float32, got float64"),
        ({"f0": np.zeros(3, np.float32)}, ValueError, "6 of the model's 7 features are missing"),
        (None, TypeError, "rows: expected a float32 numpy array .* got NoneType"),
        ("rows", TypeError, "got str"),
    ],
)
def test_bad_rows(
    scorer: vaelocity.Scorer, bad: object, error: type[Exception], message: str
) -> None:
    for method in (scorer.score, scorer.score_features, scorer.flags, scorer.predict):
        arguments = (bad, 1.0) if method == scorer.predict else (bad,)
        with pytest.raises(error, match=message):
            method(*arguments)  # type: ignore[operator]


def test_columns_of_different_lengths(scorer: vaelocity.Scorer) -> None:
    columns = [np.zeros(4, np.float32)] * 6 + [np.zeros(5, np.float32)]
    with pytest.raises(ValueError, match=r"column 6: expected shape \(4,\), got \(5,\)"):
        scorer.score(columns)


def test_bad_torch_and_arrow(scorer: vaelocity.Scorer) -> None:
    pa = pytest.importorskip("pyarrow")
    import torch

    with pytest.raises(TypeError, match=r"got torch\.float64"):
        scorer.score(torch.zeros(3, 7, dtype=torch.float64))
    names = scorer.feature_names
    with pytest.raises(TypeError, match="'f0': expected Arrow float32, got double"):
        scorer.score(pa.table({name: np.zeros(3) for name in names}))
    nulls = pa.table({name: pa.array([1.0, None], pa.float32()) for name in names})
    assert scorer.flags(nulls).tolist() == [0, 1]


@pytest.mark.parametrize(
    "out",
    [np.zeros(49, np.float32), np.zeros((50, 1), np.float32), np.zeros(100, np.float32)[::2]],
)
def test_bad_out(scorer: vaelocity.Scorer, rows: np.ndarray, out: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"out: expected .* shape \(50,\)"):
        scorer.score(rows, out=out)


def test_bad_threads(scorer: vaelocity.Scorer, rows: np.ndarray) -> None:
    with pytest.raises(ValueError, match="threads: expected a positive int, got 0"):
        scorer.score(rows, threads=0)


def test_load_refuses(make_bundle: MakeBundle, tmp_path: Path) -> None:
    path = make_bundle([7, 12, 3])
    with pytest.raises(FileNotFoundError, match=r"none\.vael"):
        vaelocity.load(tmp_path / "none.vael")
    with pytest.raises(vaelocity.BundleError, match="needs a gaussian latent"):
        vaelocity.load(path, kind="kl")
    with pytest.raises(vaelocity.BundleError, match='unknown kind "loudness"'):
        vaelocity.load(path, kind="loudness")
    with pytest.raises(vaelocity.BundleError, match='instruction set "sse9"'):
        vaelocity.load(path, isa="sse9")
    with pytest.raises(ValueError, match="backend: expected 'auto', 'cpu' or 'cuda', got 'tpu'"):
        vaelocity.load(path, backend="tpu")


def test_environment_forces_an_instruction_set(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_bundle([7, 12, 3])
    for isa in ("generic", "avx2", "avx512"):
        monkeypatch.setenv("VAELOCITY_ISA", isa)
        try:
            assert vaelocity.load(path).isa == isa
        except vaelocity.BundleError as error:
            assert "not on this machine" in str(error)  # noqa: PT017
    monkeypatch.setenv("VAELOCITY_ISA", "abacus")
    with pytest.raises(vaelocity.BundleError, match='instruction set "abacus"'):
        vaelocity.load(path)


def test_what_it_says_of_itself(make_bundle: MakeBundle) -> None:
    path = make_bundle([7, 12, 3], gaussian=True)
    scorer = vaelocity.load(path, kind="elbo")
    assert scorer.kinds == ["reconstruction", "kl", "mu2", "rz", "elbo"]
    assert scorer.feature_names == [f"f{j}" for j in range(7)]
    assert len(scorer.fingerprint) == 64
    assert repr(scorer).startswith("Scorer(kind='elbo', n_features=7, isa='")
    scorer.verify()


def test_conformance_rows_are_scored_again(make_bundle: MakeBundle) -> None:
    from vaelocity.bundle import read_bundle, write_bundle

    path = make_bundle([7, 12, 3])
    metadata, tensors = read_bundle(path)
    tensors["conformance.scores.reconstruction"][5] *= 1 + 2**-23
    write_bundle(path, metadata, tensors)
    with pytest.raises(vaelocity.BundleError, match="conformance row 5: score"):
        vaelocity.load(path)
    with pytest.raises(vaelocity.BundleError, match="conformance row 5: score"):
        vaelocity.load(path, verify=False).verify()
