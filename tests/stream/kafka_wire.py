"""A wire in front of librdkafka's mock broker: it can be cut, and it keeps transactions.

The mock (librdkafka 2.16, src/rdkafka_mock_handlers.c) answers the requests of a transaction and
does nothing about them: aborted and open messages are shown to everybody, offsets sent in a
transaction are forgotten. A broker's part of it is done here, from the bytes of the requests as
they pass: what a transaction wrote and which offsets it sent count when it is committed, and are
dropped when it is aborted, or when a producer of the same id takes its place.

Protocol: kafka.apache.org/protocol; record batches: KIP-98; flexible versions: KIP-482.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

PRODUCE, INIT_PRODUCER_ID, END_TXN, TXN_OFFSET_COMMIT = 0, 22, 26, 28
ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID, INVALID_PRODUCER_EPOCH = 22, 25, 47
# From this version on a request is flexible: compact lengths, tagged fields.
_FLEXIBLE = {PRODUCE: 9, INIT_PRODUCER_ID: 2, END_TXN: 3, TXN_OFFSET_COMMIT: 3}

Offset = tuple[str, int, int]
"""Topic, partition, offset to go on with."""


@dataclass(frozen=True)
class Sent:
    """Offsets that a producer sends in the name of a group's member, and the generation of the
    group that this one knew."""

    producer: int
    group: str
    generation: int
    member: str
    offsets: list[Offset]


@dataclass
class Transaction:
    """What a transactional id has done since its last commit.

    values   of the messages, in order
    offsets  that were sent
    """

    values: list[bytes] = field(default_factory=list)
    offsets: list[Sent] = field(default_factory=list)


class Ledger:
    """A broker's memory of transactions.

    committed  values of messages that a read_committed reader sees, in order
    dropped    values of messages that he does not see: aborted, or left open by one that is gone
    log        committed transactions
    broker     the mock, which keeps the offsets and knows the members of a group
    """

    def __init__(self, broker: str) -> None:
        self.committed: list[bytes] = []
        self.dropped: list[bytes] = []
        self.log: list[Transaction] = []
        self._broker = broker
        self._open: dict[str, Transaction] = {}
        self._producers: dict[str, set[int]] = {}
        self._fenced: set[int] = set()
        self._lock = threading.Lock()

    def pending(self) -> int:
        """Messages of open transactions."""
        with self._lock:
            return sum(len(one.values) for one in self._open.values())

    def take(self, request: bytes) -> bytes | None:
        """A request, without its length. The answer where it is refused, else the mock answers."""
        key, version, correlation = struct.unpack_from(">hhi", request)
        if key not in _FLEXIBLE:
            return None
        reader = _Reader(request, 8, version >= _FLEXIBLE[key])
        reader.header()
        name = reader.text()
        if name is None:  # not transactional
            return None
        with self._lock:
            if key == INIT_PRODUCER_ID:
                self._end(name, commits=False)
                self._fenced |= self._producers.pop(name, set())
            elif key == PRODUCE:
                self._write(name, reader.produced())
            elif key == TXN_OFFSET_COMMIT:
                assert version >= 3, "from here on it names the member"
                return self._offer(name, reader.offsets(), correlation)
            else:
                producer, commits = reader.end()
                if producer not in self._fenced:
                    self._end(name, commits=commits)
        return None

    def _write(self, name: str, produced: list[tuple[int, bytes]]) -> None:
        for producer, value in produced:
            if producer in self._fenced:
                self.dropped.append(value)
            else:
                self._producers.setdefault(name, set()).add(producer)
                self._open.setdefault(name, Transaction()).values.append(value)

    def _offer(self, name: str, sent: Sent, correlation: int) -> bytes | None:
        error = INVALID_PRODUCER_EPOCH if sent.producer in self._fenced else 0
        error = error or _heartbeat(self._broker, sent)
        if error in (INVALID_PRODUCER_EPOCH, ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID):
            return _refusal(correlation, sent, error)
        self._open.setdefault(name, Transaction()).offsets.append(sent)
        return None

    def _end(self, name: str, *, commits: bool) -> None:
        ended = self._open.pop(name, None)
        if ended is None:
            return
        if not commits:
            self.dropped += ended.values
            return
        self.committed += ended.values
        self.log.append(ended)
        for sent in ended.offsets:
            _commit_offsets(self._broker, sent)


class _Reader:
    """Fields of a request, one after the other."""

    def __init__(self, raw: bytes, at: int, flexible: bool) -> None:
        self._raw, self._at, self._flexible = raw, at, flexible

    def header(self) -> None:
        self.skip(self.number(">h"))  # the client's name: never compact
        self.tags()

    def skip(self, n: int) -> None:
        """Bytes; -1, as of what is null, is none."""
        self._at += max(0, n)

    def number(self, form: str) -> int:
        (value,) = struct.unpack_from(form, self._raw, self._at)
        self._at += struct.calcsize(form)
        return int(value)

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._raw[self._at]
            self._at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def signed_varint(self) -> int:
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def length(self, form: str) -> int:
        """Of a string (>h), of bytes or an array (>i); -1 for null."""
        return self.varint() - 1 if self._flexible else self.number(form)

    def bytes_(self, form: str) -> bytes | None:
        n = self.length(form)
        return None if n < 0 else self.raw(n)

    def raw(self, n: int) -> bytes:
        """So many bytes."""
        self.skip(n)
        return self._raw[self._at - max(0, n) : self._at]

    def text(self) -> str | None:
        found = self.bytes_(">h")
        return None if found is None else found.decode()

    def tags(self) -> None:
        if self._flexible:
            for _ in range(self.varint()):
                self.varint()
                self.skip(self.varint())

    def produced(self) -> list[tuple[int, bytes]]:
        """After the transactional id of a Produce request: producer and value of its messages."""
        self.number(">h"), self.number(">i")  # acks, timeout
        found: list[tuple[int, bytes]] = []
        for _ in range(self.length(">i")):
            self.text()
            for _ in range(self.length(">i")):
                self.number(">i")  # partition
                found += _values(self.bytes_(">i") or b"")
                self.tags()
            self.tags()
        return found

    def offsets(self) -> Sent:
        """After the transactional id of a TxnOffsetCommit, version 3."""
        group, producer, _epoch = self.text(), self.number(">q"), self.number(">h")
        generation, member, _instance = self.number(">i"), self.text(), self.text()
        found: list[Offset] = []
        for _ in range(self.length(">i")):
            topic = self.text()
            for _ in range(self.length(">i")):
                partition, offset = self.number(">i"), self.number(">q")
                self.number(">i"), self.text()  # leader epoch, metadata
                self.tags()
                found.append((str(topic), partition, offset))
            self.tags()
        return Sent(producer, str(group), generation, str(member), found)

    def end(self) -> tuple[int, bool]:
        """After the transactional id of an EndTxn: producer, and whether it commits."""
        producer, _epoch = self.number(">q"), self.number(">h")
        return producer, bool(self.number(">b"))


def _values(batches: bytes) -> list[tuple[int, bytes]]:
    """Producer and value of the records of uncompressed batches of version 2."""
    found, at = [], 0
    while at < len(batches):
        (length,) = struct.unpack_from(">i", batches, at + 8)
        (attributes,) = struct.unpack_from(">h", batches, at + 21)
        (producer,) = struct.unpack_from(">q", batches, at + 43)
        (count,) = struct.unpack_from(">i", batches, at + 57)
        assert attributes & 7 == 0, "a compressed batch"
        assert attributes & 16, "a batch outside of its transaction"
        reader = _Reader(batches, at + 61, flexible=False)
        for _ in range(count):
            reader.signed_varint()  # size
            reader.skip(1)  # attributes
            reader.signed_varint(), reader.signed_varint()  # time, offset
            reader.skip(reader.signed_varint())  # key
            found.append((producer, reader.raw(reader.signed_varint())))
            for _ in range(reader.signed_varint()):  # headers: name, value
                reader.skip(reader.signed_varint())
                reader.skip(reader.signed_varint())
        at += 12 + length
    return found


def _text(value: str) -> bytes:
    return struct.pack(">h", len(value)) + value.encode()


def _refusal(correlation: int, sent: Sent, error: int) -> bytes:
    """The answer to a TxnOffsetCommit, version 3; one topic, as a stream has it."""
    (topic,) = {topic for topic, _, _ in sent.offsets}
    partitions = b"".join(
        struct.pack(">ihb", partition, error, 0) for _, partition, _ in sent.offsets
    )
    head = struct.pack(">ibi", correlation, 0, 0)  # no tags, not throttled
    name = bytes([2, len(topic) + 1]) + topic.encode()  # lengths are one more: one topic
    return head + name + bytes([len(sent.offsets) + 1]) + partitions + b"\0\0"


def _ask(broker: str, key: int, version: int, body: bytes) -> bytes:
    """The mock's answer to a request of our own, after the correlation id."""
    request = struct.pack(">hhi", key, version, 0) + _text("wire") + body
    host, _, port = broker.partition(":")
    with socket.create_connection((host, int(port))) as end:
        end.sendall(struct.pack(">i", len(request)) + request)
        answer = _frame(end)
    assert answer is not None
    return answer[4:]


