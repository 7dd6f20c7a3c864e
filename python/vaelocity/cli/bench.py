"""`vaelocity bench`: a model's scores a second on this machine, beside the runtimes found here."""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

import vaelocity
from vaelocity import _core
from vaelocity.benchmark import (
    cases,
    latency,
    machine,
    networks,
    one_event,
    rounding,
    score_report,
)
from vaelocity.benchmark.compiled import NotBuilt
from vaelocity.benchmark.race import PEERS, load_peers
from vaelocity.cli import console, options
from vaelocity.cli.console import CommandError
from vaelocity.cli.inspect import network_name
from vaelocity.cli.tensors import TensorFile
from vaelocity.data import jets
from vaelocity.frozen import Network, Unsupported, read

PACKAGES = ("vaelocity", "numpy", "torch", "onnxruntime", "openvino", "pyod", "emx-onnx-cgen")
ALL_PEERS = tuple(dict.fromkeys((*PEERS, *one_event.PEERS)))
ROWS = (1, 4096, 65536)
THREADED_ROWS = 1 << 18
UNLABELLED = (
    "which rows are anomalous is not known; without MODEL.vael the shipped jets are taken, and "
    "bench/quality/bfloat16.py of the repository measures jets and MNIST"
)
ISA_ROWS = 4096
"""Up to here the other instruction sets are timed as well: the generic one is slow."""


