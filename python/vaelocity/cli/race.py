"""Several implementations of one score, timed in one process, in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity.cli.tensors import TensorFile
from vaelocity.steps import require_dense, require_plain

Rows = npt.NDArray[np.float32]
Score = Callable[[Rows], npt.NDArray[np.float32]]

BATCHES = (512, 1024, 4096, 16384, 65536)


@dataclass(frozen=True)
class Entry:
    """One runner: the batch it was fastest at, and events/s of every round."""

    batch: int
    rates: npt.NDArray[np.float64]

    @property
    def rate(self) -> float:
        """Median events/s."""
        return float(np.median(self.rates))


@dataclass(frozen=True)
class Ratio:
    """Median over the rounds of the ratio of two runners, and the range of nine rounds in ten."""

    value: float
    low: float
    high: float


def race(
    runners: Mapping[str, Score], rows: Rows, *, rounds: int = 15, batches: Sequence[int] = BATCHES
) -> dict[str, Entry]:
    """Time every runner on rows [n, d], in turns, `rounds` times; each at its own best batch.

    The runners must agree (1e-4 relative, and 1e-4 of the median score) before any is timed.
    Raises ValueError where they do not.
    """
    _check_agreement(runners, rows[:4096])
    best = {name: _best_batch(runner, rows, batches) for name, runner in runners.items()}
    rates: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(rounds):
        for name, runner in runners.items():
            rates[name].append(len(rows) / _seconds(runner, rows, best[name]))
    return {name: Entry(best[name], np.array(rates[name])) for name in runners}


def ratio(faster: Entry, slower: Entry) -> Ratio:
    """How many times faster, round by round."""
    each = faster.rates / slower.rates
    low, value, high = np.quantile(each, [0.05, 0.5, 0.95])
    return Ratio(float(value), float(low), float(high))


def _check_agreement(runners: Mapping[str, Score], rows: Rows) -> None:
    found = {name: np.asarray(runner(rows), np.float64) for name, runner in runners.items()}
    first, expected = next(iter(found.items()))
    slack = 1e-4 * float(np.median(np.abs(expected)))
    for name, scores in found.items():
        if not np.allclose(scores, expected, rtol=1e-4, atol=slack):
            worst = float(np.max(np.abs(scores - expected)))
            raise ValueError(f"{name} and {first} disagree by up to {worst:.3g}: nothing is timed")


def _best_batch(runner: Score, rows: Rows, batches: Sequence[int]) -> int:
    usable = [batch for batch in batches if batch <= len(rows)] or [len(rows)]
    some = rows[: max(usable)]
    times = {b: min(_seconds(runner, some, b) for _ in range(3)) for b in usable}
    return min(times, key=lambda batch: times[batch])


def _seconds(runner: Score, rows: Rows, batch: int) -> float:
    start = time.perf_counter()
    for at in range(0, len(rows), batch):
        runner(rows[at : at + batch])
    return time.perf_counter() - start


def plain_torch(metadata: Mapping[str, Any], file: TensorFile) -> Score:
    """The reconstruction score of a model file in eager PyTorch, as one would write it by hand.

    A Sequential of Linear and ReLU in inference mode, standardising before and 1/2 ||y - x||^2
    after; rows pass without a copy. For relu networks whose latent is a point.
    """
    import torch
    from torch import nn

    def tensor(name: str) -> torch.Tensor:
        return torch.from_numpy(file.read(name).copy())

    require_plain(metadata, "the race against plain PyTorch")
    require_dense(metadata, "the race against plain PyTorch")
    layers: list[nn.Module] = []
    for layer in (*metadata["encoder"], *metadata["decoder"]):
        weight = tensor(layer["weight"])
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        linear.load_state_dict({"weight": weight, "bias": tensor(layer["bias"])})
        layers.append(linear)
        if layer["activation"] == "relu":
            layers.append(nn.ReLU())
        elif layer["activation"] != "identity":
            raise ValueError(f"activation {layer['activation']}: expected relu or identity")
    network = nn.Sequential(*layers).eval()
    step = metadata["preprocess"][-1]
    mean, inverse = tensor(step["mean"]), 1 / tensor(step["scale"])

    def score(rows: Rows) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            x = (torch.from_numpy(rows) - mean) * inverse
            found: npt.NDArray[np.float32] = (0.5 * (network(x) - x).square().sum(1)).numpy()
            return found

    return score