def _heartbeat(broker: str, sent: Sent) -> int:
    """What the group's coordinator says of this member and generation: 0, or an error."""
    body = _text(sent.group) + struct.pack(">i", sent.generation) + _text(sent.member)
    return int(struct.unpack(">h", _ask(broker, 12, 0, body))[0])


def _commit_offsets(broker: str, sent: Sent) -> None:
    """OffsetCommit, version 2, in the name of the member: what the mock keeps."""
    body = _text(sent.group) + struct.pack(">i", sent.generation) + _text(sent.member)
    body += struct.pack(">qi", -1, len(sent.offsets))  # kept as long as the broker likes
    for topic, partition, offset in sent.offsets:
        body += _text(topic) + struct.pack(">iiq", 1, partition, offset) + _text("")
    answer = _ask(broker, 8, 2, body)
    at = 4
    for topic, _, _ in sent.offsets:
        at += 2 + len(topic)
        _, partition, error = struct.unpack_from(">iih", answer, at)
        assert error == 0, f"OffsetCommit of {topic}/{partition}: error {error}"
        at += 10


class Wire:
    """Passes on what clients and the broker say to each other.

    address   where clients find the broker: it names itself so, too
    requests  called with every request; what it returns is the answer, None has the broker's
    """

    def __init__(
        self, broker: str, requests: Callable[[bytes], bytes | None] | None = None
    ) -> None:
        host, _, port = broker.partition(":")
        self._broker, self._requests = (host, int(port)), requests
        self._listener: socket.socket | None = None
        self._ends: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._port = 0
        self.failure: BaseException | None = None
        self.restore()
        self.address = f"127.0.0.1:{self._port}"

    def cut(self) -> None:
        """As if the broker were gone: connections break off, new ones are refused."""
        with self._lock:
            assert self._listener is not None
            listener, self._listener = self._listener, None
            ends, self._ends = self._ends, set()
        # A listener that another thread waits at goes on listening when it is closed only.
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def restore(self) -> None:
        """The broker is back, at the same address and with all that it had."""
        listener = socket.create_server(("127.0.0.1", self._port))
        self._port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def close(self) -> None:
        """For good. Raises what went wrong in the threads."""
        if self._listener is not None:
            self.cut()
        if self.failure is not None:
            raise self.failure

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            broker = socket.create_connection(self._broker)
            with self._lock:
                if self._listener is not listener:
                    client.close(), broker.close()
                    return
                self._ends |= {client, broker}
            answers: dict[int, bytes] = {}
            for start, stop, passed in (
                (client, broker, partial(self._request, answers)),
                (broker, client, partial(self._answer, answers)),
            ):
                threading.Thread(target=self._pass, args=(start, stop, passed), daemon=True).start()

    def _pass(
        self, start: socket.socket, stop: socket.socket, passed: Callable[[bytes], bytes]
    ) -> None:
        try:
            while (frame := _frame(start)) is not None:
                out = passed(frame)
                stop.sendall(struct.pack(">i", len(out)) + out)
        except OSError:  # cut, or one side hung up
            pass
        except BaseException as error:
            self.failure = error
        finally:
            for end in (start, stop):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _request(self, answers: dict[int, bytes], frame: bytes) -> bytes:
        answer = None if self._requests is None else self._requests(frame)
        if answer is not None:
            answers[_correlation(answer)] = answer
        return frame

    def _answer(self, answers: dict[int, bytes], frame: bytes) -> bytes:
        """Ours, or the broker's with our port for its own, before which comes the host's name."""
        ours = answers.pop(_correlation(frame), None)
        if ours is not None:
            return ours
        host = self._broker[0].encode()
        return frame.replace(
            host + struct.pack(">i", self._broker[1]), host + struct.pack(">i", self._port)
        )


def _correlation(answer: bytes) -> int:
    return int(struct.unpack_from(">i", answer)[0])


def _frame(end: socket.socket) -> bytes | None:
    """The next request or answer, without its length; None at the end."""
    head = _exactly(end, 4)
    return None if head is None else _exactly(end, struct.unpack(">i", head)[0])


def _exactly(end: socket.socket, n: int) -> bytes | None:
    parts: list[Any] = []
    while n:
        part = end.recv(min(n, 1 << 20))
        if not part:
            return None
        parts.append(part)
        n -= len(part)
    return b"".join(parts)