def bench(
    bundle: Annotated[
        Path | None,
        typer.Argument(
            metavar="[MODEL.vael]",
            help="A model file made by `fit`; without one, 59-64-32-16 mirrored is trained on the "
            "shipped jets for it (needs torch).",
        ),
    ] = None,
    rows: Annotated[
        list[int] | None,
        typer.Option("--rows", min=1, help="Rows of a batch; may be given more than once."),
    ] = None,
    peers: Annotated[
        str | None,
        typer.Option("--peers", help=f"Of {', '.join(ALL_PEERS)}; default: all installed."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer rounds and no compiling for half a minute.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for score.json and score.md; made if needed."),
    ] = None,
    cpu: Annotated[
        int | None, typer.Option("--cpu", min=0, help="Processor to run on; default: the last.")
    ] = None,
    kind: options.Kind = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Time a model here: every instruction set, one thread and all, beside the runtimes found here.

    Whatever is timed has first given the scores of a float64 reference; all of them take turns in
    one process. Ratios have a 95 % interval; "% of peak" is of a loop of nothing but fused
    multiply-adds, "% of memory" of reading the rows once from memory. Weights and products in
    bfloat16 are timed as well; what they cost in AUC and decisions is told for the shipped jets.
    One row is also timed through the C ABI, where a C++ compiler is found. Exit code: 0; 2 unusable
    input.
    """
    chosen = _peers(peers)
    if kind is not None and bundle is None:
        raise CommandError("--kind needs MODEL.vael")
    with tempfile.TemporaryDirectory() as folder, _pinned(cpu) as (processor, allowed):
        timed = _network(bundle, kind, Path(folder))
        if quick:
            os.environ["BENCH_QUICK"] = "1"
        results = run(timed, tuple(rows or ROWS), chosen, quick, processor, allowed)
        results["rounding"] = _rounding(timed) if bundle is None else {"why": UNLABELLED}
    if output is not None:
        score_report.write(results, output)
        console.err().print(f"written to {output}", soft_wrap=True)
    if as_json:
        console.print_json(results)
    else:
        typer.echo(score_report.markdown(results), nl=False)


def run(
    timed: Network,
    sizes: Sequence[int],
    peers: Sequence[str],
    quick: bool,
    processor: int,
    allowed: set[int],
) -> dict[str, Any]:
    """Everything that is measured of a network, as JSON."""
    about = machine.fingerprint(PACKAGES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peak = machine.fma_peak(bandwidth=True)
        found = cases.peak_found(peak)
        in_batches = [name for name in PEERS if name in peers]
        load_peers(in_batches)
        done = []
        for n in sizes:
            console.err().print(f"{timed.name}, {n:,} rows")
            made = networks.made_rows(timed, n)
            isas = _core.available_isas() if n <= ISA_ROWS else []
            done.append(cases.batch(timed, made, peak, quick, isas=isas, peers=in_batches))
        console.err().print(f"{timed.name}, one event a call")
        alone = [name for name in one_event.PEERS if name in peers]
        with suppress(NotBuilt):  # the page says so where it comes to the latency
            done.append(
                one_event.one_event(timed, networks.made_rows(timed, 64), peak, quick, alone)
            )
        if len(allowed) > 1:
            os.sched_setaffinity(0, allowed)
            many = networks.made_rows(timed, THREADED_ROWS)
            done.append(cases.threads(timed, many, peak, (1, len(allowed))))
            os.sched_setaffinity(0, {processor})
    console.err().print("one row through the C ABI; the first score of a new process")
    return {
        "schema": score_report.SCHEMA,
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": about,
        "quick": quick,
        "isa": vaelocity.load(timed.path, kind=timed.kind).isa,
        "model": timed.name,
        "kind": timed.kind,
        "peak": found,
        "notes": f"Pinned to processor {processor}, one thread unless the case says so.",
        "latency": latency.measure(timed.path, timed.kind, _calls(timed, quick)),
        "installed_bytes": cases.installed_bytes(),
        **cases.start(timed.path, 3 if quick else 9),
        "cases": done,
    }


def _rounding(timed: Network) -> dict[str, Any]:
    """What bfloat16 costs the network of the shipped jets."""
    sample = jets.load()
    normal, anomalous = sample.of_class("quark").rows, sample.of_class("top").rows
    return {
        "rows": f"The shipped jets, top against quark, decided at a false-positive rate of "
        f"{rounding.FPR:g}; the model has seen them in one epoch of training",
        "costs": rounding.costs(timed, normal, anomalous),
    }


def _calls(timed: Network, quick: bool) -> int:
    """Of one row: a million, or as many as take some ten seconds; the tool makes three such
    series."""
    scorer, row = vaelocity.load(timed.path, kind=timed.kind), networks.made_rows(timed, 1)
    scorer.score(row)
    start = time.perf_counter()
    for _ in range(100):
        scorer.score(row)
    once = (time.perf_counter() - start) / 100
    return int(min(100_000 if quick else 1_000_000, max(1000, 10 / once)))


def _peers(text: str | None) -> tuple[str, ...]:
    wanted = options.names(text)
    if wanted is None:
        return ALL_PEERS
    unknown = sorted(set(wanted) - set(ALL_PEERS))
    if unknown:
        known = ", ".join(ALL_PEERS)
        raise CommandError(f"--peers: expected some of {known}, got {unknown[0]!r}")
    return tuple(wanted)


def _network(bundle: Path | None, kind: str | None, folder: Path) -> Network:
    if bundle is None:
        try:
            return networks.build(59, (64, 32), 16, folder)
        except ImportError as error:
            raise CommandError(
                'without MODEL.vael one is trained, which needs PyTorch: pip install "vaelocity'
                '[train]"'
            ) from error
    scorer = vaelocity.load(bundle, kind=kind)
    try:
        name = network_name(scorer.metadata, TensorFile(bundle))
        return read(name, bundle, scorer.kind)
    except Unsupported as error:
        raise CommandError(f"{bundle}: {error}: no other runtime to compare with yet") from error


@contextmanager
def _pinned(cpu: int | None) -> Iterator[tuple[int, set[int]]]:
    """On one processor; (it, those allowed before)."""
    allowed = os.sched_getaffinity(0)
    processor = max(allowed) if cpu is None else cpu
    if processor not in allowed:
        raise CommandError(f"--cpu {processor}: expected one of {sorted(allowed)}")
    before = os.environ.get("BENCH_QUICK")
    os.sched_setaffinity(0, {processor})
    try:
        yield processor, allowed
    finally:
        os.sched_setaffinity(0, allowed)
        if before is None:
            os.environ.pop("BENCH_QUICK", None)
