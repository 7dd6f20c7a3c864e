"""What is timed on a GPU: every entry is checked against float64 before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gpu_device import Device, Seconds
from gpu_networks import GpuNetwork, rows_for

from vaelocity.benchmark.networks import images, made_rows
from vaelocity.benchmark.timing import median
from vaelocity.cuda.config import Config
from vaelocity.frozen import Network

CHECKED_ROWS = 20_000
FPR = 1e-3
REPLAY_ROWS = 1024
IMAGES = 65_536
DRY_ROWS = 40

# Largest error over (|score| + mean |score|); a peer is allowed what its precision allows ours.
ALLOWED = {"float32": 1e-5, "tf32": 1e-2, "bf16": 5e-2}

Call = Callable[[], Any]
Configs = Mapping[tuple[str, str], Config]


@dataclass
class Entry:
    """One implementation. kernel, call: p50 seconds; why: why it was not timed."""

    name: str
    error: float | None = None
    flipped: float | None = None
    kernel: float | None = None
    call: float | None = None
    why: str = ""
    config: str = ""


@dataclass
class Case:
    """Entries that score the same rows."""

    id: str
    title: str
    rows: int
    row_bytes: int
    entries: list[Entry] = field(default_factory=list)

    def json(self) -> dict[str, Any]:
        """As plain dictionaries."""
        return asdict(self)


def throughput_cases(
    device: Device, network: GpuNetwork, folder: Path, configs: Configs
) -> Iterator[Case]:
    """Many rows on the device: float32 rows in every precision, bfloat16 rows; the peers where the
    network was trained, since compiling them takes half a minute each."""
    n = network.rows if device.real else DRY_ROWS
    rows = rows_for(network, n)
    exact = network.reference(folder, rows[:CHECKED_ROWS])
    for kind, precisions in (("fp32", ("bf16", "tf32", "float32")), ("bf16", ("bf16",))):
        on_device, out = device.put(rows, kind), device.empty(n)
        size = 4 if kind == "fp32" else 2
        title = f"{network.name}, {n:,} {kind} rows"
        case = Case(f"{network.name}/{kind}", title, n, size * network.features)
        for precision in precisions:
            config = configs.get((network.name, precision))
            scorer = device.scorer(network.path(folder), precision, config)
            entry = Entry(f"vaelocity {precision}", config=scorer.config.why)
            call = _bind(scorer.score, on_device, out)
            _run(device, entry, call, exact, ALLOWED[precision])
            case.entries.append(entry)
        if device.real and network.trained and kind == "fp32":
            case.entries += _peers(device, network.loaded(folder), on_device, exact)
        yield case
        del on_device, out


def replay_case(device: Device, network: GpuNetwork, folder: Path, precision: str) -> Case:
    """One replay of a CUDA graph with one call, until the host knows that it is done."""
    n = REPLAY_ROWS if device.real else DRY_ROWS
    rows = rows_for(network, n)
    exact = network.reference(folder, rows)
    on_device, out = device.put(rows, "fp32"), device.empty(n)
    scorer = device.scorer(network.path(folder), precision)
    case = Case(f"replay/{precision}", f"CUDA graph, {n:,} rows, {precision}", n, 0)
    call = _bind(scorer.score, on_device, out)
    entry = Entry(f"vaelocity {precision}", config=scorer.config.why)
    call()
    replay = device.graph(call)

    def replayed() -> Any:
        replay()
        return out

    _run(device, entry, replayed, exact, ALLOWED[precision], repeats=200)
    case.entries.append(entry)
    return case


def images_case(device: Device, name: str, folder: Path) -> Case:
    """A network with convolutions: torch's layers and our last kernel, beside torch alone."""
    network = images(name, folder)
    n = IMAGES if device.real else DRY_ROWS // 4
    rows = made_rows(network, n)
    exact = network.reference(rows[:CHECKED_ROWS])
    on_device, out = device.put(rows, "fp32"), device.empty(n)
    title = f"{name}, {n:,} fp32 images"
    case = Case(f"{name}/fp32", title, n, 4 * network.n_features)
    for precision in ("bf16", "tf32", "float32"):
        scorer = device.scorer(network.path, precision)
        entry = Entry(f"vaelocity {precision}", config=scorer.config.why)
        _run(device, entry, _bind(scorer.score, on_device, out), exact, ALLOWED[precision])
        case.entries.append(entry)
    if device.real:
        case.entries += _peers(device, network, on_device, exact)
    return case


