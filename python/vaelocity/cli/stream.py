"""`vaelocity stream`: events from files, pipes, Kafka or ZeroMQ; scores to the same."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.live import Live

from vaelocity.cli import console, options
from vaelocity.cli.console import CommandError
from vaelocity.cli.stream_models import Choice, exchange_models, sampled
from vaelocity.cli.stream_report import report
from vaelocity.threshold import Threshold

if TYPE_CHECKING:
    from vaelocity.stream import Pump, StreamScorer
    from vaelocity.stream.recent import Recent
    from vaelocity.stream.shadow import ShadowWatch

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
    prescale: Annotated[
        int | None,
        typer.Option(
            "--prescale", min=1, metavar="N",
            help="Of the events above the threshold select every N-th: a column `selected`.",
        ),
    ] = None,
    pass_through: Annotated[
        str | None,
        typer.Option(
            "--pass-through", metavar="COLUMN=N",
            help="Pass on one event in N whatever its score, chosen by a hash of the event number "
            "in COLUMN: a column `pass_through`.",
        ),
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", help="Score kind; default: the model's own.")
    ] = None,
    threshold: Annotated[
        str | None,
        typer.Option("--threshold", help="A score, or the name of a threshold in the model."),
    ] = None,
    shadow: Annotated[
        Path | None,
        typer.Option(
            "--shadow", metavar="NEW.vael", exists=True, dir_okay=False,
            help="Score every event with this model, too; it decides nothing, and the report "
            "compares the two.",
        ),
    ] = None,
    shadow_threshold: Annotated[
        str | None,
        typer.Option(
            "--shadow-threshold",
            help="As --threshold, of the shadow; default: that of the same name, or its first.",
        ),
    ] = None,
    batch_size: Annotated[
        int,
        typer.Option(
            "--batch-size", min=1,
            help="Rows of a micro-batch, at most; a message, or a block of a file, stays whole.",
        ),
    ] = 8192,
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
            help="Look so often whether a model's file was replaced, and go on with the new one.",
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics", metavar="[HOST:]PORT", rich_help_panel=_WATCH,
            help="Serve Prometheus metrics; HOST is 127.0.0.1 unless given.",
        ),
    ] = None,
    drift_window: Annotated[
        float,
        typer.Option(
            "--drift-window", metavar="SECONDS", min=1.0, rich_help_panel=_WATCH,
            help="Drift and the score histogram are of the last so many seconds.",
        ),
    ] = 600.0,
    drift_every: Annotated[
        int,
        typer.Option(
            "--drift-every", metavar="N", min=1, rich_help_panel=_WATCH,
            help="Of a fast stream, look at the inputs of every N-th event for drift.",
        ),
    ] = 256,
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
    """Score a stream of events: columns score, flags, anomalous, and those of --pass. With
    --accepted-only only what is anomalous, or selected, or passes through, goes out.

    Order is kept. SIGTERM or Ctrl-C stops reading and ends when all that was read is out; a second
    one breaks off; SIGHUP loads the model again. Kafka's offsets are committed only after the
    scores are out. Exit code: 0 the stream ended or was told to; 2 it broke off, and one line says
    where.
    """
    if sink == "-" and as_json:
        raise CommandError("--json and --sink - both want stdout; choose one")
    _installed()
    columns = options.names(passed) or []
    sample = None if pass_through is None else sampled(pass_through, columns)
    choice = Choice(bundle, kind, threshold, tuple(columns), accepted_only)
    if prescale is not None or sample is not None:
        choice = replace(choice, selects=True)
    model, beside = choice.load(), None
    if shadow is not None:
        beside = Choice.of_shadow(shadow, kind, shadow_threshold, threshold)
    elif shadow_threshold is not None:
        raise CommandError("--shadow-threshold needs --shadow")
    with ExitStack() as stack:
        _log(stack, log_json)
        recent, compared = _watches(drift_window, drift_every, shadow=beside is not None)
        pump = _pump(
            model, source, sink, columns, key=key, transactional=transactional, rejects=rejects,
            rows=batch_size, latency=max_latency / 1000, threads=threads or options.cores(),
            commit_seconds=commit_seconds, observe=_observer(recent, compared),
            select=choice.selection(prescale, sample),
            shadow=None if beside is None else _shadow(beside, model),
        )  # fmt: skip
        if metrics is not None:
            _serve(stack, pump, metrics, recent)
        if log_json is not None:
            from vaelocity.stream.logs import Progress

            stack.enter_context(Progress(pump.stats, log_json, recent))
        title, made = f"{pump.source.name} to {sink}", choice.made(model.scorer)
        shown = live and log_json is None
        _show(stack, pump, title, made, recent, compared, shown=shown)
        stack.enter_context(_drain_on_signal(pump))
        exchange_models(stack, pump, choice, beside, watch)
        pump.run()
    report(pump, title, choice.made(pump.scorer.scorer), recent, compared, sink, as_json=as_json)


def _installed() -> None:
    try:
        import vaelocity.stream  # noqa: F401
    except ImportError as error:
        raise CommandError(f'{error}: pip install "vaelocity[stream]"') from error


def _pump(
    model: StreamScorer,
    addresses: list[str],
    sink: str,
    columns: list[str],
    *,
    key: str | None,
    transactional: bool,
    rejects: Path | None,
    **settings: Any,
) -> Pump:
    from vaelocity.stream import Pump, Rejects, open_sink, open_source

    address = addresses[0] if len(addresses) == 1 else addresses
    source = open_source(
        address, model.scorer.feature_names, columns, key=key, transactional=transactional
    )
    kept = rejects or (None if source.replays else Path("rejects"))
    try:
        target = open_sink(sink, source, transactional=transactional)
    except BaseException:
        source.close()
        raise
    return Pump(source, target, model, rejects=Rejects(kept) if kept else None, **settings)


def _shadow(choice: Choice, live: StreamScorer) -> StreamScorer:
    found = choice.load()
    try:
        found.check_features(live)
    except ValueError as error:
        raise CommandError(f"--shadow {choice.path}: {error}") from error
    if found.threshold is None or live.threshold is None:
        console.warn("without a threshold in both models the shadow is compared by scores alone")
    return found


def _watches(seconds: float, every: int, *, shadow: bool) -> tuple[Recent, ShadowWatch | None]:
    from vaelocity.stream.recent import Recent
    from vaelocity.stream.shadow import ShadowWatch

    return Recent(seconds, every), ShadowWatch() if shadow else None


def _observer(recent: Recent, compared: ShadowWatch | None) -> Any:
    def observe(micro: Any, scored: Any, beside: Any) -> None:
        recent.update(micro.batches, scored)
        if compared is not None:
            compared.update(micro, scored, beside)

    return observe


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


def _serve(stack: ExitStack, pump: Pump, address: str, recent: Recent) -> None:
    from vaelocity.stream.metrics import serve_metrics

    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        raise CommandError(f"--metrics {address}: expected [HOST:]PORT")
    found, stop = serve_metrics(
        pump.stats, lambda: pump.scorer.scorer.fingerprint, host or "127.0.0.1", int(port), recent
    )
    stack.callback(stop)
    where = f"metrics at http://{host or '127.0.0.1'}:{found}/metrics"
    console.err().print(where, soft_wrap=True, markup=False)


def _show(
    stack: ExitStack,
    pump: Pump,
    title: str,
    made: Threshold | None,
    recent: Recent,
    compared: ShadowWatch | None,
    *,
    shown: bool,
) -> None:
    from vaelocity.cli.live import LiveView

    target = console.err()
    if shown and target.is_terminal:
        view = LiveView(pump, title, made, recent, compared)
        stack.enter_context(
            Live(console=target, get_renderable=view.__rich__, refresh_per_second=4, transient=True)
        )
