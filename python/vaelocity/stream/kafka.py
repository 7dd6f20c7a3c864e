"""Kafka through librdkafka: a consumer group as source, a topic as sink.

    kafka://HOST:PORT[,HOST:PORT]/TOPIC[?group=NAME][&config=FILE][&OPTION=VALUE]

OPTION is any of librdkafka's (`security.protocol=SSL`); FILE holds more of them, one OPTION=VALUE a
line, and is the place for passwords. A message is an Arrow IPC stream.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult

import pyarrow as pa

from vaelocity.stream.address import ask, options
from vaelocity.stream.ends import StreamError
from vaelocity.stream.message import Decoder, Message, encode
from vaelocity.stream.sparing import SparingLog

__all__ = ["KafkaSink", "KafkaSource", "Position"]

log = logging.getLogger(__name__)

Position = tuple[str, int, int, Any]
"""Topic, partition and offset of a message, and the group's member that read it."""

_AT_ONCE = 1000
_WAKE_SECONDS = 0.1
# A broker takes messages up to 1 MB unless told otherwise; this leaves room for the frame.
_MESSAGE_BYTES = 900_000


class KafkaSource:
    """A member of a consumer group. Offsets are committed only through commit()."""

    commits = True
    replays = True

    def __init__(self, url: SplitResult, *, commits: bool = True) -> None:
        """commits: False where the sink commits offsets in its transactions."""
        self.name = url._replace(query="").geturl()
        self._by_sink = not commits
        self._kafka = ask("confluent_kafka", "confluent-kafka", self.name)
        topic, settings = _settings(url)
        settings.setdefault("group.id", "vaelocity")
        settings.setdefault("auto.offset.reset", "earliest")
        settings["enable.auto.commit"] = False
        self._fatal: Any = None
        self._said = SparingLog(log)
        settings["error_cb"] = self._failed
        self._done: deque[Position] = deque()
        self._member: Any = None
        self._decoder = Decoder()
        self._consumer = _client(self._kafka, "Consumer", settings, self.name)
        self._consumer.subscribe([topic])
        self._stopped = self._closed = False

    def poll(self, timeout: float) -> Sequence[Message] | None:
        self._commit_done()
        if self._stopped:
            return None
        # The first message is worth waiting for; consume(many, timeout) would wait for all of them.
        received = self._consumer.consume(1, timeout)
        if received:
            if self._by_sink:  # before the group can change again, which happens within consume()
                self._member = self._consumer.consumer_group_metadata()
            received += self._consumer.consume(_AT_ONCE - 1, 0)
        if self._fatal is not None:
            raise StreamError(f"{self.name}: {self._fatal.str()}")
        arrived = time.perf_counter()
        return [self._message(one, arrived) for one in received if self._is_message(one)]

    def stop(self) -> None:
        self._stopped = True

    def commit(self, positions: Sequence[Position]) -> None:
        if not self._by_sink:
            self._done.extend(positions)

    def offsets(self, positions: Sequence[Position]) -> list[Any]:
        """What to go on with after these messages, for every partition."""
        following: dict[tuple[str, int], int] = {}
        for topic, partition, offset, _ in positions:
            at = (topic, partition)
            following[at] = max(following.get(at, 0), offset + 1)
        return [self._kafka.TopicPartition(*at, offset) for at, offset in following.items()]

    @staticmethod
    def group_metadata(positions: Sequence[Position]) -> Any:
        """What a transactional producer needs to commit in the name of this consumer: the member as
        it was when the first of the messages was read.

        After a rebalance the group gives messages that are not committed yet to another member, or
        to this one once more; what was read before must not be committed then, and the broker
        refuses it, for it is of an older generation of the group.
        """
        return positions[0][3]

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._commit_done()
        self._consumer.close()

    def _is_message(self, received: Any) -> bool:
        error = received.error()
        if error is None:
            return True
        if error.fatal() or error.code() == self._kafka.KafkaError.TOPIC_AUTHORIZATION_FAILED:
            raise StreamError(f"{self.name}: {error.str()}")
        self._said.warn(error.code(), f"{self.name}: {error.str()}")
        return False

    def _message(self, received: Any, arrived: float) -> Message:
        topic, partition, offset = received.topic(), received.partition(), received.offset()
        where = f"{topic}/{partition} offset {offset}"
        position = (topic, partition, offset, self._member)
        return Message.read(received.value() or b"", arrived, where, position, self._decoder)

    def _commit_done(self) -> None:
        """Commit what is done. In the thread that consumes: while another one is within consume(),
        a commit of confluent-kafka waits for it, for ever if it consumes again and again."""
        positions = [self._done.popleft() for _ in range(len(self._done))]
        if not positions:
            return
        # After a rebalance a partition is another member's, which scores these events again.
        try:
            parts = self._consumer.commit(offsets=self.offsets(positions), asynchronous=False)
        except self._kafka.KafkaException as error:
            self._not_committed(error.args[0])
            return
        for part in parts:
            if part.error is not None:
                self._not_committed(part.error)

    def _not_committed(self, error: Any) -> None:
        text = f"{self.name}: offsets not committed, their events come again: {error.str()}"
        self._said.warn(("commit", error.code()), text)

    def _failed(self, error: Any) -> None:
        """librdkafka reconnects by itself; only what it calls fatal ends the stream."""
        if error.fatal():
            self._fatal = error
        else:
            self._said.warn(error.code(), f"{self.name}: {error.str()}")


