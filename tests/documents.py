"""The code blocks of a Markdown file, and the data that they run on."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FEATURES = ["pt", "eta", "mass", "width", "tau21"]

PREAMBLE = """
import warnings
import numpy as np
import torch
torch.set_num_threads(1)
from documents import qcd
rows = qcd(3000, 9)
mu, logvar, x = torch.randn(64, 3), torch.zeros(64, 3), torch.randn(64, 5)
mu.requires_grad_()
decoder = torch.nn.Linear(3, 5)
"""
"""What a Python block of the documents may take for granted: rows, and a VAE's tensors."""


@dataclass(frozen=True)
class Block:
    """language: of the fence, "" for none; line: of its first line in the file."""

    language: str
    text: str
    line: int


def blocks(path: Path) -> list[Block]:
    """Every fenced code block."""
    text = path.read_text(encoding="utf-8")
    return [
        Block(found[1], found[2], text[: found.start(2)].count("\n") + 1)
        for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]


def qcd(n: int, seed: int) -> np.ndarray:
    """Normal events, float32 [n, 5]."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, n))
    sheet = np.column_stack([50 + 10 * np.exp(a / 2), b, 5 + a + b, a * b, np.tanh(b)])
    return (sheet + 0.05 * rng.normal(size=(n, 5))).astype(np.float32)


def make_data(folder: Path, held_out: int) -> None:
    """events.csv and events.parquet (labelled), new/, held-out/, events/ and today.parquet."""
    import pyarrow as pa
    import pyarrow.csv as pc
    import pyarrow.parquet as pq

    def table(rows: np.ndarray) -> pa.Table:
        return pa.table({name: rows[:, j] for j, name in enumerate(FEATURES)})

    top = qcd(500, 2) * np.float32(1.5) + np.float32(2)
    labels = pa.array(["qcd"] * 10_500 + ["top"] * 500)
    labelled = table(np.concatenate([qcd(10_500, 1), top])).append_column("process", labels)
    pc.write_csv(labelled, folder / "events.csv")
    pq.write_table(labelled, folder / "events.parquet")
    for name in ("new", "held-out", "events"):
        (folder / name).mkdir()
    pq.write_table(table(qcd(1000, 3)), folder / "new" / "a.parquet")
    for part in range(2):
        pq.write_table(table(qcd(held_out // 2, 4 + part)), folder / f"held-out/{part}.parquet")
    for part in range(2):
        numbers = pa.array(range(10_000 * part, 10_000 * (part + 1)))
        numbered = table(qcd(10_000, 6 + part)).append_column("event", numbers)
        pq.write_table(numbered, folder / f"events/{part}.parquet")
    pq.write_table(table(qcd(5000, 8)), folder / "today.parquet")


def run(block: Block, folder: Path, before: str = "") -> None:
    """Run a block in the folder as its reader would; AssertionError with its output if it fails.

    before: Python that runs ahead of a Python block.
    """
    if block.language == "python":
        command = [sys.executable, "-c", PREAMBLE + before + block.text]
    else:
        command = ["bash", "-euo", "pipefail", "-c", block.text]
    scripts = sysconfig.get_path("scripts")
    environment = os.environ | {
        "PATH": f"{scripts}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(__file__).parent),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"line {block.line}:\n{block.text}\n{done.stdout}\n{done.stderr}"
