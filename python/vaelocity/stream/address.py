"""The addresses of a stream's ends, and the libraries that they need."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

if TYPE_CHECKING:
    from vaelocity.stream.ends import Sink, Source

__all__ = ["ask", "open_sink", "open_source", "options"]


def open_source(
    address: str | Sequence[str],
    features: Sequence[str],
    columns: Sequence[str] = (),
    *,
    key: str | None = None,
    transactional: bool = False,
) -> Source:
    """The source at an address.

    Args:
        address: `-` (an Arrow IPC stream on stdin), `kafka://HOST:PORT/TOPIC?group=NAME`,
            `zmq://HOST:PORT`, or files: a path, a glob, or a list of these.
        features: the model's feature names.
        columns: columns to read beside them; files only, messages hold what they hold.
        key: files: the npz array, HDF5 dataset or ROOT tree.
        transactional: Kafka: offsets are committed by the sink, with the scores.

    Raises:
        ImportError: naming what to install.
        OSError, ValueError: it cannot be opened; the message names the address.
    """
    if address == "-":
        from vaelocity.stream.pipe import stdin

        return stdin()
    scheme = _scheme(address)
    if scheme == "kafka":
        from vaelocity.stream.kafka import KafkaSource

        return KafkaSource(_split(address), commits=not transactional)
    if scheme in ("zmq", "zmq+ipc"):
        from vaelocity.stream.zeromq import ZmqSource

        return ZmqSource(_split(address))
    from vaelocity.stream.files import FileSource

    return FileSource(address, features, columns, key=key)


def open_sink(address: str, source: Source, *, transactional: bool = False) -> Sink:
    """The sink at an address: `-` (an Arrow IPC stream on stdout), `null:`, `kafka://HOST:PORT/TOPIC`,
    `zmq://HOST:PORT`, `NAME.parquet`, or `FOLDER/`, which gets a Parquet file for every commit.

    transactional: Kafka to Kafka: scores and the offsets of `source` in one transaction.
    Raises as open_source.
    """
    scheme = _scheme(address)
    if transactional:
        from vaelocity.stream.kafka import KafkaSource
        from vaelocity.stream.kafka_transaction import KafkaTransactionSink

        if scheme != "kafka" or not isinstance(source, KafkaSource):
            raise ValueError(f"transactional: goes from kafka:// to kafka://, got {address}")
        return KafkaTransactionSink(_split(address), source)
    if address == "-":
        from vaelocity.stream.pipe import stdout

        return stdout()
    if address == "null:":
        from vaelocity.stream.null import NullSink

        return NullSink()
    if scheme == "kafka":
        from vaelocity.stream.kafka import KafkaSink

        return KafkaSink(_split(address))
    if scheme in ("zmq", "zmq+ipc"):
        from vaelocity.stream.zeromq import ZmqSink

        return ZmqSink(_split(address))
    from vaelocity.stream.parquet import parquet_sink

    return parquet_sink(address, source)


def options(url: SplitResult, known: set[str] | None) -> dict[str, str]:
    """What follows the `?`. known: the names allowed; None allows any."""
    given = dict(parse_qsl(url.query, keep_blank_values=True))
    for name in given:
        if known is not None and name not in known:
            raise ValueError(f"{url.geturl()}: unknown option {name!r}; {sorted(known)} are known")
    return given


def ask(module: str, package: str, wanted_by: str) -> Any:
    """Import a library that one kind of address needs, or say how to get it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{wanted_by}: needs {package}, which cannot be imported ({error}): "
            'pip install "vaelocity[stream]"'
        ) from error


def _scheme(address: str | Sequence[str]) -> str:
    """What stands before `://`. Raises ValueError for one that is not known."""
    if not isinstance(address, str) or "://" not in address:
        return ""
    scheme = address.partition("://")[0]
    if scheme not in ("kafka", "zmq", "zmq+ipc"):
        raise ValueError(f"{address}: expected kafka://, zmq://, zmq+ipc://, -, or files")
    return scheme


def _split(address: str | Sequence[str]) -> SplitResult:
    assert isinstance(address, str)
    return urlsplit(address)
