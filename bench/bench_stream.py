"""Events a second through `vaelocity stream`, beside the bare scorer on the same rows.

    python bench/bench_stream.py [--quick] [--output FOLDER] [--cpu N]

From Arrow IPC files to a null sink, interleaved with the scorer alone, on one processor; through
ZeroMQ and Kafka on loopback, fed by another process; through Ray Data, where Ray is installed.
Writes stream.json and stream.md to bench/results/<machine>/ (or FOLDER; --quick writes nothing
without one) and prints the page.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from stream_ray import ray_cases
from stream_zmq import frame, zmq_cases

from vaelocity.benchmark import machine
from vaelocity.benchmark.networks import build, jet_rows
from vaelocity.benchmark.timing import Contender, interleave, median, speedup

PACKAGES = ("vaelocity", "numpy", "pyarrow", "pyzmq", "confluent-kafka", "ray")
BLOCK = 65536
FRAME = 512
WANTED_RATIO = 0.8

_BROKER = """
import sys
from confluent_kafka import Producer
raw, count = open(sys.argv[1], "rb").read(), int(sys.argv[2])
host = Producer({"test.mock.num.brokers": 1, "log_level": 0})
brokers = host.list_topics(timeout=10).brokers.values()
for i in range(count):
    host.produce("in", raw, partition=i % 4)
