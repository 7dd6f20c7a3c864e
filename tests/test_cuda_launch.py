"""From CudaScorer to the driver, with Triton's compiler and a driver that launches nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("triton")

SCRIPT = Path(__file__).parent / "cuda_launcher" / "fake_launch.py"


def test_launches(make_bundle: Callable[..., Path]) -> None:
    """Two kernels for all numbers of rows, the caller's stream, and no more programs than tiles."""
    path = make_bundle([19, 16, 3])
    done = subprocess.run(
        [sys.executable, "-W", "error", SCRIPT, path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert (found["few"], found["many"]) == (1, 2)
    launches = found["launches"]
    # No launch for no rows; tiles of 16 rows for few, of 64 for many, 2 and 3 a multiprocessor.
    assert [launch["n"] for launch in launches] == [
        *(1, 16, 1000, 1000),
        *(4097, 100_000, 65_536, 100_000),
        20,
    ]
    programs = [1, 1, 63, 63, 65, 396, 396, 396, 2]
    assert [launch["grid"] for launch in launches] == [[p, 1, 1] for p in programs]
    for launch, expected in zip(launches, programs, strict=True):
        assert launch["programs"] == expected
        assert launch["stream"] == 77
        assert launch["tensors"][:4] == ["x", "weights", "biases", "scaling"]
        assert launch["beta"] == pytest.approx(0.7)
    assert all(launch["tensors"][4:] == ["scores"] for launch in launches[:-1])
    last = launches[-1]
    assert last["tensors"][4:] == ["decisions"]
    assert (last["row_stride"], last["column_stride"], last["threshold"]) == (64, 1, 3.5)
    assert last["READ_PADDING"]
    # 25,000 groups of 4 rows of 76 bytes, and the 3 rows that are left; not rows 64 apart.
    whole, rest, apart = found["in_groups"]
    assert (whole["n"], whole["grid"], whole["GROUP"]) == (100_000, [396, 1, 1], 4)
    assert (rest["n"], rest["grid"], rest["GROUP"]) == (3, [1, 1, 1], 0)
    assert (apart["n"], apart["GROUP"]) == (5000, 0)
    assert all("x" in launch["tensors"] for launch in found["in_groups"])
