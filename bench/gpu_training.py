"""Training on a GPU: rows a second, step by step and in a CUDA graph."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from gpu_cases import Case, Entry
from gpu_device import Device

BATCH = 1024
EPOCHS = 8
ALLOWED = 1e-3  # of the last loss, against that of the steps


def training_case(device: Device) -> Case:
    """A VAE on the shipped jets. An epoch's time is the difference of two fits, so that what comes
    before and after the epochs is left out."""
    from vaelocity.data import jets

    rows = np.ascontiguousarray(jets.load().rows)
    epochs = EPOCHS
    if not device.real:
        rows, epochs = rows[:2048], 1
    ways = {"steps": False, "CUDA graph": True} if device.real else {"steps": False}
    title = f"training, VAE, {len(rows):,} jets in batches of {BATCH:,}"
    case = Case("training", title, len(rows), 4 * rows.shape[1])
    loss = None
    _fit(device, rows, 1, False)  # what the first training of a process pays
    for name, graph in ways.items():
        entry = Entry(f"vaelocity, {name}", flipped=0.0)
        case.entries.append(entry)
        try:
            short, _ = _fit(device, rows, epochs, graph)
            long, found = _fit(device, rows, 3 * epochs, graph)
        except Exception as failure:
            text = (str(failure).splitlines() or [""])[0]
            entry.why = f"{type(failure).__name__}: {text}"
            continue
        loss = found if loss is None else loss
        entry.error = abs(found - loss) / abs(loss)
        if entry.error > ALLOWED:
            entry.why = f"refused: the last loss is off by {entry.error:.1e}"
        elif device.real and long <= short:
            entry.why = f"refused: {3 * epochs} epochs took no longer than {epochs}"
        else:
            entry.call = (long - short) / (2 * epochs)
    return case


def _fit(device: Device, rows: np.ndarray, epochs: int, graph: bool) -> tuple[float, float]:
    """(seconds, last loss)."""
    from vaelocity import models

    more: dict[str, Any] = {"device": device.torch_device, "cuda_graph": graph}
    model = models.VAE(rows.shape[1])
    start = time.perf_counter()
    model.fit(rows, epochs=epochs, batch_size=BATCH, seed=0, progress=False, **more)
    return time.perf_counter() - start, model.history["loss"][-1]
