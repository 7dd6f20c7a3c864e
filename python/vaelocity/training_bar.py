"""The progress bar of a training."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Show = Callable[[int, dict[str, list[float]]], None]


@contextmanager
def bar(name: str, wanted: bool, epochs: int) -> Iterator[Show]:
    """A progress bar on standard error if that is a terminal."""
    if not (wanted and sys.stderr.isatty()):
        yield lambda done, history: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    text = TextColumn("{task.description}")
    columns = (TextColumn(name), BarColumn(), MofNCompleteColumn(), text, Remaining())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=epochs)

        def show(done: int, history: dict[str, list[float]]) -> None:
            last = {name: history[name][-1] for name in ("loss", "val_loss") if name in history}
            shown = "  ".join(f"{name} {value:.4g}" for name, value in last.items())
            bar.update(task, completed=done, description=shown)

        yield show
