"""PyOD's AutoEncoder as shipped: its own loop over batches around the same network."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from vaelocity.benchmark.peers.protocol import Call, Way
from vaelocity.frozen import Network, Rows, Unsupported

NAME = "pyod"
LIBRARY = "pyod"
INFORMATION = None
_MOST_ROWS = 65536


def ways(network: Network, n: int) -> Sequence[Way]:
    """decision_function at its own batch size, and with all rows in one batch.

    PyOD's score is ||y - x||, of which 1/2 of the square is taken. It has no other kind of score.
    """
    if network.kind != "reconstruction":
        raise Unsupported(f"PyOD has no {network.kind} score")
    if n > _MOST_ROWS:
        raise Unsupported(f"seconds a call: not timed above {_MOST_ROWS:,} rows")
    import torch

    detector = _detector(network)
    torch.set_num_threads(1)

    def way(name: str, batch: int | None) -> Way:
        def bind(rows: Rows) -> Call:
            def call() -> Any:
                return 0.5 * np.square(detector.decision_function(rows, batch_size=batch))

            return call

        return Way(name, bind)

    return [way("as shipped", None), way("one batch", n)]


def _detector(network: Network) -> Any:
    """A detector that was fitted for the least there is, with the network put in its place."""
    from pyod.models.auto_encoder import AutoEncoder
    from torch import nn

    from vaelocity.benchmark.peers.torch_module import ScoreModule

    detector = AutoEncoder(epoch_num=1, batch_size=32, hidden_neuron_list=[2], verbose=0)
    some = np.random.default_rng(0).normal(size=(64, network.n_features)).astype(np.float32)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        detector.fit(some)
    module = ScoreModule(network)
    detector.model = nn.Sequential(module.encoder, module.decoder).eval()
    detector.X_mean, detector.X_std = network.mean, 1 / network.inverse_scale
    return detector
