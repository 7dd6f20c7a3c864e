"""Exchange of a running stream's models: on request, or when a file has changed."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from vaelocity.stream.pump import Pump
from vaelocity.stream.scoring import StreamScorer

__all__ = ["Reloader", "live_model", "shadow_model"]

log = logging.getLogger(__name__)

Load = Callable[[], StreamScorer]
"""Makes a scorer of a file; raises OSError or ValueError for one that will not do."""


def live_model(pump: Pump, load: Load) -> Callable[[], str]:
    """For a Reloader: loads the model that decides; it must take the rows and give the columns of
    the one before."""

    def exchange() -> str:
        old, new = pump.scorer, load()
        new.continues(old)
        pump.scorer = new
        return f"model {new.scorer.fingerprint:.12} in use, was {old.scorer.fingerprint:.12}"

    return exchange


def shadow_model(pump: Pump, load: Load) -> Callable[[], str]:
    """For a Reloader: loads the shadow; it must take the rows of the live model."""

    def exchange() -> str:
        new = load()
        new.check_features(pump.scorer)
        pump.shadow = new
        return f"model {new.scorer.fingerprint:.12} is the shadow"

    return exchange


class Reloader:
    """Exchanges a model in a thread of its own.

    Micro-batches that are being scored keep the model they began with; the metadata of every batch
    name its model. A file that cannot be loaded, or that has other features, changes nothing: the
    stream goes on with the model it has, and the log says why.

    Args:
        path: the .vael file.
        exchange: loads it, puts it in place and says so: see live_model, shadow_model.
        watch_seconds: how often to look whether the file has changed; None: only on request().
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        exchange: Callable[[], str],
        watch_seconds: float | None = None,
    ) -> None:
        self._path, self._exchange = os.fspath(path), exchange
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
                self._exchanged()

    def _exchanged(self) -> None:
        try:
            said = self._exchange()
        except (OSError, ValueError) as error:
            log.warning("%s: not loaded, the stream keeps its model: %s", self._path, error)
        else:
            log.warning("%s: %s", self._path, said)

    def _look(self) -> tuple[int, int, int] | None:
        """What changes when the file is replaced; None while there is none."""
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size
