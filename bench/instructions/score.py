"""What the scorer tells the processor to do for a row, counted by valgrind, and what that allows.

    python bench/instructions/score.py [--output FOLDER]

Every network of bench/score_plan.py in one batch of rows and of columns, and event by event. Writes
score_counts.json and score_counts.md to bench/results/<machine>/ (or FOLDER), beside the times of
score.json where it is there, and prints the page. Valgrind knows no AVX-512, so the unit counted is
the AVX2 one. Needs g++, objdump and valgrind.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import score_counts  # noqa: E402
import score_plan  # noqa: E402
from opcodes import counted  # noqa: E402
from score_counts import FMA, ISSUE, LANES, LATENCY, LOADS, VECTORS  # noqa: E402

from vaelocity.benchmark import compiled, machine, pages  # noqa: E402
from vaelocity.frozen import Dense, Network  # noqa: E402

ROWS = {"rows": 256, "columns": 256, "event": 64}
IMAGE_ROWS = 64
FUNCTIONS = {"columns": "vael_score_columns"}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="folder for score_counts.json and .md")
    folder = parser.parse_args().output or HERE.parent / "results" / machine.folder_name()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as made:
        program = build(Path(made))
        networks = score_plan.networks(Path(made), quick=False)
        found = {network.name: count(program, network) for network in networks}
    results = {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": machine.fingerprint(("vaelocity",), HERE),
        "networks": found,
    }
    page = markdown(results, _times(folder / "score.json"))
    pages.write(results, folder, "score_counts", page)
    sys.stdout.write(page)


def build(folder: Path) -> Path:
    """score.cpp with the installed library and all else that it runs, at fixed addresses."""
    program = folder / "score"
    compiled.build(HERE / "score.cpp", program, "-O2", "-std=c++17", "-static")
    return program


def count(program: Path, network: Network) -> dict[str, Any]:
    """products, row_bytes, chain of a row and, of each case, what `opcodes.kinds` counts a row."""
    found: dict[str, Any] = {
        "products": network.flop // 2,
        "row_bytes": network.row_bytes,
        "chain": chain(network),
    }
    for case, rows in ROWS.items():
        n = min(rows, IMAGE_ROWS) if network.name in score_plan.IMAGES else rows
        arguments = [str(network.path), network.kind, case, str(n)]
        total = counted(program, arguments, FUNCTIONS.get(case, "vael_score_rows"))
        found[case] = {kind: times / n for kind, times in sorted(total.items())}
    return found


def chain(network: Network) -> int | None:
    """Cycles that an event's products take one after the other: the two chains of every dense layer
    (ARCHITECTURE.md, "The same bits") have half of its inputs each. None with convolutions."""
    layers = (*network.scored_encoder, *(network.decoder if network.decodes else ()))
    dense = [layer for layer in layers if isinstance(layer, Dense)]
    if len(dense) < len(layers):
        return None
    return sum(LATENCY * ((layer.weight.shape[1] + 1) // 2) for layer in dense)


def _times(path: Path) -> dict[str, float]:
    """Per cent of the peak of every case in score.json that has one."""
    if not path.exists():
        return {}
    cases = json.loads(path.read_text())["cases"]
    reached = {case["id"]: case["entries"][0]["percent_of_peak"] for case in cases}
    return {name: percent for name, percent in reached.items() if percent is not None}


def markdown(results: Mapping[str, Any], times: Mapping[str, float]) -> str:
    """The page. times: see `_times`."""
    about = results["machine"]
    lines = [
        "# What the scorer tells the processor to do for a row",
        "",
        f"Counted by callgrind in the AVX2 unit on {about['cpu']}; commit {about['commit']}; "
        f"{results['date']}. Counts are the same on every machine with AVX2.",
        "",
        "- products / 8: fused multiply-adds that the layers' products need.",
        "- bytes loaded: by instructions, nearly all from L1; row: bytes that come from memory.",
        f"- at most: of the peak, with {FMA} fused multiply-adds, {LOADS} loads ({VECTORS} of "
        f"vectors) and {ISSUE} instructions a cycle (Zen 3); of an event also where products wait "
        "for others.",
        "- measured: from score.json; instructions a cycle: what that took.",
        "",
        *pages.table(
            ("network", "case", "products / 8", "fma", "loads", "bytes loaded", "row",
             "instructions", "at most", "measured", "instructions a cycle"),
            _rows(results["networks"], times),
        ),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


_CASES = {"rows": "4096", "columns": "4096/columns", "event": "event"}


def _rows(networks: Mapping[str, Any], times: Mapping[str, float]) -> Iterator[tuple[str, ...]]:
    for name, found in networks.items():
        for case in ROWS:
            counts = found[case]
            percent, what = score_counts.limit(found, case)
            reached = times.get(f"{name}/{_CASES[case]}")
            measured = rate = ""
            if reached is not None:
                measured = f"{reached:.0f} %"
                rate = f"{score_counts.rate(found, case, reached):.1f}"
            yield (
                name, case, f"{found['products'] / LANES:,.0f}", f"{counts['fma']:,.0f}",
                f"{counts['loads']:,.0f}", f"{counts['bytes']:,.0f}", f"{found['row_bytes']:,}",
                f"{counts['instructions']:,.0f}", f"{percent:.0f} % ({what})", measured, rate,
            )  # fmt: skip


if __name__ == "__main__":
    main()
