"""What the commands share: two consoles, progress bars, one-line errors and exit codes."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

OK, FAILED, USAGE, INTERNAL, INTERRUPTED = 0, 1, 2, 3, 130

# Columns of a table that is written to a file or a pipe, where no terminal gives a width.
_PIPE_WIDTH = 120


class CommandError(Exception):
    """Something the user can mend; shown as one line. code: the exit code."""

    def __init__(self, message: str, code: int = USAGE) -> None:
        super().__init__(message)
        self.code = code


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else _PIPE_WIDTH
    return Console(stderr=stderr, highlight=False, width=width)


def out() -> Console:
    """The console for results. Made anew, since tests and pipes exchange sys.stdout."""
    return _console(stderr=False)


def err() -> Console:
    """The console for messages."""
    return _console(stderr=True)


def warn(message: str) -> None:
    """A line on stderr that starts with `warning:`."""
    err().print(Text.assemble(("warning: ", "yellow"), message), soft_wrap=True)


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object on stdout, on one line; a NaN or an infinity in it is an error."""
    sys.stdout.write(json.dumps(value, allow_nan=False) + "\n")
    sys.stdout.flush()


def facts(rows: Sequence[tuple[str, str]], title: str | None = None) -> Table:
    """A two-column table of names and values without lines."""
    table = Table(title=title, title_justify="left", box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, Text(value))
    return table


class RateColumn(ProgressColumn):
    """Events per second since the task started."""

    def render(self, task: Task) -> Text:
        elapsed = task.finished_time if task.finished else task.elapsed
        if not elapsed or not task.completed:
            return Text("")
        return Text(f"{rate(task.completed / elapsed)} events/s", style="progress.data.speed")


def rate(value: float) -> str:
    """A number of events per second with three digits: 8.12 M, 31.0 k, 950."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def event_progress() -> Progress:
    """A bar that counts events, on stderr; it shows nothing where stderr is no terminal."""
    console = err()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def run(app: typer.Typer, args: Sequence[str]) -> int:
    """Run the app and turn whatever it raises into one line on stderr and an exit code."""
    code = _exit_code(app, args)
    _flush_stdout()
    return code


def _exit_code(app: typer.Typer, args: Sequence[str]) -> int:
    debug = "--debug" in args or bool(os.environ.get("VAELOCITY_DEBUG"))
    try:
        code = app(args=list(args), prog_name="vaelocity", standalone_mode=False)
    except SystemExit as ended:
        # typer and rich end the program with code 1 where they meet a broken pipe. But whoever
        # read our output and has had enough of it is no failure.
        if not isinstance(ended.__context__, BrokenPipeError):
            raise
        return OK
    except Exception as error:
        if debug:
            traceback.print_exc()
        return _report(error)
    if code == INTERRUPTED:  # what typer makes of a KeyboardInterrupt
        return _fail("interrupted", INTERRUPTED)
    return code if isinstance(code, int) else OK


def _flush_stdout() -> None:
    """What nobody reads any more must not raise again when Python closes stdout."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report(error: Exception) -> int:
    if isinstance(error, CommandError):
        return _fail(str(error), error.code)
    if hasattr(error, "format_message"):  # typer's own usage errors
        return _usage(error)
    if isinstance(error, (OSError, ValueError, ImportError, MemoryError)):
        return _fail(_cause(error), USAGE)
    return _fail(f"{type(error).__name__}: {error} (--debug shows where)", INTERNAL)


def _usage(error: Any) -> int:
    message = error.format_message()
    if not message:  # called without a command: the help was printed
        return USAGE
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "vaelocity"
    return _fail(f"{message.rstrip('.')} ({path} --help shows the usage)", USAGE)


def _cause(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f"{os.fspath(error.filename)}: " if error.filename else ""
        return f"{where}{error.strerror}"
    if isinstance(error, MemoryError):
        return f"not enough memory: {error}"
    return str(error)


def _fail(message: str, code: int) -> int:
    line = " ".join(message.split())
    err().print(Text.assemble(("vaelocity: error: ", "bold red"), line), soft_wrap=True)
    return code
