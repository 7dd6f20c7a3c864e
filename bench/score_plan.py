"""The networks, batches and rows of bench_score.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from vaelocity.benchmark.cases import LONG
from vaelocity.benchmark.networks import build, images, jet_rows, made_rows
from vaelocity.frozen import Network, Rows

JETS = "59-64-32-16-32-64-59"
L1 = "57-32-16-3-16-32-57"
ENCODER = "57-32-16-8 mu2"
STUDENT = "252-15-1 mu2"
TELEMETRY = "25-64-16-64-25"
MNIST = "784-512-256-32-256-512-784"
IMAGES = ("mnist-conv", "cicada-conv")
NAMES = (JETS, L1, ENCODER, STUDENT, TELEMETRY, MNIST, *IMAGES)
TRIGGERS = (JETS, L1, ENCODER)
"""Networks whose every call is timed as well."""


def networks(folder: Path, quick: bool, names: Sequence[str] = NAMES) -> list[Network]:
    """Those of `names`, in the order of NAMES; only the jets' one if quick. Saved in `folder`."""
    dense = {
        JETS: partial(build, 59, (64, 32), 16),
        L1: partial(build, 57, (32, 16), 3),
        ENCODER: partial(build, 57, (32, 16), 8, kind="mu2"),
        STUDENT: partial(build, 252, (15,), 1, kind="mu2"),
        TELEMETRY: partial(build, 25, (64,), 16),
        MNIST: partial(build, 784, (512, 256), 32),
    }
    made = {**dense, **{name: partial(images, name) for name in IMAGES}}
    wanted = (JETS,) if quick else [name for name in NAMES if name in names]
    return [made[name](folder=folder) for name in wanted]


def batches(all_networks: list[Network], quick: bool) -> Iterator[tuple[Network, int, bool]]:
    """Every network with the sizes of its batches, and whether the peers take part.

    They do at one row and at 4,096, and at every size of the jets' network but the largest. What a
    batch beyond the caches loses is a case of its own (`cases.far`).
    """
    with_peers = {JETS: (1, 256, 4096, 65536)}
    for network in all_networks:
        for n in (1, 4096) if quick else with_peers.get(network.name, (1, 4096)):
            yield network, n, True
        if network.name == JETS and not quick:
            yield network, LONG, False


def rows(network: Network, n: int) -> Rows:
    """Rows [n, d]: jets where the network was trained on them, else normal numbers."""
    if network.n_features in (57, 59):
        return jet_rows(n, network.n_features)
    return made_rows(network, n)
