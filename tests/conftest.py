"""What every test may use: the folder of real data, and where it is looked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with adbench/, jets/, ...: VAELOCITY_DATA or ../shared/data; skips without it."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("VAELOCITY_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set VAELOCITY_DATA to its folder")
    return folder
