"""What a source hands out: record batches as they arrived, and the bytes they travel in."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from vaelocity.record_batch import join

__all__ = ["Decoder", "Message", "decode", "encode"]

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
    def read(
        cls,
        raw: Any,
        arrived: float,
        where: str,
        position: Any = None,
        decoder: Callable[[Any], pa.RecordBatch] | None = None,
    ) -> Message:
        """A message from the bytes of an Arrow IPC stream. decoder: the source's own `Decoder`."""
        try:
            return cls((decoder or decode)(raw), arrived, where, position)
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
    return Decoder()(raw)


class Decoder:
    """`decode` for the messages of one source, which all begin with the same schema: it is parsed
    once, and then compared byte for byte. One thread."""

    def __init__(self) -> None:
        self._head = pa.py_buffer(b"")
        self._schema: pa.Schema | None = None

    def __call__(self, raw: Any) -> pa.RecordBatch:
        """The message as one batch. Raises as `decode`."""
        buffer = _aligned(raw)
        batch = self._alike(buffer)
        if batch is None:
            batch = self._whole(buffer)
        # Bytes from elsewhere: offsets that point outside their buffers must be found here.
        batch.validate(full=True)
        return batch

    def _alike(self, buffer: pa.Buffer) -> pa.RecordBatch | None:
        """The only batch of a message with the schema of the one before; None for another."""
        size = self._head.size
        if self._schema is None or buffer.size < size:
            return None
        if not buffer.slice(0, size).equals(self._head):
            return None
        reader = pa.BufferReader(buffer.slice(size))
        try:
            message = pa.ipc.read_message(reader)
            if message.type != "record batch" or not _ends(buffer.slice(size + reader.tell())):
                return None
            return pa.ipc.read_record_batch(message, self._schema)
        except (pa.ArrowException, EOFError, OSError):  # the other way says what is wrong
            return None

    def _whole(self, buffer: pa.Buffer) -> pa.RecordBatch:
        with pa.ipc.open_stream(buffer) as reader:
            batch = join(list(reader), reader.schema)
        marker, length = struct.unpack_from("<Ii", buffer)
        # Dictionaries come between the schema and the batch, and older streams have no marker.
        self._schema = None
        if marker == _MARKER and not any(map(_has_dictionary, reader.schema.types)):
            self._schema = reader.schema
            self._head = pa.py_buffer(buffer.slice(0, 8 + length).to_pybytes())
        return batch


_MARKER = 0xFFFFFFFF
_END = pa.py_buffer(struct.pack("<Ii", _MARKER, 0))


def _ends(rest: pa.Buffer) -> bool:
    """Nothing follows, or the mark of the end."""
    return rest.size == 0 or bool(rest.equals(_END))


def _aligned(raw: Any) -> pa.Buffer:
    if len(raw) == 0:
        raise ValueError("0 bytes")
    buffer = pa.py_buffer(raw)
    if buffer.address % _ALIGNMENT:
        # A frame of ZeroMQ may begin at any byte, and floats that lie askew cannot be scored.
        buffer = pa.py_buffer(np.frombuffer(raw, np.uint8).copy())
    return buffer


def _has_dictionary(kind: pa.DataType) -> bool:
    inner = [kind.field(i).type for i in range(kind.num_fields)]
    return pa.types.is_dictionary(kind) or any(_has_dictionary(one) for one in inner)
