"""A stream under load for minutes, and what becomes of its memory.

    python bench/soak.py [MODEL.vael] [--minutes 10] [--output FOLDER]

Messages of 2,048 events go round in one process: ZeroMQ PUSH -> stream -> null:. Prints resident
memory and counts every few seconds, and writes them to soak.json and soak.md in
bench/results/<machine>/ (or FOLDER; shorter runs than ten minutes write nothing without one). Exit
code 1 if memory at the end is more than 5 % and 8 MiB above that after the first fifth, or an event
is missing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import vaelocity
from vaelocity.benchmark import machine, pages
from vaelocity.benchmark.networks import build
from vaelocity.stream import Pump, Rejects, StreamScorer, open_sink, open_source

FRAME = 2048
SAMPLES = 30
MINUTES = 10.0
MIB = 2**20
PACKAGES = ("vaelocity", "numpy", "pyarrow", "pyzmq")


def main() -> int:
    """The whole run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, nargs="?", help="default: one trained for a moment")
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--output", type=Path, help="folder for soak.json and soak.md")
    options = parser.parse_args()
    about = machine.fingerprint(PACKAGES, Path(__file__).parent)
    results = {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": about,
        "minutes": options.minutes,
        **soak(options.model, options.minutes),
    }
    if options.output or options.minutes >= MINUTES:
        folder = options.output or Path(__file__).parent / "results" / machine.folder_name()
        pages.write(results, folder, "soak", markdown(results))
    sys.stdout.write(verdict(results) + "\n")
    return 0 if flat(results) and results["missing"] == 0 else 1


def soak(model: Path | None, minutes: float) -> dict[str, Any]:
    """Network, samples of memory and counts, and the number of events that are missing."""
    with tempfile.TemporaryDirectory() as folder:
        path = model or build(59, (64, 32), 16, Path(folder)).path
        scorer = vaelocity.load(path)
        address = f"zmq+ipc://{folder}/soak"
        source = open_source(f"{address}?bind=1", scorer.feature_names)
        feed = open_sink(f"{address}?end=1", source)
        pump = Pump(
            source, open_sink("null:", source), StreamScorer(scorer, threshold=1e30),
            rejects=Rejects(Path(folder, "rejects")), threads=2,
        )  # fmt: skip
        seconds = 60 * minutes
        sent: list[int] = []
        threads = [
            threading.Thread(target=lambda: sent.append(_feed(feed, scorer.n_features, seconds))),
            threading.Thread(target=pump.run),
        ]
        for thread in threads:
            thread.start()
        samples = _watch(pump, threads, seconds)
    return {
        "network": path.stem,
        "samples": samples,
        "events": pump.stats.events,
        "missing": FRAME * sum(sent) - pump.stats.events,
    }


def _feed(sink: Any, n_features: int, seconds: float) -> int:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(FRAME, n_features)).astype(np.float32)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), n_features)
    batch = pa.record_batch({"features": lists})
    deadline, count = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        sink.write(batch)
        count += 1
    sink.close(complete=True)
    return count


def _watch(pump: Pump, threads: list[threading.Thread], seconds: float) -> list[dict[str, float]]:
    """Resident bytes and counts, sampled until the threads end."""
    samples = []
    while any(thread.is_alive() for thread in threads):
        for thread in threads:
            thread.join(seconds / SAMPLES / len(threads))
        sample = {
            "seconds": pump.stats.seconds,
            "events": pump.stats.events,
            "resident": _resident(),
            "p99": pump.stats.latency.quantile(0.99),
        }
        samples.append(sample)
        sys.stdout.write(" ".join(f"{cell:>14}" for cell in _cells(sample)) + "\n")
        sys.stdout.flush()
    return samples


def _resident() -> int:
    return 4096 * int(Path("/proc/self/statm").read_text().split()[1])


def _early_late(results: Mapping[str, Any]) -> tuple[int, int]:
    samples = results["samples"]
    return samples[len(samples) // 5]["resident"], samples[-1]["resident"]


def flat(results: Mapping[str, Any]) -> bool:
    """Whether memory stayed what it was after the first fifth."""
    early, late = _early_late(results)
    return late <= 1.05 * early + 8 * MIB


def verdict(results: Mapping[str, Any]) -> str:
    """One line: events, missing ones, memory."""
    early, late = _early_late(results)
    return (
        f"{results['events']:,} events, {results['missing']} missing; memory {early / MIB:.1f} MiB "
        f"after the first fifth, {late / MIB:.1f} MiB at the end: "
        f"{'flat' if flat(results) else 'GROWING'}"
    )


def markdown(results: Mapping[str, Any]) -> str:
    """The page."""
    head = ("time", "events", "resident memory", "p99")
    lines = [
        f"# A stream under load for {results['minutes']:g} minutes",
        "",
        f"{pages.machine_line(results)} Network {results['network']}; sender and stream in one "
        f"process, messages of {FRAME:,} events, the p99 is that of a full queue.",
        "",
        f"{verdict(results)}.",
        "",
        *pages.table(head, [_cells(sample) for sample in results["samples"]]),
    ]
    return "\n".join(lines) + "\n"


def _cells(sample: Mapping[str, float]) -> tuple[str, ...]:
    return (
        f"{sample['seconds']:.0f} s",
        f"{sample['events']:,}",
        f"{sample['resident'] / MIB:.1f} MiB",
        pages.time_text(sample["p99"]),
    )


if __name__ == "__main__":
    sys.exit(main())
