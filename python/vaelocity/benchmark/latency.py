"""The latency of one row through the C ABI: latency.cpp, compiled here against the package."""

from __future__ import annotations

import json
import subprocess
import tempfile
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from vaelocity.benchmark.compiled import NotBuilt, build

SECONDS = 300
"""After so long it is given up."""


def measure(path: Path, kind: str, calls: int) -> dict[str, Any]:
    """What latency.cpp prints, nanoseconds by case; {"why": ...} where it could not be built or
    took longer than SECONDS.

    Raises ValueError with its message where the program ends with an error.
    """
    with as_file(files("vaelocity")) as package, tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "latency")
        try:
            build(package / "benchmark" / "latency.cpp", program, "-O2", "-std=c++17")
        except NotBuilt as error:
            return {"why": str(error)}
        try:
            done = subprocess.run(
                [str(program), str(path), str(calls), kind],
                capture_output=True, text=True, check=False, timeout=SECONDS,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return {"why": f"took longer than {SECONDS} s"}
    if done.returncode:
        raise ValueError(f"latency: {done.stderr.strip()}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
