"""The log of a stream as JSON lines."""

from __future__ import annotations

import json
import logging
import threading
from datetime import UTC, datetime
from types import TracebackType
from typing import Self, TextIO

from vaelocity.stream.recent import Recent
from vaelocity.stream.stats import StreamStats

__all__ = ["JsonLines", "Progress"]

log = logging.getLogger(__name__)


class JsonLines(logging.StreamHandler[TextIO]):
    """One JSON object a line: time, level, message, and the entries of extra={"json": {...}}."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        entry = {"time": when, "level": record.levelname.lower(), "message": record.getMessage()}
        return json.dumps({**entry, **getattr(record, "json", {})})


class Progress:
    """Logs the counts of a stream, and its drift, every `seconds` from a thread of its own."""

    def __init__(self, stats: StreamStats, seconds: float, recent: Recent | None = None) -> None:
        self._stats, self._seconds, self._recent = stats, seconds, recent
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(self._seconds):
            drift = None if self._recent is None else self._recent.look()
            found = {} if drift is None else {"drift": drift.summary()}
            log.info("progress", extra={"json": {**self._stats.summary(), **found}})
