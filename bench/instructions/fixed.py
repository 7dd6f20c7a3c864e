"""Instructions a row of a fixed-point network 57-32-16-3-16-32-57, counted by valgrind.

    python bench/instructions/fixed.py

Compiles the AVX2 unit and runs it under callgrind, less a run that makes the rows alone. Needs g++
and valgrind.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from count import AVX2, FLAGS, HERE, SOURCES, collected

from vaelocity.benchmark import pages

ROWS = 2048
MODES = {"trn": "TRN, WRAP", "rnd": "RND_CONV, SAT"}


def main() -> None:
    """The command."""
    with tempfile.TemporaryDirectory() as folder:
        program, unit = Path(folder) / "fixed", Path(folder) / "kernel.o"
        source = SOURCES / "src" / "fixed" / "kernel.cpp"
        subprocess.run(["g++", *FLAGS, *AVX2, "-c", source, "-o", unit], check=True)
        subprocess.run(["g++", *FLAGS, HERE / "fixed.cpp", unit, "-o", program], check=True)
        rows = []
        for width in ("8", "16"):
            without = collected(program, width, "nothing", str(ROWS))
            for mode, name in MODES.items():
                count = collected(program, width, mode, str(ROWS)) - without
                rows.append((f"{width} bits, {name}", f"{count / ROWS:,.0f}"))
    sys.stdout.write("\n".join(pages.table(("values", "instructions a row"), rows)) + "\n")


if __name__ == "__main__":
    main()