assert host.flush(30) == 0
print(",".join(f"{b.host}:{b.port}" for b in brokers), flush=True)
sys.stdin.read()
"""


def main() -> None:
    """The whole run."""
    options = _options()
    allowed = os.sched_getaffinity(0)
    cpu = max(allowed) if options.cpu is None else options.cpu
    warnings.simplefilter("ignore")
    about = machine.fingerprint(PACKAGES, Path(__file__).parent)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        network = build(59, (64, 32), 16, folder)
        os.sched_setaffinity(0, {cpu})
        cases = _files(network, folder, options.quick)
        os.sched_setaffinity(0, allowed)
        # Of the second network the scorer takes little: what is left is the stream's own.
        for one in (network, build(59, (16,), 4, folder)):
            cases += zmq_cases(one, folder, options.quick)
        cases.append(_kafka(network, folder, options.quick))
        cases += ray_cases(network, folder, options.quick)
    results = {
        "schema": 1,
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": about,
        "quick": options.quick,
        "network": network.name,
        "cpu": cpu,
        "cases": cases,
    }
    text = _markdown(results)
    if options.output or not options.quick:
        target = options.output or Path(__file__).parent / "results" / machine.folder_name()
        target.mkdir(parents=True, exist_ok=True)
        (target / "stream.json").write_text(json.dumps(results, indent=1) + "\n")
        (target / "stream.md").write_text(text)
        sys.stderr.write(f"written to {target}\n")
    sys.stdout.write(text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rows and rounds")
    parser.add_argument("--output", type=Path, help="folder for stream.json and stream.md")
    parser.add_argument("--cpu", type=int, help="processor of the file cases (default: the last)")
    return parser.parse_args()


def _pumped(scorer: Any, source: Any, threads: int = 1) -> Any:
    """Pump a source into a null sink; its stats."""
    from vaelocity.stream import Pump, Rejects, StreamScorer, open_sink

    model = StreamScorer(scorer, threshold=1e30)
    with tempfile.TemporaryDirectory() as rejects:
        pump = Pump(
            source, open_sink("null:", source), model, threads=threads, rejects=Rejects(rejects)
        )
        return pump.run()


def _files(network: Any, folder: Path, quick: bool) -> list[dict[str, Any]]:
    """An Arrow IPC file, features as columns and as whole rows, beside the scorer on its blocks."""
    import vaelocity
    from vaelocity.stream import open_source

    n, rounds = (8 * BLOCK, 3) if quick else (32 * BLOCK, 11)
    rows, scorer = jet_rows(n, network.n_features), vaelocity.load(network.path)
    names, out = scorer.feature_names, np.empty(BLOCK, np.float32)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), len(names))
    columns = rows.T.copy()
    found = []
    for title, table, layout in (
        ("features in columns", pa.table(dict(zip(names, columns, strict=True))), columns),
        ("features in one column of rows", pa.table({"features": lists}), rows),
    ):
        path = folder / f"{title}.arrow"
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table, BLOCK)

        def bare(layout: Any = layout) -> None:
            for at in range(0, n, BLOCK):
                part = slice(at, at + BLOCK)
                scorer.score(list(layout[:, part]) if layout is columns else layout[part], out)

        def stream(path: Path = path) -> None:
            assert _pumped(scorer, open_source(str(path), names)).events == n

        seconds = interleave(
            {"bare": Contender(bare), "stream": Contender(stream)},
            rounds=rounds, sample_seconds=0.0,
        )  # fmt: skip
        ratio = asdict(speedup(seconds["stream"], seconds["bare"]))
        found.append(
            {
                "title": f"Arrow IPC file to null:, {title}",
                "events": n,
                "events_per_second": n / median(seconds["stream"]).value,
                "alone_per_second": n / median(seconds["bare"]).value,
                "ratio": ratio,
                "wanted": f">= {WANTED_RATIO:g}",
                "met": ratio["low"] >= WANTED_RATIO,
                "note": "one processor, one scoring thread; beside Scorer.score on the same blocks "
                "in the same layout",
            }
        )
    return found


def _kafka(network: Any, folder: Path, quick: bool) -> dict[str, Any]:
    """librdkafka's mock broker in another process. It keeps 5 MiB a partition: a short run."""
    import vaelocity
    from vaelocity.stream import open_source

    scorer = vaelocity.load(network.path)
    path = frame(scorer, folder, FRAME)
    count = 4 * (3 * 2**20 // path.stat().st_size)
    command = [sys.executable, "-c", _BROKER, str(path), str(count)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as host:
        assert host.stdout is not None
        address = f"kafka://{host.stdout.readline().strip()}/in?group=bench&log_level=0"
        source = open_source(address, scorer.feature_names)
        while not (first := source.poll(1)):
            pass
        begin = time.perf_counter()
        stopping = _Stopping(source, count - len(first))
        stats = _pumped(scorer, stopping)
        seconds = stopping.last - begin
        host.kill()
    return {
        "title": f"Kafka (mock broker) to null:, messages of {FRAME} events",
        "events": stats.events,
        "events_per_second": stats.events / seconds,
        "ratio": None,
        "wanted": "stated",
        "met": None,
        "note": "broker in another process; offsets committed every second",
    }


class _Stopping:
    """A source that ends after so many messages, and remembers when the last one came."""

    def __init__(self, source: Any, messages: int) -> None:
        self._source, self._left, self.last = source, messages, 0.0
        self.name, self.commits, self.replays = source.name, source.commits, source.replays
        self.stop, self.commit, self.close = source.stop, source.commit, source.close

    def poll(self, timeout: float) -> Any:
        if self._left <= 0:
            return None
        found = self._source.poll(timeout)
        self._left -= len(found)
        self.last = time.perf_counter()
        return found


def _markdown(results: dict[str, Any]) -> str:
    about = results["machine"]
    packages = ", ".join(f"{k} {v}" for k, v in about["packages"].items() if v)
    lines = [
        "# Events a second through a stream",
        "",
        f"{about['cpu']}, {about['cpus']} CPUs, {', '.join(about['flags'])}; {about['system']}; "
        f"Python {about['python']}; {packages}; commit {about['commit']}; load average at the "
        f"start {about['load_average'][0]:.2f}; {results['date']}. Network {results['network']}.",
        "",
        "| | M events/s | part of the scorer's rate [95 %] | wanted | met | |",
        "|---|---|---|---|---|---|",
    ]
    for case in results["cases"]:
        ratio = case["ratio"]
        part = f"{ratio['value']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]" if ratio else ""
        met = {True: "yes", False: "**no**", None: ""}[case["met"]]
        cells = (case["title"], f"{case['events_per_second'] / 1e6:.3g}", part, case["wanted"], met)
        lines.append(f"| {' | '.join(cells)} | {case['note']} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
