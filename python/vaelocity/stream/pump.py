"""The pump: one thread reads and gathers, some score, the caller's writes; order is kept.

    source -> gather -> [bounded queue] -> score (threads) -> sink -> commit

Every stage waits for the next one, so a slow consumer slows the source and memory stays bounded.
Offsets are committed only after the sink says that the scores are out.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from vaelocity.stream.ends import Sink, Source, StreamError
from vaelocity.stream.gather import MicroBatch, gather
from vaelocity.stream.rejects import Rejects
from vaelocity.stream.scoring import Scored, StreamScorer
from vaelocity.stream.selection import Selection
from vaelocity.stream.stats import StreamStats

__all__ = ["Pump"]

log = logging.getLogger(__name__)

_WAKE_SECONDS = 0.1


class SinkError(StreamError):
    """The sink failed; the source may still give."""


@dataclass
class _Work:
    """A micro-batch on its way.

    scored  what the model makes of it; set by a worker unless the micro-batch is refused
    beside  what the shadow does, or None where it fails; set where there is a shadow
    """

    micro: MicroBatch
    scored: Future[Scored] = field(default_factory=Future)
    beside: Future[Scored | None] | None = None


class Pump:
    """Moves events from a source through a scorer to a sink, until the source ends or stop().

    Args:
        scorer: called with every micro-batch; may be exchanged at any time: `pump.scorer = other`
            holds from the next micro-batch on.
        shadow: scores every micro-batch after `scorer`, decides nothing and may fail; exchanged in
            the same way, None for none.
        rows, latency: see gather(); latency in seconds. At saturation threads + 3 micro-batches
            are under way: fewer rows are out sooner, and to begin with a micro-batch costs as much
            as some hundred rows.
        threads: micro-batches scored at a time.
        commit_seconds: how often the sink is flushed and the source told so.
        rejects: where messages go that cannot be scored; None stops the stream at the first. A
            source that does not replay needs it: scores that the sink does not take go there, too.
        select: what of a result goes out, where that is not for `scorer` to say.
        observe: called with every micro-batch, its result and the shadow's (None where there is
            none, or it failed), in order, after the result is out; no more once it has raised.
    """

    def __init__(
        self,
        source: Source,
        sink: Sink,
        scorer: StreamScorer,
        *,
        rows: int = 8192,
        latency: float = 0.01,
        threads: int = 1,
        commit_seconds: float = 1.0,
        rejects: Rejects | None = None,
        shadow: StreamScorer | None = None,
        select: Selection | None = None,
        observe: Callable[[MicroBatch, Scored, Scored | None], None] | None = None,
    ) -> None:
        if rejects is None and not source.replays:
            raise ValueError(f"rejects: {source.name} cannot be read again, so a folder is needed")
        self.source, self.sink, self.scorer, self.shadow = source, sink, scorer, shadow
        self.stats = StreamStats()
        self._rows, self._latency, self._threads = rows, latency, threads
        self._commit_seconds, self._rejects, self._observe = commit_seconds, rejects, observe
        self._select = select
        # Enough that no thread waits for the others, and no more: each is a batch in memory.
        self._queue: queue.Queue[_Work | None] = queue.Queue(threads + 1)
        self._abort = threading.Event()
        self._failure: BaseException | None = None
        self._failing: StreamScorer | None = None
        self._drained = False
        self._pending: list[Any] = []
        # Scores that would be lost with the sink, where nobody could make them again.
        self._unsafe: list[pa.RecordBatch] = []
        self._flushed = time.monotonic()

    def stop(self) -> None:
        """Take no more events; run() returns when the scores of those taken are out."""
        self.source.stop()

    def run(self) -> StreamStats:
        """Pump until the source ends; afterwards both ends are closed.

        Raises:
            StreamError: an end failed, or a message cannot be scored and there are no rejects.
                What was committed is out; nothing that is not out was committed.
        """
        self.stats.started = time.perf_counter()
        complete = False
        with ThreadPoolExecutor(self._threads, "score") as pool:
            reader = threading.Thread(target=self._read, args=(pool,), name="read", daemon=True)
            reader.start()
            try:
                self._write()
                complete = True
            except OSError as error:
                # Once all is drained, only a sink that failed at the end has not taken it.
                unsent = not self._drained or isinstance(error, SinkError)
                if unsent and not self.source.replays:
                    self._rescue()
                raise
            finally:
                self._abort.set()
                self.source.stop()
                reader.join()
                try:
                    self._close(complete=complete)
                finally:
                    self.source.close()
        return self.stats

    def _read(self, pool: ThreadPoolExecutor) -> None:
        """Source to queue; a failure is kept for the writer, after all that came before it."""
        try:
            for micro in gather(self.source, self._rows, self._latency, self._refuse):
                work, shadow = _Work(micro), self.shadow
                if not micro.refused:
                    work.beside = None if shadow is None else Future()
                    pool.submit(self._score, work, self.scorer, shadow)
                if not self._put(work):
                    return
        except BaseException as error:
            self._failure = error
        self._put(None)

    def _refuse(self, batch: Any) -> str:
        refused = self.scorer.refuse(batch)
        return refused if refused or self._select is None else self._select.refuse(batch)

    def _score(self, work: _Work, scorer: StreamScorer, shadow: StreamScorer | None) -> None:
        try:
            work.scored.set_result(scorer(work.micro.batches))
        except BaseException as error:
            work.scored.set_exception(error)
            return
        if shadow is None or work.beside is None:
            return
        try:
            work.beside.set_result(shadow(work.micro.batches))
        except Exception as error:  # whatever it is, the live model goes on
            work.beside.set_result(None)
            if shadow is not self._failing:
                self._failing = shadow
                where = work.micro.messages[0].where
                log.warning("%s: the shadow cannot score it: %s; said once", where, error)

    def _put(self, item: _Work | None) -> bool:
        while not self._abort.is_set():
            try:
                self._queue.put(item, timeout=_WAKE_SECONDS)
                return True
            except queue.Full:
                continue
        return False

    def _write(self) -> None:
        while True:
            try:
                item = self._queue.get(timeout=_WAKE_SECONDS)
            except queue.Empty:
                self._flush(force=False)
                continue
            if item is None:
                self._drained = True
                break
            self._out(item)
            self._flush(force=False)
        self._flush(force=True)
        if self._failure is not None:
            events = f"{self.stats.events:,}"
            log.warning("%s: broke off after %s events", self.source.name, events)
            raise self._failure

    def _out(self, work: _Work) -> None:
        micro = work.micro
        if micro.refused:
            self._set_aside(micro)
        else:
            scored = self._selected(work)
            if not self.source.replays:
                self._unsafe.append(scored.batch)
            start = time.perf_counter()
            self._guard(lambda: self.sink.write(scored.batch), micro.messages[0].where)
            now = time.perf_counter()
            self.stats.waiting += now - start
            self.stats.add(scored, len(micro.messages))
            for message in micro.messages:
                self.stats.latency.add(now - message.arrived, message.rows)
            self._watch(work, scored)
        self._pending += micro.positions

    def _selected(self, work: _Work) -> Scored:
        scored = work.scored.result()
        return scored if self._select is None else self._select(scored)

    def _watch(self, work: _Work, scored: Scored) -> None:
        if self._observe is None:
            return
        beside = None if work.beside is None else work.beside.result()
        try:
            self._observe(work.micro, scored, beside)
        except Exception as error:  # scores are worth more than what is told of them
            self._observe = None
            log.error("nobody watches the stream any more: %s: %s", type(error).__name__, error)

    def _set_aside(self, micro: MicroBatch) -> None:
        message = micro.refused
        assert message is not None
        if self._rejects is None:
            self._flush(force=True)
            raise StreamError(
                f"{message.where}: cannot be scored: {message.error}; stopped there after "
                f"{self.stats.events:,} events; with --rejects FOLDER such messages are set aside"
            )
        try:
            path = self._rejects.save(message)
        except OSError as error:
            raise StreamError(
                f"{message.where}: cannot be scored: {message.error}; nor kept in "
                f"{self._rejects.folder}: {error.strerror or error}"
            ) from error
        self.stats.refused += 1
        log.warning("%s: cannot be scored: %s; kept as %s", message.where, message.error, path)

    def _flush(self, *, force: bool) -> None:
        if not force and time.monotonic() - self._flushed < self._commit_seconds:
            return
        self._guard(lambda: self.sink.flush(self._pending))
        self.source.commit(self._pending)
        self._pending, self._unsafe = [], []
        self._flushed = time.monotonic()

    def _close(self, *, complete: bool) -> None:
        if complete:
            self._guard(lambda: self.sink.close(complete=True))
            return
        try:
            self.sink.close(complete=False)
        except OSError as error:  # the failure that got us here is the one to tell
            log.warning("%s: %s", self.sink.name, error)

    def _guard(self, step: Callable[[], None], where: str = "") -> None:
        """Run one step of the sink; what goes wrong says which events it concerns."""
        try:
            step()
        except OSError as error:
            cause = (error.strerror or str(error)).removeprefix(f"{self.sink.name}: ")
            after = f" before {where}" if where else ""
            raise SinkError(
                f"{self.sink.name}: {cause}; it took the scores of {self.stats.events:,} "
                f"events{after}{self._again()}"
            ) from error

    def _again(self) -> str:
        """What becomes of events whose scores are not out."""
        if not self.source.replays:
            return ""
        if self.source.commits:
            return "; start again, and what was not committed is scored again"
        return "; start again, and all is scored again"

    def _rescue(self) -> None:
        """The sink is broken and nobody can send the events again: score all that have arrived."""
        assert self._rejects is not None
        self.source.stop()
        try:
            path, rows = self._rejects.save_unsent(self._unsent())
        except OSError as error:
            log.error("%s: %s; events that had arrived are lost", self._rejects.folder, error)
        else:
            log.warning("%s: scores of %s events are kept in %s", self.sink.name, f"{rows:,}", path)

    def _unsent(self) -> Iterator[pa.RecordBatch]:
        yield from self._unsafe
        while not self._drained and (item := self._queue.get()) is not None:
            if item.micro.refused:
                self._set_aside(item.micro)
            else:
                yield self._selected(item).batch
