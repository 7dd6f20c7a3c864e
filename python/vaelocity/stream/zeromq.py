"""ZeroMQ PUSH/PULL: no broker, back-pressure by high-water marks, several consumers share the work.

    zmq://HOST:PORT connects, zmq://*:PORT binds; ?bind=1 and ?bind=0 say so outright, ?hwm=N sets
    the high-water mark in messages. zmq+ipc:///PATH is the same through a socket file.

A message is an Arrow IPC stream; an empty one ends the stream. ZeroMQ has no acknowledgement: what
is in flight when a process is killed is lost. After `stop` everything is taken until nothing comes
for 0.2 s, for at most 5 s; senders that go on longer have to be stopped first.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import SplitResult

import pyarrow as pa

from vaelocity.stream.address import ask, options
from vaelocity.stream.ends import StreamError
from vaelocity.stream.message import Message, encode

__all__ = ["ZmqSink", "ZmqSource"]

_HWM = 64
# Messages taken in one go, so that other work of the reader gets its turn.
_AT_ONCE = 256
# After `stop`: the stream has ended when nothing came for so long.
_QUIET_SECONDS = 0.2
_DRAIN_SECONDS = 5.0
_WAKE_MILLISECONDS = 100
_LINGER_MILLISECONDS = 10_000


class ZmqSource:
    """A PULL socket."""

    commits = False
    replays = False

    def __init__(self, url: SplitResult) -> None:
        self.name = url.geturl()
        self._zmq, self._socket, self.endpoint = _open(url, "PULL")
        self._ended = False
        self._deadline: float | None = None
        self._count = 0

    def poll(self, timeout: float) -> Sequence[Message] | None:
        if self._deadline is not None:
            timeout = min(_QUIET_SECONDS, self._deadline - time.monotonic())
            self._ended = self._ended or timeout <= 0
        if self._ended:
            return None
        if not self._socket.poll(1000 * timeout):
            self._ended = self._deadline is not None
            return None if self._ended else []
        found: list[Message] = []
        while len(found) < _AT_ONCE:
            try:
                raw = self._socket.recv(self._zmq.NOBLOCK, copy=False).buffer
            except self._zmq.Again:
                break
            if len(raw) == 0:
                self._ended = True
                break
            found.append(Message.read(raw, time.perf_counter(), f"{self.name} #{self._count}"))
            self._count += 1
        return found

    def stop(self) -> None:
        self._deadline = self._deadline or time.monotonic() + _DRAIN_SECONDS

    def commit(self, positions: Sequence[Any]) -> None:
        """ZeroMQ keeps nothing that could be asked for again."""

    def close(self) -> None:
        self._socket.close(linger=0)


class ZmqSink:
    """A PUSH socket; a slow consumer makes it wait, never drop."""

    def __init__(self, url: SplitResult) -> None:
        self.name = url.geturl()
        self._zmq, self._socket, self.endpoint = _open(url, "PUSH")

    def write(self, batch: pa.RecordBatch) -> None:
        self._send(encode(batch))

    def flush(self, positions: Sequence[Any]) -> None:
        """A message is out when ZeroMQ has taken it: there is nothing to wait for."""

    def close(self, *, complete: bool) -> None:
        """Ends the stream with an empty message and waits until the consumer has fetched it all."""
        if complete and not self._socket.closed and self._socket.poll(0, self._zmq.POLLOUT):
            self._send(b"")
        self._socket.close(linger=_LINGER_MILLISECONDS)

    def _send(self, data: Any) -> None:
        # In short waits, so that a signal's handler can run and break off by raising.
        while not self._socket.poll(_WAKE_MILLISECONDS, self._zmq.POLLOUT):
            pass
        self._socket.send(data, self._zmq.NOBLOCK, copy=False)


def _open(url: SplitResult, kind: str) -> tuple[Any, Any, str]:
    """The module, an open socket, and the endpoint (with the port that was found for port 0)."""
    zmq = ask("zmq", "pyzmq", url.geturl())
    given = options(url, {"bind", "hwm"})
    address = f"ipc://{url.path}" if url.scheme == "zmq+ipc" else f"tcp://{url.netloc}"
    binds = given.get("bind", "1" if url.netloc.startswith("*:") else "0") == "1"
    socket = zmq.Context.instance().socket(getattr(zmq, kind))
    socket.set_hwm(int(given.get("hwm", _HWM)))
    try:
        (socket.bind if binds else socket.connect)(address)
    except zmq.ZMQError as error:
        socket.close(linger=0)
        raise StreamError(f"{url.geturl()}: {error}") from error
    return zmq, socket, socket.getsockopt_string(zmq.LAST_ENDPOINT)
