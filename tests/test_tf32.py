"""What tf32 does to a score: operands cut off, as tensor cores take float32 ones, and rounded, as
the GPU scorer gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import score_reference as reference

from vaelocity.cuda.pieces import nearest_tf32

Make = Callable[..., Path]

# Largest error over (|score| + mean |score|) on an H200, without rounding: the first three failures
# in bench/results/nvidia-h200/logs/pytest.txt.
H200 = {("kl", 15): 0.011977832, ("rz", 1000): 0.014964568, ("elbo", 20_001): 0.010162414}


def cut_off(values: np.ndarray) -> np.ndarray:
    return (values.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)


@contextmanager
def operands(take: Callable[[np.ndarray], np.ndarray]) -> Iterator[None]:
    """The reference's dense layers with operands in tf32, all else in float64."""

    def wide(values: np.ndarray) -> np.ndarray:
        return take(np.ascontiguousarray(values, np.float32)).astype(np.float64)

    def run(steps: Any, tensors: Any, x: np.ndarray, functions: Any) -> np.ndarray:
        for step in steps:
            y = wide(x) @ wide(tensors[step["weight"]]).T + tensors[step["bias"]]
            x = functions[step["activation"]](y)
        return x

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference.step_reference, "run", run)
        yield


def error(path: Path, kind: str, n: int, take: Callable[[np.ndarray], np.ndarray]) -> float:
    rows = (2 * np.random.default_rng(0).normal(size=(n, 59))).astype(np.float32)
    exact = reference.score(path, rows, kind)
    with operands(take):
        found = reference.score(path, rows, kind)
    return float((np.abs(found - exact) / (np.abs(exact) + np.abs(exact).mean())).max())


@pytest.mark.parametrize(("kind", "n"), H200)
def test_cutting_off_is_what_the_gpu_did_and_rounding_is_better(
    make_bundle: Make, kind: str, n: int
) -> None:
    path = make_bundle([59, 64, 32, 16], gaussian=True)
    cut = error(path, kind, n, cut_off)
    assert cut == pytest.approx(H200[kind, n], rel=1e-4)
    assert error(path, kind, n, nearest_tf32) < cut / 4


def test_nearest_tf32() -> None:
    """Ties to even, half a digit at most, 13 bits of 0, nothing left to round."""
    few = np.array([1 + k * 2.0**-12 for k in (0, 1, 2, 3, 5, 6, 7)], np.float32)
    digit = np.float32(2.0**-10)
    assert np.array_equal(nearest_tf32(few), 1 + digit * np.float32([0, 0, 0, 1, 1, 2, 2]))
    values = np.random.default_rng(0).normal(size=10_000).astype(np.float32)
    rounded = nearest_tf32(values)
    assert (np.abs(rounded - values) <= np.abs(values) * 2.0**-11).all()
    assert not (rounded.view(np.uint32) & 0x1FFF).any()
    assert np.array_equal(nearest_tf32(rounded), rounded)
