"""Warnings of a client that repeats itself many times a second while the other side is away."""

from __future__ import annotations

import logging
import time
from collections.abc import Hashable

__all__ = ["SparingLog"]

SECONDS = 30.0


class SparingLog:
    """Of each kind the first warning is logged at once; then one every `seconds`, with how many
    there were in between."""

    def __init__(self, log: logging.Logger, seconds: float = SECONDS) -> None:
        self._log, self._seconds = log, seconds
        self._said: dict[Hashable, float] = {}
        self._unsaid: dict[Hashable, int] = {}

    def warn(self, kind: Hashable, text: str) -> None:
        """Log `text`, or count it where one of its kind was logged a moment ago."""
        now = time.monotonic()
        if now - self._said.get(kind, -self._seconds) < self._seconds:
            self._unsaid[kind] = self._unsaid.get(kind, 0) + 1
            return
        self._said[kind] = now
        more = self._unsaid.pop(kind, 0)
        self._log.warning("%s%s", text, f" ({more:,} more like it before)" if more else "")