def stream_case(device: Device, network: GpuNetwork, folder: Path, pinned: bool) -> Case:
    """Rows in host memory to scores in host memory, by score_stream; and to accepted events."""
    import torch

    n = 4_000_000
    rows = torch.from_numpy(rows_for(network, n))
    rows = rows.pin_memory() if pinned else rows
    where = "pinned" if pinned else "pageable"
    case = Case(f"stream/{where}", f"host to host, {where} rows", n, 4 * network.features)
    scorer = device.scorer(network.path(folder), "bf16")
    batches = rows.split(1 << 18)

    def call() -> Any:
        return torch.cat(list(scorer.score_stream(batches)))

    entry = Entry("vaelocity bf16")
    exact = network.reference(folder, rows[:CHECKED_ROWS].numpy())
    scores = call()
    entry.error, entry.flipped = judged(scores[: len(exact)].double().numpy(), exact)
    entry.call = _p50(device.call_seconds(call, 3))
    case.entries.append(entry)
    limit = float(np.float32(scores.double().quantile(1 - FPR)))

    def accepted() -> Any:
        return list(scorer.score_stream(batches, accepted_only=True, threshold=limit))

    entry = Entry("vaelocity bf16, accepted events", error=entry.error)
    kept = sum(len(index) for index, _ in accepted())
    entry.flipped = abs(kept - int((scores > limit).sum())) / n
    entry.call = _p50(device.call_seconds(accepted, 3))
    case.entries.append(entry)
    return case


def _peers(device: Device, network: Network, rows: Any, exact: Any) -> list[Entry]:
    from gpu_peers import peers

    entries = []
    for name, allowed, make in peers(network, rows):
        entries.append(Entry(name))
        _run_made(device, entries[-1], make, exact, ALLOWED[allowed])
    return entries


def _bind(score: Any, rows: Any, out: Any) -> Call:
    return lambda: score(rows, out)


def _run_made(
    device: Device, entry: Entry, make: Callable[[], Call], exact: Any, allowed: float
) -> None:
    try:
        call = make()
    except Exception as failure:
        entry.why = f"{type(failure).__name__}: {(str(failure).splitlines() or [''])[0]}"
        return
    _run(device, entry, call, exact, allowed)


def _run(
    device: Device, entry: Entry, call: Call, exact: Any, allowed: float, repeats: int = 20
) -> None:
    """Checks, then times."""
    try:
        scores = device.take(call()[: len(exact)])
        entry.error, entry.flipped = judged(scores, exact)
        if not entry.error <= allowed:
            entry.why = f"refused: off by {entry.error:.1e}, allowed {allowed:.0e}"
            return
        timed(device, entry, call, repeats)
    except Exception as failure:
        entry.why = f"{type(failure).__name__}: {(str(failure).splitlines() or [''])[0]}"


def timed(device: Device, entry: Entry, call: Call, repeats: int = 20) -> None:
    """What was checked before."""
    entry.kernel = _p50(device.kernel_seconds(call, repeats))
    entry.call = _p50(device.call_seconds(call, repeats))


def judged(scores: npt.NDArray[np.float64], exact: npt.NDArray[np.float64]) -> tuple[float, float]:
    """(largest error over |score| + mean |score|, part of the decisions at FPR that differ)."""
    error = float((np.abs(scores - exact) / (np.abs(exact) + np.abs(exact).mean())).max())
    threshold = np.quantile(exact, 1 - FPR)
    return error, float(np.mean((scores > threshold) != (exact > threshold)))


def _p50(seconds: Seconds) -> float:
    return median(seconds).value
