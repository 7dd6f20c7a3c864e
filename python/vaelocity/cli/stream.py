"""`vaelocity stream`: events from files, pipes, Kafka or ZeroMQ; scores to the same."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live

import vaelocity
from vaelocity.cli import console, options
from vaelocity.cli.console import CommandError
from vaelocity.cli.score import choose_cut
from vaelocity.cli.score_loop import Cut
from vaelocity.threshold import Threshold

_ENDS = "Both ends"
_WATCH = "Watching it"


def stream(
    bundle: options.Bundle,
    source: Annotated[
        list[str],
        typer.Option(
            "--source", "-s", rich_help_panel=_ENDS,
            help="Files (several, globs), - for an Arrow stream on stdin, "
            "kafka://HOST:PORT/TOPIC?group=NAME, zmq://HOST:PORT (zmq://*:PORT binds).",
        ),
    ],
    sink: Annotated[
        str,
        typer.Option(
            "--sink", "-t", rich_help_panel=_ENDS,
            help="NAME.parquet, FOLDER/ for many Parquet files, - for an Arrow stream on stdout, "
            "kafka://HOST:PORT/TOPIC, zmq://HOST:PORT, null:.",
        ),
    ],
    passed: Annotated[
        str | None,
        typer.Option(
            "--pass", metavar="COLUMNS", help="Columns to pass on beside the scores: run,event."
        ),
    ] = None,
    accepted_only: Annotated[
        bool, typer.Option("--accepted-only", help="Emit only events above the threshold.")
    ] = False,
    kind: Annotated[
        str | None, typer.Option("--kind", help="Score kind; default: the model's own.")
    ] = None,
    threshold: Annotated[
        str | None,
        typer.Option("--threshold", help="A score, or the name of a threshold in the model."),
    ] = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Rows of a micro-batch, at most.")
    ] = 65536,
    max_latency: Annotated[
        float,
        typer.Option("--max-latency", min=0.0, metavar="MS", help="Gather for so long, at most."),
    ] = 10.0,
    threads: options.Threads = None,
    commit_seconds: Annotated[
        float,
        typer.Option(
            "--commit-seconds", min=0.001, rich_help_panel=_ENDS,
            help="How often scores are made safe and offsets committed.",
        ),
    ] = 1.0,
    rejects: Annotated[
        Path | None,
        typer.Option(
            "--rejects", metavar="FOLDER", rich_help_panel=_ENDS,
            help="Set messages aside that cannot be scored. Default: stop at the first; for pipes "
            "and ZeroMQ, which cannot be read again: rejects/",
        ),
    ] = None,
    transactional: Annotated[
        bool,
        typer.Option(
            "--transactional", rich_help_panel=_ENDS,
            help="Kafka to Kafka: scores and offsets in one transaction, no duplicates.",
        ),
    ] = False,
    key: options.Key = None,
    watch: Annotated[
        float | None,
        typer.Option(
            "--watch", metavar="SECONDS", min=0.1, rich_help_panel=_WATCH,
            help="Look so often whether MODEL.vael was replaced, and go on with the new one.",
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics", metavar="[HOST:]PORT", rich_help_panel=_WATCH,
            help="Serve Prometheus metrics; HOST is 127.0.0.1 unless given.",
        ),
    ] = None,
    live: Annotated[
        bool,
        typer.Option("--live/--no-live", rich_help_panel=_WATCH, help="A picture on a terminal."),
    ] = True,
    log_json: Annotated[
        float | None,
        typer.Option(
            "--log-json", metavar="SECONDS", min=0.1, rich_help_panel=_WATCH,
            help="Log as JSON lines on stderr, counts every so many seconds.",
        ),
    ] = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:  # fmt: skip
    """Score a stream of events: columns score, flags, anomalous, and those of --pass.

    Order is kept. SIGTERM or Ctrl-C stops reading and ends when all that was read is out; a second
    one breaks off; SIGHUP loads the model again. Kafka's offsets are committed only after the
    scores are out. Exit code: 0 the stream ended or was told to; 2 it broke off, and one line says
    where.
    """
    if sink == "-" and as_json:
        raise CommandError("--json and --sink - both want stdout; choose one")
    scorer = vaelocity.load(bundle, kind=kind)
    cut = choose_cut(scorer, threshold)
    if accepted_only and cut is None:
        raise CommandError("--accepted-only needs --threshold: the model holds none")
    with ExitStack() as stack:
        _log(stack, log_json)
        pump = _pump(
            scorer, cut, source, sink, options.names(passed) or [], key=key,
            accepted_only=accepted_only, transactional=transactional, rejects=rejects,
            rows=batch_size, latency=max_latency / 1000, threads=threads or options.cores(),
            commit_seconds=commit_seconds,
        )  # fmt: skip
        if metrics is not None:
            _serve(stack, pump, metrics)
        if log_json is not None:
            from vaelocity.stream.logs import Progress

            stack.enter_context(Progress(pump.stats, log_json))
        title = f"{pump.source.name} to {sink}"
        _show(stack, pump, title, _made(scorer, cut), shown=live and log_json is None)
        stack.enter_context(_drain_on_signal(pump))
        _reload(stack, pump, bundle, kind, threshold, watch)
        pump.run()
    _report(pump, title, _made(scorer, cut), sink, as_json=as_json)


def _pump(
    scorer: vaelocity.Scorer,
    cut: Cut | None,
    addresses: list[str],
    sink: str,
    columns: list[str],
    *,
    key: str | None,
    accepted_only: bool,
    transactional: bool,
    rejects: Path | None,
    **settings: Any,
) -> Any:
    try:
        from vaelocity.stream import Pump, Rejects, StreamScorer, open_sink, open_source
    except ImportError as error:
        raise CommandError(f'{error}: pip install "vaelocity[stream]"') from error
    address = addresses[0] if len(addresses) == 1 else addresses
    source = open_source(
        address, scorer.feature_names, columns, key=key, transactional=transactional
    )
    kept = rejects or (None if source.replays else Path("rejects"))
    try:
        target = open_sink(sink, source, transactional=transactional)
        model = StreamScorer(
            scorer,
            threshold=None if cut is None else cut.value,
            columns=columns,
            accepted_only=accepted_only,
        )
    except BaseException:
        source.close()
        raise
    return Pump(source, target, model, rejects=Rejects(kept) if kept else None, **settings)


@contextmanager
def _drain_on_signal(pump: Any) -> Iterator[None]:
    """The first SIGTERM or SIGINT stops the source, the second raises KeyboardInterrupt."""
    asked = False

    def handler(number: int, frame: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        pump.stop()

    before = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, one in before.items():
            signal.signal(number, one)


def _reload(
    stack: ExitStack,
    pump: Any,
    bundle: Path,
    kind: str | None,
    threshold: str | None,
    watch: float | None,
) -> None:
    """Load the model again at SIGHUP, or when its file has changed."""
    from vaelocity.stream import StreamScorer
    from vaelocity.stream.reload import Reloader

    old = pump.scorer

    def load() -> StreamScorer:
        scorer = vaelocity.load(bundle, kind=kind)
        try:
            cut = None if old.threshold is None else choose_cut(scorer, threshold)
        except CommandError as error:
            raise ValueError(str(error)) from error
        value = None if cut is None else cut.value
        return StreamScorer(
            scorer, threshold=value, columns=old.columns, accepted_only=old.accepted_only
        )

    reloader = stack.enter_context(Reloader(pump, bundle, load, watch))
    before = signal.signal(signal.SIGHUP, lambda number, frame: reloader.request())
    stack.callback(signal.signal, signal.SIGHUP, before)


def _log(stack: ExitStack, log_json: float | None) -> None:
    """Send the log to stderr: as JSON lines, or its warnings as the commands write them."""
    from vaelocity.stream.logs import JsonLines

    logger = logging.getLogger("vaelocity")
    handler: logging.Handler = _Warnings() if log_json is None else JsonLines(sys.stderr)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if log_json is None else logging.INFO)
    stack.callback(logger.setLevel, level)
    stack.callback(logger.removeHandler, handler)


class _Warnings(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        console.warn(record.getMessage())


def _serve(stack: ExitStack, pump: Any, address: str) -> None:
    from vaelocity.stream.metrics import serve_metrics

    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        raise CommandError(f"--metrics {address}: expected [HOST:]PORT")
    found, stop = serve_metrics(
        pump.stats, lambda: pump.scorer.scorer.fingerprint, host or "127.0.0.1", int(port)
    )
    stack.callback(stop)
    where = f"metrics at http://{host or '127.0.0.1'}:{found}/metrics"
    console.err().print(where, soft_wrap=True, markup=False)


def _show(stack: ExitStack, pump: Any, title: str, made: Threshold | None, *, shown: bool) -> None:
    from vaelocity.cli.live import LiveView

    target = console.err()
    if shown and target.is_terminal:
        view = LiveView(pump.stats, title, made)
        stack.enter_context(
            Live(console=target, get_renderable=view.__rich__, refresh_per_second=4, transient=True)
        )


def _made(scorer: vaelocity.Scorer, cut: Cut | None) -> Threshold | None:
    """The threshold that is applied, where it is one of the model's."""
    return None if cut is None or cut.name is None else scorer.thresholds[cut.name]


def _report(pump: Any, title: str, made: Threshold | None, sink: str, *, as_json: bool) -> None:
    from vaelocity.cli.live import accepted_text, latency_text

    stats, scorer = pump.stats, pump.scorer
    if as_json:
        model = {"fingerprint": scorer.scorer.fingerprint, "kind": scorer.scorer.kind}
        console.print_json({**stats.summary(), **model, "threshold": scorer.threshold})
        return
    mean = stats.events / stats.seconds if stats.seconds > 0 else 0.0
    decided = "no threshold" if scorer.threshold is None else accepted_text(stats, made)
    rows = [
        ("events", f"{stats.events:,} in {stats.messages:,} messages"),
        ("anomalous", decided),
        ("flagged", f"{stats.nan:,} with NaN or infinity, {stats.saturated:,} saturated"),
        ("refused", f"{stats.refused:,} messages"),
        ("time", f"{stats.seconds:.2f} s: {console.rate(mean)} events/s"),
        ("latency", latency_text(stats)),
    ]
    (console.err() if sink == "-" else console.out()).print(console.facts(rows, title))
