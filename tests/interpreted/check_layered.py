"""Networks with convolutions: torch for their layers, one kernel for the score."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import score_reference as reference
import torch

import vaelocity
from vaelocity.bundle import read_bundle, write_bundle
from vaelocity.cuda import layered
from vaelocity.histogram import ScoreHistogram

Make = Callable[..., Any]


def rows_of(n: int, d: int) -> np.ndarray:
    return np.random.default_rng(n).normal(size=(n, d)).astype(np.float32)


def check_every_step_and_kind(image_bundles: list[Path], make_scorer: Make) -> None:
    for path in image_bundles:
        metadata, _ = read_bundle(path)
        rows = rows_of(19, len(metadata["features"]))
        for kind in metadata["conformance"]["scores"]:
            scorer = make_scorer(path, kind)
            scorer.verify()
            found = scorer.score(torch.from_numpy(rows)).numpy()
            exact = reference.score(path, rows, kind)
            error = np.abs(found - exact) / (np.abs(exact) + np.abs(exact).mean())
            assert error.max() < 1e-5, (path.stem, kind)


def check_all_that_a_scorer_gives(image_bundles: list[Path], make_scorer: Make) -> None:
    """Flags, features, decisions, histogram and accepted events, in parts of the rows, as the CPU
    has them."""
    path = next(path for path in image_bundles if path.stem == "small")
    cpu = vaelocity.load(path)
    scorer = make_scorer(path)
    scorer._network._at_once = 37
    rows = rows_of(100, cpu.n_features)
    rows[3, 0], rows[40] = np.nan, 1e30
    given = torch.from_numpy(rows)
    scores = scorer.score(given).numpy()
    np.testing.assert_allclose(scores, cpu.score(rows), rtol=1e-4)
    assert np.array_equal(scorer.flags(given).numpy(), cpu.flags(rows))
    usual = np.delete(np.arange(100), [3, 40])
    features, expected = scorer.score_features(given).numpy(), cpu.score_features(rows)
    np.testing.assert_allclose(features[usual], expected[usual], rtol=1e-4, atol=1e-5)
    assert np.isnan(features[3]).all()
    threshold = float(np.median(scores[usual]))
    anomalous = ~(scores <= np.float32(threshold))
    assert np.array_equal(scorer.predict(given, threshold).numpy(), anomalous)
    index, kept = scorer.accept(given, threshold)
    assert index.tolist() == np.flatnonzero(anomalous).tolist()
    np.testing.assert_array_equal(kept.numpy(), scores[index])
    counted = ScoreHistogram(scorer.kind, scorer.identity).update(scores)
    assert scorer.histogram(given) == counted
    assert len(scorer.score(given[:0])) == 0


def check_layouts_and_types(image_bundles: list[Path], make_scorer: Make) -> None:
    scorer = make_scorer(image_bundles[0])
    rows = torch.from_numpy(rows_of(20, scorer.n_features))
    expected = scorer.score(rows)
    assert torch.equal(scorer.score(rows.T.contiguous().T), expected)
    assert torch.equal(scorer.score(torch.cat([rows, rows], 1)[:, : rows.shape[1]]), expected)
    half = rows.half()
    assert torch.equal(scorer.score(half), scorer.score(half.float()))


def check_products_in_bfloat16(image_bundles: list[Path], make_scorer: Make) -> None:
    """Near the exact scores, and not equal to those of float32."""
    scorer = make_scorer(image_bundles[0], None, "bf16")
    scorer.verify()
    rows = rows_of(50, scorer.n_features)
    found = scorer.score(torch.from_numpy(rows)).numpy()
    exact = reference.score(image_bundles[0], rows, "reconstruction")
    error = np.abs(found - exact) / (np.abs(exact) + np.abs(exact).mean())
    assert 1e-5 < error.max() < 5e-2


def check_memory_limit(image_bundles: list[Path], make_scorer: Make) -> None:
    path = image_bundles[0]
    held = make_scorer(path).device_bytes
    with pytest.raises(ValueError, match=rf"memory_limit: the model needs {held} bytes on the dev"):
        make_scorer(path, memory_limit=held + 10)
    scorer = make_scorer(path, memory_limit=held + 100_000)
    assert 1 < scorer._network._at_once < 1000
    assert held < scorer.device_bytes <= held + 50_000
    rows = torch.from_numpy(rows_of(1000, scorer.n_features))
    torch.testing.assert_close(scorer.score(rows), make_scorer(path).score(rows))


def check_switches_of_the_program_stay(
    image_bundles: list[Path], make_scorer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's own, also where a layer raises; inside they are what the precision says."""
    seen = []
    real = layered.Layers.forward

    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        seen.append((torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32))
        return real(self, x)

    monkeypatch.setattr(layered.Layers, "forward", forward)
    before = torch.backends.cuda.matmul.allow_tf32
    for precision, allowed in (("float32", False), ("tf32", True)):
        torch.backends.cuda.matmul.allow_tf32 = not allowed
        scorer = make_scorer(image_bundles[0], None, precision)
        scorer.score(torch.zeros(3, scorer.n_features))
        assert set(seen) == {(allowed, allowed)}
        assert torch.backends.cuda.matmul.allow_tf32 is not allowed
        seen.clear()
    torch.backends.cuda.matmul.allow_tf32 = before


def check_unknown_precision(image_bundles: list[Path], make_scorer: Make) -> None:
    with pytest.raises(ValueError, match="precision: expected one of float32, tf32, bf16, got"):
        make_scorer(image_bundles[0], None, "fp8")


def check_a_wrong_conformance_score(image_bundles: list[Path], make_scorer: Make) -> None:
    path = image_bundles[0]
    metadata, tensors = read_bundle(path)
    name = metadata["conformance"]["scores"]["reconstruction"]
    tensors[name] = tensors[name] * np.float32(1.01)
    write_bundle(path, metadata, tensors)
    with pytest.raises(vaelocity.BundleError, match="conformance row 0"):
        make_scorer(path).verify()
