"""The networks, batches and rows of bench_score.py."""

from __future__ import annotations

from collections.abc import Iterator
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
TRIGGERS = (JETS, L1, ENCODER)
"""Networks whose every call is timed as well."""


def networks(folder: Path, quick: bool) -> list[Network]:
    """The jets' network first; all others unless quick. Saved in `folder`."""
    jets = build(59, (64, 32), 16, folder)
    if quick:
        return [jets]
    return [
        jets,
        build(57, (32, 16), 3, folder),
        build(57, (32, 16), 8, folder, "mu2"),
        build(252, (15,), 1, folder, "mu2"),
        build(25, (64,), 16, folder),
        build(784, (512, 256), 32, folder),
        *(images(name, folder) for name in IMAGES),
    ]


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
