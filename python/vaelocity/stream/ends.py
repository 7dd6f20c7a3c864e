"""What the two ends of a stream have to offer: where events come from, where scores go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import pyarrow as pa

from vaelocity.stream.message import Message

__all__ = ["Sink", "Source", "StreamError"]


class StreamError(OSError):
    """A stream cannot go on; the message says what happened and what became of the events."""


class Source(Protocol):
    """Where events come from. `stop` may be called from any thread, the rest by one at a time.

    name     for people: its URL
    commits  whether it remembers, through commit(), how far the stream came
    replays  whether events whose results are not out come again when the stream starts again
    """

    name: str
    commits: bool
    replays: bool

    def poll(self, timeout: float) -> Sequence[Message] | None:
        """What has arrived, waiting at most `timeout` seconds for the first of it.

        Nothing yet: no messages. None: there will be no more.
        """
        ...

    def stop(self) -> None:
        """Take nothing more; poll still gives what has left the other side, and then None."""
        ...

    def commit(self, positions: Sequence[Any]) -> None:
        """The results of the messages at these positions are out: never give them again."""
        ...

    def close(self) -> None:
        """Let go of everything; more than once does no harm."""
        ...


class Sink(Protocol):
    """Where scores go. Every batch has the same columns; the metadata of its schema may change."""

    name: str

    def write(self, batch: pa.RecordBatch) -> None:
        """Take a batch; waits where the other side is slow. Raises OSError where it cannot."""
        ...

    def flush(self, positions: Sequence[Any]) -> None:
        """Return when all batches are out, so that a crash of this process loses none of them.

        positions: of the messages whose results these are.
        """
        ...

    def close(self, *, complete: bool) -> None:
        """Finish; complete is False after an error: what is half written is removed."""
        ...
