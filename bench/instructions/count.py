"""Instructions an element of the noise's kernels, counted by valgrind: what explains a time.

    python bench/instructions/count.py

Compiles the AVX2 units and runs each under callgrind over two numbers of rows: in the difference
nothing but the loop is counted. Valgrind knows no AVX-512; with twice the lanes the same loop takes
half of it. Needs g++ and valgrind.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from vaelocity.benchmark import pages

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "csrc"
KERNELS = ("philox_normal", "reparameterize_kl", "reparameterize_kl_backward")
UNITS = ("philox_normal", "reparameterize_kl")
ROWS, COLUMNS, LANES = 20_000, 16, 8
FLAGS = ("-std=c++20", "-O3", "-ffp-contract=off", "-I", str(SOURCES / "src"))
AVX2 = ("-mavx2", "-mfma", "-mf16c", "-fno-exceptions", "-fno-rtti", "-DVAEL_ISA_AVX2")


def main() -> None:
    """The command."""
    with tempfile.TemporaryDirectory() as folder:
        program = _built(Path(folder))
        rows = []
        for kernel in KERNELS:
            count = _per_row(program, kernel) - _per_row(program, "nothing")
            rows.append(
                (kernel, f"{count / COLUMNS:.1f}", f"{LANES * count / COLUMNS:.0f}"),
            )
    sys.stdout.write("\n".join(pages.table(("kernel", "an element", "a vector of 8"), rows)) + "\n")


def _built(folder: Path) -> Path:
    objects = [folder / f"{unit}.o" for unit in UNITS]
    for unit, target in zip(UNITS, objects, strict=True):
        source = SOURCES / "src" / "ops" / f"{unit}.cpp"
        subprocess.run(["g++", *FLAGS, *AVX2, "-c", source, "-o", target], check=True)
    program = folder / "kernels"
    subprocess.run(["g++", *FLAGS, HERE / "kernels.cpp", *objects, "-o", program], check=True)
    return program


def _per_row(program: Path, kernel: str) -> float:
    counts = [collected(program, kernel, str(n)) for n in (ROWS, 2 * ROWS)]
    return (counts[1] - counts[0]) / ROWS


def collected(program: Path, *arguments: str) -> int:
    """Instructions of a run of the program."""
    ran = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, *arguments],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    found = re.search(r"Collected : (\d+)", ran.stderr)
    assert found is not None, ran.stderr
    return int(found[1])


if __name__ == "__main__":
    main()
