"""Kafka to Kafka without duplicates: scores and offsets in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import SplitResult

import pyarrow as pa

from vaelocity.stream.ends import StreamError
from vaelocity.stream.kafka import KafkaSink, KafkaSource, Position

__all__ = ["KafkaTransactionSink"]

_SECONDS = 30.0


class KafkaTransactionSink(KafkaSink):
    """Every flush is a transaction: a reader with isolation.level=read_committed sees the scores of
    a message once, or not yet.

    The transactional id follows from the addresses of both ends and `?transactional.id=`; a process
    that starts with the id of another one fences that one off. When the group's members change in
    the middle of a transaction it is aborted and the stream ends: started again, it goes on from
    what was committed.
    """

    def __init__(self, url: SplitResult, source: KafkaSource) -> None:
        more = {"transactional.id": f"vaelocity {source.name} {url.path}"}
        if "transactional.id=" in url.query:
            more = {}
        super().__init__(url, more)
        self._source = source
        self._open = False
        self._call(self._producer.init_transactions, _SECONDS)

    def write(self, batch: pa.RecordBatch) -> None:
        self._begin()
        super().write(batch)

    def flush(self, positions: Sequence[Position]) -> None:
        """Commit what was written since the last flush, together with the offsets."""
        if not self._open and not positions:
            return
        self._begin()
        super().flush(positions)
        if positions:
            offsets = self._source.offsets(positions)
            member = self._source.group_metadata(positions)
            self._call(self._producer.send_offsets_to_transaction, offsets, member, _SECONDS)
        self._call(self._producer.commit_transaction, _SECONDS)
        self._open = False

    def close(self, *, complete: bool) -> None:
        if not complete and self._open:
            self._open = False
            self._call(self._producer.abort_transaction, _SECONDS)
        super().close(complete=complete)

    def _begin(self) -> None:
        if not self._open:
            self._call(self._producer.begin_transaction)
            self._open = True

    def _call(self, step: Any, *arguments: Any) -> None:
        try:
            step(*arguments)
        except self._kafka.KafkaException as error:
            raise StreamError(f"{self.name}: {step.__name__}: {error.args[0].str()}") from error
