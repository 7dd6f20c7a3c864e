"""Exchange of a running stream's model: on request, or when its file has changed."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from vaelocity.stream.pump import Pump
from vaelocity.stream.scoring import StreamScorer

__all__ = ["Reloader"]

log = logging.getLogger(__name__)


class Reloader:
    """Loads the model again in a thread of its own and hands it to the pump.

    Micro-batches that are being scored keep the model they began with; the metadata of every batch
    name its model. A file that cannot be loaded, or that has other features, changes nothing: the
    stream goes on with the model it has, and the log says why.

    Args:
        path: the .vael file.
        load: makes a scorer of the file; raises OSError or ValueError for one that will not do.
        watch_seconds: how often to look whether the file has changed; None: only on request().
    """

    def __init__(
        self,
        pump: Pump,
        path: str | os.PathLike[str],
        load: Callable[[], StreamScorer],
        watch_seconds: float | None = None,
    ) -> None:
        self._pump, self._path, self._load = pump, os.fspath(path), load
        self._seconds = watch_seconds
        self._state = self._look()
        self._wake, self._done = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="reload", daemon=True)

    def request(self) -> None:
        """Load the file now; may be called from a signal handler."""
        self._wake.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._done = True
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            asked = self._wake.wait(self._seconds)
            self._wake.clear()
            if self._done:
                return
            state = self._look()
            if asked or (state is not None and state != self._state):
                self._state = state
                self._exchange()

    def _exchange(self) -> None:
        old = self._pump.scorer
        try:
            new = self._load()
            if sorted(new.scorer.feature_names) != sorted(old.scorer.feature_names):
                raise ValueError("it has other features")
            new.continues(old)
        except (OSError, ValueError) as error:
            log.warning("%s: not loaded, the stream keeps its model: %s", self._path, error)
            return
        self._pump.scorer = new
        log.warning(
            "%s: model %.12s in use, was %.12s",
            self._path, new.scorer.fingerprint, old.scorer.fingerprint,
        )  # fmt: skip

    def _look(self) -> tuple[int, int, int] | None:
        """What changes when the file is replaced; None while there is none."""
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size
