"""What a source hands out: record batches as they arrived, and the bytes they travel in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc

__all__ = ["Message", "decode", "encode", "join"]

# The padding of the parts of an Arrow message, in bytes.
_ALIGNMENT = 8


@dataclass(frozen=True, slots=True)
class Message:
    """One message, or one block of a file.

    batch     None where it could not be understood: `error` then says why, `raw` holds its bytes
    arrived   time.perf_counter() when it was received
    where     for people: "events/2 offset 17", "run-3.parquet row 4096"
    position  what Source.commit wants to be told; None where nothing is committed
    """

    batch: pa.RecordBatch | None
    arrived: float
    where: str
    position: Any = None
    error: str = ""
    raw: bytes = b""

    @property
    def rows(self) -> int:
        """Events in it; 0 where it could not be understood."""
        return 0 if self.batch is None else int(self.batch.num_rows)

    @classmethod
    def read(cls, raw: Any, arrived: float, where: str, position: Any = None) -> Message:
        """A message from the bytes of an Arrow IPC stream."""
        try:
            return cls(decode(raw), arrived, where, position)
        except (pa.ArrowException, ValueError, OSError) as error:
            said = (str(error).splitlines() or [type(error).__name__])[0]
            return cls(None, arrived, where, position, f"no Arrow IPC stream: {said}", bytes(raw))

    def refused(self, error: str) -> Message:
        """The same message, which can be read but not be scored."""
        assert self.batch is not None
        raw = self.raw or encode(self.batch).to_pybytes()
        return Message(None, self.arrived, self.where, self.position, error, raw)


def encode(batch: pa.RecordBatch) -> pa.Buffer:
    """An Arrow IPC stream that holds the one batch."""
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, batch.schema) as writer:
        writer.write_batch(batch)
    return out.getvalue()


def decode(raw: Any) -> pa.RecordBatch:
    """The batches of an Arrow IPC stream as one; they share the memory of `raw` if that is aligned.

    Raises pa.ArrowException, ValueError or OSError for bytes that are none.
    """
    if len(raw) == 0:
        raise ValueError("0 bytes")
    buffer = pa.py_buffer(raw)
    if buffer.address % _ALIGNMENT:
        # A frame of ZeroMQ may begin at any byte, and floats that lie askew cannot be scored.
        buffer = pa.py_buffer(np.frombuffer(raw, np.uint8).copy())
    with pa.ipc.open_stream(buffer) as reader:
        batches = list(reader)
        batch = batches[0] if len(batches) == 1 else join(batches, reader.schema)
    # Bytes from elsewhere: offsets that point outside their buffers must be found here.
    batch.validate(full=True)
    return batch


def join(batches: list[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatch:
    """Batches of one schema, copied together; no batches are no rows."""
    whole = pa.Table.from_batches(batches, schema).combine_chunks().to_batches()
    return whole[0] if whole else pa.RecordBatch.from_pylist([], schema=schema)