class KafkaSink:
    """An idempotent producer: a batch that is retried is stored once."""

    def __init__(self, url: SplitResult, more: dict[str, Any] | None = None) -> None:
        self.name = url._replace(query="").geturl()
        self._kafka = ask("confluent_kafka", "confluent-kafka", self.name)
        self._topic, settings = _settings(url)
        settings.setdefault("enable.idempotence", True)
        settings.setdefault("linger.ms", 5)
        settings["error_cb"] = self._failed
        self._error: Any = None
        self._said = SparingLog(log)
        settings.update(more or {})
        self._producer = _client(self._kafka, "Producer", settings, self.name)

    def write(self, batch: pa.RecordBatch) -> None:
        rows = max(1, batch.num_rows * _MESSAGE_BYTES // max(1, batch.nbytes))
        for start in range(0, batch.num_rows, rows):
            self._produce(batch.slice(start, rows))
        self._producer.poll(0)
        self._check()

    def flush(self, positions: Sequence[Any]) -> None:
        """Wait until every message is acknowledged by the broker."""
        while self._producer.flush(_WAKE_SECONDS):
            self._check()
        self._check()

    def close(self, *, complete: bool) -> None:
        if complete:
            self.flush([])
        else:
            self._producer.purge()
            self._producer.flush(_WAKE_SECONDS)

    def _produce(self, batch: pa.RecordBatch) -> None:
        value = encode(batch).to_pybytes()
        metadata = batch.schema.metadata or {}
        headers = [(name.decode(), text) for name, text in metadata.items()]
        while True:
            try:
                self._producer.produce(
                    self._topic, value, headers=headers, on_delivery=self._delivered
                )
                return
            except BufferError:  # the queue is full: the broker is slower than we are
                self._producer.poll(_WAKE_SECONDS)
                self._check()

    def _delivered(self, error: Any, message: Any) -> None:
        if error is not None:
            self._error = error

    def _failed(self, error: Any) -> None:
        if error.fatal():
            self._error = error
        else:
            self._said.warn(error.code(), f"{self.name}: {error.str()}")

    def _check(self) -> None:
        if self._error is not None:
            raise StreamError(f"{self.name}: {self._error.str()}")


def _settings(url: SplitResult) -> tuple[str, dict[str, Any]]:
    """The topic, and librdkafka's settings."""
    topic = url.path.strip("/")
    if not topic or not url.netloc:
        raise ValueError(f"{url.geturl()}: expected kafka://HOST:PORT/TOPIC")
    given = options(url, None)
    # librdkafka would write on stderr by itself what `error_cb` tells us.
    settings: dict[str, Any] = {"bootstrap.servers": url.netloc, "log_level": 2}
    if file := given.pop("config", None):
        lines = [line.strip() for line in Path(file).read_text().splitlines()]
        for line in lines:
            name, equals, value = line.partition("=")
            if not line.startswith("#") and equals:
                settings[name.strip()] = value.strip()
    if group := given.pop("group", None):
        settings["group.id"] = group
    return topic, {**settings, **given}


def _client(kafka: Any, kind: str, settings: dict[str, Any], name: str) -> Any:
    """A Consumer or a Producer. Raises ValueError for a setting that librdkafka does not take."""
    try:
        return getattr(kafka, kind)(settings)
    except kafka.KafkaException as error:
        raise ValueError(f"{name}: {error.args[0].str()}") from error
