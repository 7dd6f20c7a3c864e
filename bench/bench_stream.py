"""Events a second through `vaelocity stream`, and what bounds them.

    python bench/bench_stream.py [--quick] [--scaling | --ray] [--output FOLDER] [--cpu N]

From Arrow IPC files to a null sink, interleaved with the scorer alone, on one processor; through
ZeroMQ and Kafka on loopback, fed by another process; latencies at a pace below saturation; Ray
Data, where Ray is installed; on four processors or more, how ZeroMQ grows with scoring threads.
Takes some five minutes. Writes stream.json and stream.md to bench/results/<machine>/ (or FOLDER;
--quick writes nothing without one) and prints the page. --scaling and --ray measure that alone, in
a minute or two, and write stream-scaling.json and stream-ray.json.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stream_files import file_cases
from stream_kafka import kafka_case
from stream_paced import paced_cases
from stream_ray import ray_cases
from stream_report import SCHEMA, markdown
from stream_scaling import FEW, scaling_cases
from stream_zmq import threads_case, zmq_cases

from vaelocity.benchmark import machine, pages
from vaelocity.benchmark.networks import build

PACKAGES = ("vaelocity", "numpy", "pyarrow", "pyzmq", "confluent-kafka", "ray")


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
        cases = [] if options.only else _cases(network, folder, cpu, options.quick)
        if options.only == "scaling" or (not options.only and len(allowed) >= FEW):
            cases += scaling_cases(network, folder, options.quick)
        if options.only != "scaling":
            cases += ray_cases(folder, options.quick)
    results = {
        "schema": SCHEMA,
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": about,
        "quick": options.quick,
        "network": network.name,
        "cpu": cpu,
        "cases": cases,
    }
    text = markdown(results)
    if options.output or not options.quick:
        target = options.output or Path(__file__).parent / "results" / machine.folder_name()
        stem = f"stream-{options.only}" if options.only else "stream"
        pages.write(results, target, stem, text)
        sys.stderr.write(f"written to {target}\n")
    sys.stdout.write(text)


def _cases(network: Any, folder: Path, cpu: int, quick: bool) -> list[dict[str, Any]]:
    """All but how it scales, and Ray. cpu: the processor of the file cases."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    cases = file_cases(network, folder, quick)
    os.sched_setaffinity(0, allowed)
    cases.append(threads_case(network, quick))
    loopback = zmq_cases(network, folder, quick)
    cases += loopback
    cases += paced_cases(network, folder, loopback[0]["events_per_second"], quick)
    # Of this network the scorer takes little: what is left is the stream's own.
    cases += zmq_cases(build(59, (16,), 4, folder), folder, quick)
    cases.append(kafka_case(network, folder))
    return cases


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rows and rounds")
    only = parser.add_mutually_exclusive_group()
    for name, what in (("scaling", "ZeroMQ by scoring threads"), ("ray", "Ray Data")):
        only.add_argument(
            f"--{name}", dest="only", action="store_const", const=name, help=f"{what} alone"
        )
    parser.add_argument("--output", type=Path, help="folder for stream.json and stream.md")
    parser.add_argument("--cpu", type=int, help="processor of the file cases (default: the last)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
