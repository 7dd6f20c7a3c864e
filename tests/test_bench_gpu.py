"""The command that measures on a GPU goes through everything up to the launch without one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

GPU = Path(__file__).parents[1] / "bench" / "gpu.py"


def test_dry_run(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", GPU, "--dry-run", "--output", tmp_path]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONHASHSEED": "0"}
    done = subprocess.run(
        [*command, "--seconds", "1"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads((tmp_path / "gpu.json").read_text())
    assert results["dry_run"]
    assert results["tests"]["passed"], results["tests"]
    entries = [entry for case in results["cases"] for entry in case["entries"]]
    # Precisions, replays, counting, images, training.
    assert len(entries) == 4 + 3 + 4 + 3 + 1
    for entry in entries:
        assert entry["why"] == "", entry
        assert entry["error"] < 1e-2
    assert len(results["sweep"]) == 3
    assert all(tried["seconds"] for each in results["sweep"] for tried in each["tried"])
    assert results["requirements"][0] == {
        "name": "pytest -m gpu",
        "wanted": "all pass",
        "measured": results["tests"]["summary"],
        "met": True,
    }
    assert "A dry run" in (tmp_path / "gpu.md").read_text()
    table = json.loads((tmp_path / "configs.json").read_text())
    assert "59-64-32-16-32-64-59 reconstruction" in table["sm_90"]


def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("has a CUDA device")
    done = subprocess.run(
        [sys.executable, GPU, "--output", tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "no CUDA device here; --dry-run goes through everything" in done.stderr
