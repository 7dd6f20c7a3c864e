"""Micro-batches: messages gathered until they are many rows, or until the first has waited."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from vaelocity.stream.ends import Source
from vaelocity.stream.message import Message

__all__ = ["MicroBatch", "gather"]

# How often an idle source is asked, and so how soon a stop is seen.
_IDLE_SECONDS = 0.1


@dataclass(frozen=True)
class MicroBatch:
    """Neighbouring messages of one schema; or one message that cannot be scored, alone."""

    messages: list[Message]

    @property
    def refused(self) -> Message | None:
        """The message that cannot be scored."""
        return self.messages[0] if self.messages[0].batch is None else None

    @property
    def batches(self) -> list[pa.RecordBatch]:
        """The rows of the messages."""
        return [one.batch for one in self.messages if one.batch is not None]

    @property
    def positions(self) -> list[Any]:
        return [one.position for one in self.messages if one.position is not None]


def gather(
    source: Source, rows: int, latency: float, refuse: Callable[[pa.RecordBatch], str]
) -> Iterator[MicroBatch]:
    """The messages of a source in order, as micro-batches of at most `rows` rows.

    A micro-batch ends where the next message would not fit, where its first message is `latency`
    seconds old, where the schema changes, and before and after a message that cannot be scored. A
    message of more than `rows` rows is one of its own.

    What was gathered when the source fails comes before its error.

    refuse: why a batch cannot be scored, "" if it can.
    """
    held: list[Message] = []
    held_rows = 0
    while True:
        wait = held[0].arrived + latency - time.perf_counter() if held else _IDLE_SECONDS
        try:
            found = source.poll(wait) if wait > 0 else []
        except Exception:
            if held:
                yield MicroBatch(held)
            raise
        for message in found or ():
            one = _judged(message, refuse)
            if held and not (_alike(held[0], one) and held_rows + one.rows <= rows):
                yield MicroBatch(held)
                held, held_rows = [], 0
            if one.batch is None:
                yield MicroBatch([one])
                continue
            held.append(one)
            held_rows += one.rows
        late = bool(held) and time.perf_counter() - held[0].arrived >= latency
        if held and (found is None or late or held_rows >= rows):
            yield MicroBatch(held)
            held, held_rows = [], 0
        if found is None:
            return


def _judged(message: Message, refuse: Callable[[pa.RecordBatch], str]) -> Message:
    if message.batch is None:
        return message
    error = refuse(message.batch)
    return message.refused(error) if error else message


def _alike(first: Message, other: Message) -> bool:
    if first.batch is None or other.batch is None:
        return False
    mine, theirs = first.batch.schema, other.batch.schema
    return mine is theirs or bool(mine.equals(theirs))
