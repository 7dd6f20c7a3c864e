"""What is timed of a model: batches of several sizes, columns, threads, and the first score."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import vaelocity
from vaelocity.benchmark import rounding
from vaelocity.benchmark.machine import Peak
from vaelocity.benchmark.race import (
    BLOCK,
    OURS,
    PEERS,
    Entry,
    checked,
    floor_of,
    peer_entries,
    race,
)
from vaelocity.benchmark.timing import Contender, interleave, median
from vaelocity.frozen import Network, Rows

LONG = 1 << 20
MANY = 1 << 16
"""Rows of which a call lasts so long that fewer of them do."""

_START = """
import sys, time
import numpy as np
before = time.process_time()
import vaelocity
imported = time.process_time()
scorer = vaelocity.load(sys.argv[1])
scorer.score(np.zeros((1, scorer.n_features), np.float32))
print(time.process_time() - before, imported - before)
assert "torch" not in sys.modules, "torch was imported"
"""


def batch(
    network: Network,
    rows: Rows,
    peak: Peak,
    quick: bool,
    *,
    isas: Sequence[str] = (),
    peers: Sequence[str] = PEERS,
) -> dict[str, Any]:
    """Rows [n, d] in row-major order: the scorer, on other instruction sets if named, with
    bfloat16, all peers."""
    n, out = len(rows), np.empty(len(rows), np.float32)
    reference = network.reference(rows)
    scorer = _scorer(network)
    ours = Entry(OURS, "score(rows, out)", partial(scorer.score, rows, out))
    check = partial(checked, reference=reference, floor=floor_of(network))
    entries = [check(ours)]
    for isa in isas:
        if isa != scorer.isa:
            slower = partial(_scorer(network, isa).score, rows, out)
            entries.append(check(Entry(f"{OURS} {isa}", "score(rows, out)", slower)))
    entries += rounding.entries(network, rows)
    entries += peer_entries(network, rows, reference, peers)
    found = race(
        entries, n, network.flop, peak, *_rounds(n, quick), row_bytes=_row_bytes(network, peak)
    )
    title = f"{network.name}, {n:,} row{'s' if n > 1 else ''}"
    return {"id": f"{network.name}/{n}", "title": title, "rows": n, "entries": found}


def far(network: Network, rows: Rows, peak: Peak) -> dict[str, Any]:
    """What is lost where rows [n, d] do not stay in the caches: all of them once, and in turns with
    that their first BLOCK as many times as it takes."""
    n, scorer = len(rows), _scorer(network)
    reference, near = network.reference(rows), rows[:BLOCK]
    out, near_out = np.empty(n, np.float32), np.empty(BLOCK, np.float32)

    def again() -> Rows:
        for _ in range(n // BLOCK):
            scorer.score(near, near_out)
        return near_out

    floor = floor_of(network)
    whole = Entry(OURS, "score(rows, out)", partial(scorer.score, rows, out))
    same = Entry(OURS, f"{n // BLOCK} times the same {BLOCK:,} rows", again)
    entries = [
        checked(whole, reference, floor=floor),
        checked(same, reference[:BLOCK], floor=floor),
    ]
    found = race(
        entries, n, network.flop, peak, *_rounds(1, False), row_bytes=_row_bytes(network, peak)
    )
    title = f"{network.name}, {n:,} rows beside the same few"
    return {"id": f"{network.name}/far", "title": title, "rows": n, "entries": found}


def columns(network: Network, rows: Rows, peak: Peak, quick: bool) -> dict[str, Any]:
    """One array a feature, as Arrow and ROOT hold it: read as they lie; the peers gather first."""
    n, out = len(rows), np.empty(len(rows), np.float32)
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
    check = partial(checked, reference=reference, floor=floor_of(network))
    entries = [
        check(Entry(OURS, way, partial(scorer.score, data, out))) for way, data in ways.items()
    ]
    entries += [gathered(entry) for entry in peer_entries(network, rows, reference)]
    found = race(entries, n, network.flop, peak, *_rounds(n, quick))
    title = f"{network.name}, {n:,} rows as {network.n_features} columns"
    return {"id": f"{network.name}/{n}/columns", "title": title, "rows": n, "entries": found}


def threads(network: Network, rows: Rows, peak: Peak, counts: Sequence[int]) -> dict[str, Any]:
    """One thread against more, free to run on any processor."""
    n, out = len(rows), np.empty(len(rows), np.float32)
    reference = network.reference(rows)
    score = _scorer(network).score
    check = partial(checked, reference=reference, floor=floor_of(network))
    entries = [
        check(Entry(OURS, f"threads={t}", partial(score, rows, out, threads=t))) for t in counts
    ]
    found = race(entries, n, network.flop, peak, 15, 0.01)
    words = {1: "one", 2: "two", 3: "three", 4: "four"}
    named = " and ".join(words.get(count, str(count)) for count in counts)
    title = f"{network.name}, {n:,} rows, {named.replace('one', 'one thread', 1)}"
    return {"id": f"{network.name}/{n}/threads", "title": title, "rows": n, "entries": found}


def start(path: Path, times: int) -> dict[str, dict[str, float]]:
    """Seconds of CPU beyond `import numpy`: "start" of importing, loading and a first score,
    "import" of importing alone. Each in a new process."""
    command = [sys.executable, "-c", _START, str(path)]
    found = [
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        for _ in range(times)
    ]
    whole, imported = np.array(found, np.float64).T
    return {"start": asdict(median(whole)), "import": asdict(median(imported))}


def installed_bytes() -> int:
    """Size of what pip installed of this package, the byte code of Python left out."""
    files = importlib.metadata.files("vaelocity") or []
    paths = [Path(str(file.locate())) for file in files if file.suffix != ".pyc"]
    return sum(path.stat().st_size for path in paths if path.is_file())


def peak_found(peak: Peak) -> dict[str, Any]:
    """The measured peak as JSON."""
    if peak.call is None:
        return {"gflops": None, "why": peak.why}
    seconds = interleave({"peak": Contender(peak.call)}, rounds=21)["peak"]
    spread = float(np.quantile(seconds, 0.9) / np.quantile(seconds, 0.1) - 1)
    gflops = peak.flop / float(np.median(seconds)) / 1e9
    found = {"gflops": gflops, "spread": spread, "why": peak.why}
    return found | ({"bandwidth": peak.bandwidth} if peak.bandwidth else {})


def _rounds(n: int, quick: bool) -> tuple[int, float]:
    """Rounds of a case, and seconds a sample."""
    if quick:
        return 9, 0.004
    return (31, 0.01) if n < MANY else (11, 0.01)


def _row_bytes(network: Network, peak: Peak) -> int:
    return network.row_bytes if peak.bandwidth else 0


def _scorer(network: Network, isa: str | None = None) -> vaelocity.Scorer:
    return vaelocity.load(network.path, kind=network.kind, isa=isa)
