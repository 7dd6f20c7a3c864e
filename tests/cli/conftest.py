"""What the tests of the command line share: a way to run it, files of events, and models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_runs import NAMES, TINY, Ran, Run, events


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line in this process."""
    from vaelocity.cli import main

    def call(*args: object) -> Ran:
        capfd.readouterr()
        code = main([str(arg) for arg in args])
        captured = capfd.readouterr()
        return Ran(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """normal.parquet and mixed.parquet (a column `process`, text, beside the features)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path_factory.mktemp("cli")
    rows = events(10_000, seed=0)
    pq.write_table(pa.table(dict(zip(NAMES, rows.T, strict=True))), folder / "normal.parquet")
    rows = np.concatenate([events(2000, seed=1), events(200, seed=2, shift=4.0)])
    columns: dict[str, Any] = dict(zip(NAMES, rows.T, strict=True))
    columns["process"] = ["background"] * 2000 + ["signal"] * 200
    pq.write_table(pa.table(columns), folder / "mixed.parquet")
    return folder


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Path:
    from vaelocity.cli import main

    path = folder / "ae.vael"
    assert main(["fit", str(folder / "normal.parquet"), "-o", str(path), *TINY]) == 0
    return path


@pytest.fixture(scope="module")
def vae(folder: Path) -> Path:
    from vaelocity.cli import main

    path = folder / "vae.vael"
    args = ["fit", str(folder / "normal.parquet"), "-o", str(path), "--model", "vae"]
    assert main([*args, "--score-kind", "kl", *TINY]) == 0
    return path
