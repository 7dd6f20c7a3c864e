"""Arrow IPC streams through pipes: `-` as source is stdin, as sink stdout."""

from __future__ import annotations

import io
import os
import select
import sys
import time
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.ipc

from vaelocity.stream.ends import StreamError
from vaelocity.stream.message import Message

__all__ = ["PipeSink", "PipeSource"]

# Once told to stop, so long for what is in the pipe and for the rest of a begun record batch.
_DRAIN_SECONDS = 5.0
_WAKE_SECONDS = 0.1


class PipeSource:
    """Record batches of one Arrow IPC stream from a file descriptor."""

    commits = False
    replays = False

    def __init__(self, descriptor: int, name: str = "stdin") -> None:
        self.name = name
        self._pipe = _Pipe(descriptor)
        self._reader: Any = None
        self._count = 0

    def poll(self, timeout: float) -> Sequence[Message] | None:
        if self._pipe.drained():
            return None
        if not self._pipe.ready(timeout):
            return []
        self._pipe.between = True
        try:
            if self._reader is None:
                self._reader = pa.ipc.open_stream(pa.PythonFile(self._pipe, "r"))
            batch = self._reader.read_next_batch()
        except StopIteration:
            return None
        except (pa.ArrowException, OSError) as error:
            if self._pipe.stopped and self._pipe.between:
                return None
            said = (str(error).splitlines() or [type(error).__name__])[0]
            raise StreamError(
                f"{self.name}: the Arrow IPC stream breaks off after {self._count} record "
                f"batches: {said}"
            ) from error
        self._count += 1
        return [Message(batch, time.perf_counter(), f"{self.name} batch {self._count - 1}")]

    def stop(self) -> None:
        self._pipe.stop()

    def commit(self, positions: Sequence[Any]) -> None:
        """A pipe cannot be read again."""

    def close(self) -> None:
        self._pipe.stop()


class _Pipe(io.RawIOBase):
    """A file descriptor that can be told to end between two record batches.

    between: nothing of the next record batch has been read.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._deadline = float("inf")
        self.stopped = False
        self.between = True

    def stop(self) -> None:
        self._deadline = time.monotonic() + _DRAIN_SECONDS
        self.stopped = True

    def drained(self) -> bool:
        """Stopped, with nothing in the pipe, or with a producer that does not come to an end."""
        return self.stopped and (time.monotonic() > self._deadline or not self.ready(0))

    def ready(self, timeout: float) -> bool:
        return bool(select.select([self._descriptor], [], [], timeout)[0])

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """`size` bytes, fewer only at the end; an end is made up where `stop` allows it."""
        parts, left = [], size
        while left:
            part = self._some(left)
            if not part:
                break
            self.between = False
            parts.append(part)
            left -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _some(self, size: int) -> bytes:
        while not self.ready(_WAKE_SECONDS):
            if self.stopped and (self.between or time.monotonic() > self._deadline):
                return b""
        return os.read(self._descriptor, min(size, 1 << 20))


class PipeSink:
    """One Arrow IPC stream to a file descriptor; every batch leaves at once.

    A batch carries the model that scored it as metadata of its own, since the schema of a stream
    cannot change: `vaelocity.fingerprint` and the like.
    """

    def __init__(self, descriptor: int, name: str = "stdout") -> None:
        self.name = name
        self._raw = io.FileIO(descriptor, "wb", closefd=False)
        self._file = io.BufferedWriter(self._raw, 1 << 20)
        self._writer: Any = None
        self._schema: pa.Schema | None = None

    def write(self, batch: pa.RecordBatch) -> None:
        if self._schema is None:
            self._schema = batch.schema
            self._writer = pa.ipc.new_stream(pa.PythonFile(self._file, "w"), batch.schema)
        model = batch.schema.metadata
        self._writer.write_batch(
            batch.replace_schema_metadata(self._schema.metadata), custom_metadata=model
        )
        self._file.flush()

    def flush(self, positions: Sequence[Any]) -> None:
        self._file.flush()

    def close(self, *, complete: bool) -> None:
        if complete and self._writer is not None:
            self._writer.close()
            self._file.flush()
        self._raw.close()


def stdin() -> PipeSource:
    """The process's standard input."""
    return PipeSource(sys.stdin.fileno())


def stdout() -> PipeSink:
    """The process's standard output. Raises StreamError where that is a terminal."""
    if sys.stdout.isatty():
        raise StreamError("stdout: is a terminal; send the Arrow stream into a file or a pipe")
    return PipeSink(sys.stdout.fileno())
