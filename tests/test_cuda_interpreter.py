"""The GPU kernels' arithmetic and everything up to their launch, without a GPU: tests/interpreted/
in a process of its own, where Triton's interpreter stands in for the GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")


@pytest.mark.parametrize("name", ["accept", "activation", "columns", "layered", "score", "stream"])
def test_interpreted(name: str, tmp_path: Path) -> None:
    # The interpreter multiplies inf by 0 in NumPy, which warns; on a GPU nothing does.
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"),
        *("-W", "ignore::RuntimeWarning", "--basetemp", tmp_path / "inner"),
        *("-o", "python_files=check_*.py", "-o", "python_functions=check_*"),
        Path(__file__).parent / "interpreted" / f"check_{name}.py",
    ]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
