"""One score: the same row gets the same bits whatever surrounds it, and they are the right ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import vaelocity
from vaelocity import _core
from vaelocity.bundle import read_bundle

ACTIVATIONS = ["relu", "leaky_relu", "tanh", "sigmoid", "elu", "silu", "gelu", "identity"]
ISAS = _core.available_isas()

networks = st.fixed_dictionaries(
    {
        "widths": st.lists(st.integers(1, 70), min_size=2, max_size=4),
        "gaussian": st.booleans(),
        "activation": st.sampled_from(ACTIVATIONS),
        "seed": st.integers(0, 2**20),
    }
)
some_examples = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def bits(scores: np.ndarray) -> np.ndarray:
    return scores.view(np.uint32)


def rows_of(scorer: vaelocity.Scorer, n: int, seed: int = 0) -> np.ndarray:
    shape = (n, scorer.n_features)
    return (2 * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


@given(network=networks)
@some_examples
def test_every_instruction_set_gives_the_same_bits_in_every_layout(
    make_bundle: Callable[..., Path], network: dict[str, Any]
) -> None:
    path = make_bundle(**network)
    for kind in vaelocity.load(path).kinds:
        expected = None
        for isa in ISAS:
            scorer = vaelocity.load(path, kind=kind, isa=isa)
            rows = rows_of(scorer, 45)
            scores = bits(scorer.score(rows))
            expected = scores if expected is None else expected
            assert np.array_equal(scores, expected), (kind, isa)
            columns = [np.ascontiguousarray(column) for column in rows.T]
            assert np.array_equal(bits(scorer.score(columns)), expected), (kind, isa, "columns")
            assert np.array_equal(bits(scorer.score(np.asfortranarray(rows))), expected)
            one_by_one = [scorer.score(rows[i : i + 1])[0] for i in range(len(rows))]
            assert np.array_equal(bits(np.array(one_by_one)), expected), (kind, isa, "one by one")


def scaled(path: Path, rows: np.ndarray) -> np.ndarray:
    """The rows as the network sees them."""
    metadata, tensors = read_bundle(path)
    step = metadata["preprocess"][-1]
    return (rows - tensors[step["mean"]]) / tensors[step["scale"]]


@given(network=networks)
@some_examples
def test_scores_agree_with_float64(
    make_bundle: Callable[..., Path],
    exact_score: Callable[..., np.ndarray],
    network: dict[str, Any],
) -> None:
    path = make_bundle(**network)
    for kind in vaelocity.load(path).kinds:
        scorer = vaelocity.load(path, kind=kind)
        rows = rows_of(scorer, 64)
        exact = exact_score(path, rows, kind)
        # Relative to the typical score, and to what it is a difference of: y of 3.95 less x of 3.86
        # has lost five bits before it is squared (one feature, 56 latent variables: 1.5e-5).
        size = np.abs(exact) + np.abs(exact).mean() + 0.1 * np.square(scaled(path, rows)).sum(1)
        error = np.abs(scorer.score(rows) - exact) / size
        assert error.max() < 1e-5, (kind, error.max())


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("widths", [[59, 64, 32, 16], [57, 32, 16, 3], [1, 1], [17, 5, 2]])
def test_every_batch_size_and_every_position(
    make_bundle: Callable[..., Path], isa: str, widths: list[int]
) -> None:
    scorer = vaelocity.load(make_bundle(widths), isa=isa)
    rows = rows_of(scorer, 257)
    expected = bits(scorer.score(rows))
    for n in range(1, 258):
        assert np.array_equal(bits(scorer.score(rows[:n])), expected[:n]), n
        assert np.array_equal(bits(scorer.score(rows[-n:])), expected[-n:]), n


def test_alignment_strides_and_threads(make_bundle: Callable[..., Path]) -> None:
    scorer = vaelocity.load(make_bundle([59, 64, 32, 16]))
    n = 20_000
    rows = rows_of(scorer, n)
    expected = bits(scorer.score(rows))
    for threads in (2, 3, 7):
        assert np.array_equal(bits(scorer.score(rows, threads=threads)), expected)
        assert np.array_equal(bits(scorer.score(list(rows.T), threads=threads)), expected)
    for offset in range(16):
        buffer = np.full(n * 61 + offset, np.nan, np.float32)[offset:].reshape(n, 61)
        buffer[:, 1:60] = rows
        assert np.array_equal(bits(scorer.score(buffer[:, 1:60])), expected), offset
    assert np.array_equal(bits(scorer.score(rows[::-1])), expected[::-1])
    wide = np.zeros((n, 118), np.float32)
    wide[:, ::2] = rows
    assert np.array_equal(bits(scorer.score(wide[:, ::2])), expected)


def test_a_caller_that_flushes_subnormals_gets_the_same_bits(
    make_bundle: Callable[..., Path],
) -> None:
    import torch

    scorer = vaelocity.load(make_bundle([9, 8, 3], gaussian=True), kind="kl")
    rows = rows_of(scorer, 40) * np.float32(1e-39)
    expected = bits(scorer.score(rows))
    if not torch.set_flush_denormal(True):
        pytest.skip("this machine cannot flush subnormals")
    try:
        assert np.array_equal(bits(scorer.score(rows)), expected)
    finally:
        torch.set_flush_denormal(False)
