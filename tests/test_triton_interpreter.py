"""The Triton kernels without a GPU: tests/triton/check_*.py in Triton's interpreter.

In a process of its own, because TRITON_INTERPRET has to be set before the kernels are imported.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

CHECKS = Path(__file__).parent / "triton"


def run_checks(**environment: str) -> None:
    """Run every check; print what pytest has to say of those that fail."""
    found = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider"),
            *("-o", "python_files=check_*.py", "-o", f"pythonpath={CHECKS}"),
            # NumPy warns where the interpreter makes inf and NaN on purpose.
            *("-W", "ignore::RuntimeWarning", str(CHECKS)),
        ],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_checks_in_the_interpreter():
    run_checks(TRITON_INTERPRET="1")
