"""Events scored a second, beside torch, torch.compile, ONNX Runtime and OpenVINO.

    python bench/bench_score.py [--quick] [--output FOLDER] [--cpu N]

One process, one thread, one processor; every implementation computes the whole score from the same
float32 rows, is checked against a float64 reference and only then timed. Writes score.json and
score.md to bench/results/<machine>/ (or FOLDER; --quick writes nothing without one) and prints the
page. bench/README.md tells how to read it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import machine
import numpy as np
import report
import requirements
from network import Network, build, jet_rows
from race import OURS, Entry, checked, load_peers, peer_entries, race
from timing import Contender, interleave, median

PACKAGES = ("vaelocity", "numpy", "torch", "onnxruntime", "openvino")
LONG = 1 << 20

_START = """
import sys, time
import numpy as np
before = time.process_time()
import vaelocity
scorer = vaelocity.load(sys.argv[1])
scorer.score(np.zeros((1, scorer.n_features), np.float32))
print(time.process_time() - before)
assert "torch" not in sys.modules, "torch was imported"
"""


def main() -> None:
    """The whole run."""
    options = _options()
    allowed = os.sched_getaffinity(0)
    cpu = max(allowed) if options.cpu is None else options.cpu
    os.sched_setaffinity(0, {cpu})
    if options.quick:
        os.environ["BENCH_QUICK"] = "1"
    warnings.simplefilter("ignore")
    about = machine.fingerprint(PACKAGES)
    peak = machine.fma_peak()
    peak_found = _peak(peak)
    load_peers()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        jets = build(59, (64, 32), 16, folder)
        small = build(57, (32, 16), 3, folder)
        plan = [(jets, n) for n in (1, 256, 4096, 65536, LONG)] + [(small, 1), (small, 4096)]
        if options.quick:
            plan = [(jets, 1), (jets, 4096)]
        cases = [_case(network, n, peak, options.quick) for network, n in plan]
        cases.append(_columns(jets, 4096, peak, options.quick))
        if not options.quick:
            os.sched_setaffinity(0, allowed)
            cases.append(_threads(jets, LONG, peak))
            os.sched_setaffinity(0, {cpu})
        start = _start(jets.path, 3 if options.quick else 9)
        isa = _scorer(jets).isa
    results = {
        "schema": report.SCHEMA,
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": about,
        "quick": options.quick,
        "isa": isa,
        "peak": peak_found,
        "notes": f"Pinned to processor {cpu}, one thread.",
        "start": start,
        "cases": cases,
    }
    results["requirements"] = requirements.judge(results)
    if options.output or not options.quick:
        target = options.output or Path(__file__).parent / "results" / machine.folder_name()
        report.write(results, target)
        sys.stderr.write(f"written to {target}\n")
    sys.stdout.write(report.markdown(results))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two cases, few rounds")
    parser.add_argument("--output", type=Path, help="folder for score.json and score.md")
    parser.add_argument("--cpu", type=int, help="processor to run on (default: the last)")
    return parser.parse_args()


def _progress(text: str) -> None:
    sys.stderr.write(f"{time.process_time():6.1f} s CPU  {text}\n")


def _scorer(network: Network) -> Any:
    import vaelocity

    return vaelocity.load(network.path)


def _rounds(n: int, quick: bool) -> tuple[int, float]:
    """Rounds of a case, and seconds a sample."""
    if quick:
        return 9, 0.004
    return (7, 0.01) if n >= LONG else (31, 0.01)


def _case(network: Network, n: int, peak: machine.Peak, quick: bool) -> dict[str, Any]:
    """n rows in row-major order, all peers."""
    title = f"{network.name}, {n:,} row{'s' if n > 1 else ''}"
    _progress(title)
    rows, out = jet_rows(n, network.n_features), np.empty(n, np.float32)
    reference = network.reference(rows)
    ours = Entry(OURS, "score(rows, out)", partial(_scorer(network).score, rows, out))
    entries = [checked(ours, reference), *peer_entries(network, rows, reference)]
    found = race(entries, n, network.flop, peak, *_rounds(n, quick))
    return {"id": f"{network.name}/{n}", "title": title, "rows": n, "entries": found}


def _columns(network: Network, n: int, peak: machine.Peak, quick: bool) -> dict[str, Any]:
    """One array a feature, as Arrow and ROOT hold it: read as they lie; the peers gather first."""
    _progress("columns")
    rows, out = jet_rows(n, network.n_features), np.empty(n, np.float32)
    reference = network.reference(rows)
    columns = [np.ascontiguousarray(column) for column in rows.T]
    scorer = _scorer(network)

    def gathered(entry: Entry) -> Entry:
        call = entry.call
        if call is None:
            return entry

        def both() -> Any:
            np.stack(columns, axis=1, out=rows)
            return call()

        return replace(entry, way=f"columns to rows, {entry.way}", call=both)

    ways = {
        "score(columns, out)": columns,
        "score(rows in Fortran order, out)": np.asfortranarray(rows),
        "score(rows, out)": rows,
    }
    entries = [
        checked(Entry(OURS, way, partial(scorer.score, data, out)), reference)
        for way, data in ways.items()
    ]
    entries += [gathered(entry) for entry in peer_entries(network, rows, reference)]
    found = race(entries, n, network.flop, peak, *_rounds(n, quick))
    title = f"{network.name}, {n:,} rows as {network.n_features} columns"
    return {"id": f"{network.name}/{n}/columns", "title": title, "rows": n, "entries": found}


def _threads(network: Network, n: int, peak: machine.Peak) -> dict[str, Any]:
    """One thread against two, free to run on any processor."""
    _progress("threads")
    rows, out = jet_rows(n, network.n_features), np.empty(n, np.float32)
    reference = network.reference(rows)
    score = _scorer(network).score
    entries = [
        checked(Entry(OURS, f"threads={t}", partial(score, rows, out, threads=t)), reference)
        for t in (1, 2)
    ]
    found = race(entries, n, network.flop, peak, 15, 0.01)
    title = f"{network.name}, {n:,} rows, one thread and two"
    return {"id": f"{network.name}/{n}/threads", "title": title, "rows": n, "entries": found}


def _start(path: Path, times: int) -> dict[str, float]:
    """Seconds of CPU that importing, loading and a first score cost beyond `import numpy`."""
    command = [sys.executable, "-c", _START, str(path)]
    found = [
        float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        for _ in range(times)
    ]
    return asdict(median(found))


def _peak(peak: machine.Peak) -> dict[str, Any]:
    if peak.call is None:
        return {"gflops": None, "why": peak.why}
    seconds = interleave({"peak": Contender(peak.call)}, rounds=21)["peak"]
    spread = float(np.quantile(seconds, 0.9) / np.quantile(seconds, 0.1) - 1)
    gflops = peak.flop / float(np.median(seconds)) / 1e9
    return {"gflops": gflops, "spread": spread, "why": peak.why}


if __name__ == "__main__":
    main()
