"""One case: every implementation checked against the reference, then timed in turns."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity.benchmark.machine import Peak
from vaelocity.benchmark.timing import Contender, Seconds, fastest, interleave, median, speedup
from vaelocity.frozen import Rows, Unsupported

TOLERANCE = 1e-4
BLOCK = 4096
PEERS = ("torch_eager", "torch_compile", "onnxruntime", "openvino", "openvino_bf16", "pyod")
OURS = "vaelocity"
PEAK = "peak"

Call = Callable[[], Any]
Reference = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Entry:
    """An implementation in a case: ready to be timed, or why not.

    blocks: it is called for a block of the rows at a time, not for all at once.
    events: what its time is divided by, where a call does the work of the case so many times.
    """

    name: str
    way: str
    call: Call | None
    status: str = "timed"
    reason: str = ""
    error: float | None = None
    information: str | None = None
    blocks: bool = False
    events: int = 1

    @property
    def key(self) -> str:
        """Its name among all entries of a case."""
        return f"{self.name}: {self.way}"


def checked(
    entry: Entry, reference: Reference, tolerance: float = TOLERANCE, floor: float = 0.0
) -> Entry:
    """The entry with its largest relative error; refused (not timed) where that is too large.

    Relative to the score of the row, and to `floor` times the median score where that is more. An
    entry for information keeps its error and is timed whatever it is, NaN excepted.
    """
    if entry.call is None:
        return entry
    try:
        scores = np.asarray(entry.call(), np.float64)
    except Exception as error:
        return failed(entry, error)
    if scores.shape != reference.shape:
        reason = f"gives shape {scores.shape}, not {reference.shape}"
        return replace(entry, call=None, status="refused", reason=reason)
    size = np.abs(reference)
    off = float(np.max(np.abs(scores - reference) / np.maximum(size, floor * np.median(size))))
    entry = replace(entry, error=off)
    if off <= tolerance or (entry.information and np.isfinite(off)):
        return entry
    reason = f"off by {off:.1e} relative, allowed {tolerance:.0e}"
    return replace(entry, call=None, status="refused", reason=reason)


def floor_of(network: Any) -> float:
    """For `checked`: a score of the latent space may be nearly 0 as a difference of larger numbers
    (kl, elbo) or the square of one (mu2, rz); a reconstruction has no such excuse."""
    return 0.0 if network.kind == "reconstruction" else 0.01


def failed(entry: Entry, error: Exception) -> Entry:
    """The entry with the first line of what went wrong instead of its call."""
    status = "not installed" if isinstance(error, ImportError) else "failed"
    if isinstance(error, Unsupported):
        return replace(entry, call=None, status="left out", reason=str(error))
    text = str(error).strip()
    reason = f"{type(error).__name__}: {text.splitlines()[0] if text else ''}"
    return replace(entry, call=None, status=status, reason=reason)


def _peer(name: str) -> Any:
    return importlib.import_module(f"vaelocity.benchmark.peers.{name}")


def load_peers(peers: Sequence[str] = PEERS) -> None:
    """Import every library first: one that is loaded between two cases slows the next for a while
    (openvino does, for about a second)."""
    for name in peers:
        with contextlib.suppress(ImportError):
            importlib.import_module(_peer(name).LIBRARY)


def peer_entries(
    network: Any, rows: Rows, reference: Reference, peers: Sequence[str] = PEERS
) -> Iterator[Entry]:
    """Of every peer its plain way, its fastest given all rows at once, and its fastest in blocks
    of BLOCK rows, where these are others."""
    for name in peers:
        empty = Entry(name, "", None)
        try:
            peer = _peer(name)
            empty = Entry(peer.NAME, "", None, information=peer.INFORMATION)
            whole = [
                replace(empty, way=way.name, call=way.bind(rows))
                for way in peer.ways(network, len(rows))
            ]
            blocks = list(_block_entries(peer, network, rows, empty))
        except Exception as error:
            yield failed(empty, error)
            continue
        check = partial(checked, reference=reference, floor=floor_of(network))
        whole = [check(entry) for entry in whole]
        yield whole[0]
        for group in (whole, [check(entry) for entry in blocks]):
            best = _fastest(group)
            if best is not None and best is not whole[0]:
                yield best


def _block_entries(peer: Any, network: Any, rows: Rows, empty: Entry) -> Iterator[Entry]:
    if len(rows) <= BLOCK or len(rows) % BLOCK:
        return
    for way in peer.ways(network, BLOCK):
        call = in_blocks(way.bind, rows, BLOCK)
        yield replace(empty, way=f"{way.name}, blocks of {BLOCK:,}", call=call, blocks=True)


def _fastest(entries: Sequence[Entry]) -> Entry | None:
    """The one to time, from a short race; a refused one where all are refused."""
    timed = {entry.key: entry for entry in entries if entry.call is not None}
    contenders = {key: Contender(e.call) for key, e in timed.items() if e.call is not None}
    if not contenders:
        return entries[0] if entries else None
    return timed[fastest(contenders)]


def in_blocks(bind: Callable[[Rows], Call], rows: Rows, block: int) -> Call:
    """A call that scores the rows `block` at a time into memory that stays."""
    out = np.empty(len(rows), np.float32)
    starts = range(0, len(rows), block)
    parts = [(bind(rows[at : at + block]), out[at : at + block]) for at in starts]

    def call() -> Rows:
        for score, part in parts:
            part[:] = score()
        return out

    return call


def race(
    entries: Sequence[Entry],
    rows: int,
    flop: int,
    peak: Peak,
    rounds: int,
    sample_seconds: float,
    finish: Call | None = None,
    row_bytes: int = 0,
) -> list[dict[str, Any]]:
    """The entries of a case as JSON: seconds a call, percent of the peak, how much faster OURS is.

    flop: operations a row; row_bytes: what a row must move through memory. The first entry whose
    name is OURS is what the others are compared with; the peak's loop takes part in every round.
    finish: see `Contender`.
    """
    contenders = {e.key: Contender(e.call, finish=finish) for e in entries if e.call is not None}
    if peak.call is not None:
        contenders[PEAK] = Contender(peak.call)
    seconds = interleave(
        contenders, rounds=rounds, sample_seconds=sample_seconds, warmup_seconds=0.2
    )
    ours = next(entry.key for entry in entries if entry.name == OURS)
    work = (rows * flop, rows * row_bytes)
    for entry in entries:
        if entry.key in seconds:
            seconds[entry.key] = seconds[entry.key] / entry.events
    return [_row(entry, seconds, seconds.get(ours), work, peak) for entry in entries]


def _row(
    entry: Entry,
    seconds: dict[str, Seconds],
    ours: Seconds | None,
    work: tuple[int, int],
    peak: Peak,
) -> dict[str, Any]:
    """One line of a case's table. work: operations and bytes of a call."""
    found = {k: v for k, v in asdict(replace(entry, call=None)).items() if k != "call"}
    found |= {"seconds": None, "percent_of_peak": None, "speedup": None}
    mine = seconds.get(entry.key)
    if mine is None:
        return found
    flop, moved = work
    found["seconds"] = asdict(median(mine))
    if PEAK in seconds:
        at_peak = seconds[PEAK] * flop / peak.flop
        found["percent_of_peak"] = 100 * median(at_peak / mine).value
    if moved and peak.bandwidth:
        found["percent_of_bandwidth"] = 100 * moved / peak.bandwidth / median(mine).value
    if ours is not None and ours is not mine:
        found["speedup"] = asdict(speedup(ours, mine))
    return found
