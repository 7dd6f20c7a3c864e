"""ZeroMQ PUSH/PULL: no broker, back-pressure by high-water marks, several consumers share the work.

    zmq://HOST:PORT connects, zmq://*:PORT binds; ?bind=1 and ?bind=0 say so outright, ?hwm=N sets
    the high-water mark in messages. zmq+ipc:///PATH is the same through a socket file.

A message is an Arrow IPC stream. An empty message ends the stream; a sink with ?end=1, for a single
consumer, sends one when it is done and waits until the consumer has hung up. Without it the sink
stays connected for one second more, for what the consumer has not fetched yet: when a sender hangs
up, ZeroMQ drops what a slow consumer's kernel holds. ZeroMQ has no acknowledgement: what
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
from vaelocity.stream.message import Decoder, Message, encode

__all__ = ["ZmqSink", "ZmqSource"]

_HWM = 64
# What is taken in one go, messages and bytes: what is taken waits here, not with its sender.
_AT_ONCE = 32
_AT_ONCE_BYTES = 1 << 22
# After `stop`: the stream has ended when nothing came for so long.
_QUIET_SECONDS = 0.2
_DRAIN_SECONDS = 5.0
_WAKE_MILLISECONDS = 100
# Constants of ZeroMQ's ABI: zmq.DONTWAIT, zmq.POLLOUT and zmq.EVENT_DISCONNECTED.
_DONTWAIT = 1
_POLLOUT = 2
_DISCONNECTED = 0x0200
_LINGER_SECONDS = 1.0
_HANG_UP_SECONDS = 60.0


class ZmqSource:
    """A PULL socket."""

    commits = False
    replays = False

    def __init__(self, url: SplitResult) -> None:
        self.name = url.geturl()
        self._context, self._socket = _open(url, "PULL", {"bind", "hwm"})
        self.endpoint: str = self._socket.last_endpoint.decode()
        self._decoder = Decoder()
        self._again = ask("zmq", "pyzmq", self.name).Again
        self._ended = False
        self._deadline: float | None = None
        self._count = 0

    def poll(self, timeout: float) -> Sequence[Message] | None:
        if self._deadline is not None:
            timeout = min(_QUIET_SECONDS, self._deadline - time.monotonic())
            self._ended = self._ended or timeout <= 0
        if self._ended:
            return None
        # Asking first costs as much as receiving: only where nothing has come.
        found = self._take()
        if not found and not self._ended and self._socket.poll(1000 * timeout):
            found = self._take()
        if not found:
            self._ended = self._ended or self._deadline is not None
            return None if self._ended else []
        return found

    def _take(self) -> list[Message]:
        """What has come, up to the end of the stream."""
        found: list[Message] = []
        size = 0
        while len(found) < _AT_ONCE and size < _AT_ONCE_BYTES:
            raw = self._received()
            if raw is None:
                break
            size += len(raw)
            if len(raw) == 0:
                self._ended = True
                break
            where = f"{self.name} #{self._count}"
            found.append(Message.read(raw, time.perf_counter(), where, decoder=self._decoder))
            self._count += 1
        return found

    def _received(self) -> Any:
        """The next message where there is one: its memory, not copied."""
        try:
            return self._socket.recv(_DONTWAIT, copy=False).buffer
        except self._again:
            return None

    def stop(self) -> None:
        self._deadline = self._deadline or time.monotonic() + _DRAIN_SECONDS

    def commit(self, positions: Sequence[Any]) -> None:
        """ZeroMQ keeps nothing that could be asked for again."""

    def close(self) -> None:
        self._socket.close(linger=0)
        self._context.term()


class ZmqSink:
    """A PUSH socket; a slow consumer makes it wait, never drop."""

    def __init__(self, url: SplitResult) -> None:
        self.name = url.geturl()
        self._context, self._socket = _open(url, "PUSH", {"bind", "hwm", "end"})
        self._ends = options(url, None).get("end") == "1"
        self._hang_ups = self._socket.get_monitor_socket(_DISCONNECTED)
        self._sent = False

    def write(self, batch: pa.RecordBatch) -> None:
        self._send(encode(batch))
        self._sent = True

    def flush(self, positions: Sequence[Any]) -> None:
        """A message is out when ZeroMQ has taken it: there is nothing to wait for."""

    def close(self, *, complete: bool) -> None:
        """Gives the consumer time to fetch what ZeroMQ has taken."""
        if self._socket.closed:
            return
        if complete and self._ends:
            self._send(b"")
            self._hang_ups.poll(1000 * _HANG_UP_SECONDS)
        elif self._sent:
            time.sleep(_LINGER_SECONDS)
        self._socket.disable_monitor()
        self._hang_ups.close(linger=0)
        self._socket.close(linger=int(1000 * _LINGER_SECONDS))
        self._context.term()

    def _send(self, data: Any) -> None:
        # In short waits, so that a signal's handler can run and break off by raising.
        while not self._socket.poll(_WAKE_MILLISECONDS, _POLLOUT):
            pass
        self._socket.send(data, copy=False)


def _open(url: SplitResult, kind: str, known: set[str]) -> tuple[Any, Any]:
    """A context and the socket in it; destroying the context waits for the socket's lingering."""
    zmq = ask("zmq", "pyzmq", url.geturl())
    given = options(url, known)
    address = f"ipc://{url.path}" if url.scheme == "zmq+ipc" else f"tcp://{url.netloc}"
    binds = given.get("bind", "1" if url.netloc.startswith("*:") else "0") == "1"
    context = zmq.Context()
    socket = context.socket(getattr(zmq, kind))
    socket.set_hwm(int(given.get("hwm", _HWM)))
    try:
        (socket.bind if binds else socket.connect)(address)
    except zmq.ZMQError as error:
        socket.close(linger=0)
        context.term()
        raise StreamError(f"{url.geturl()}: {error}") from error
    return context, socket
