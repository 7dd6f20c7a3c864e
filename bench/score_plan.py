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


def batches(all_networks: list[Network], quick: bool) -> Iterator[tuple[Network, int]]:
    """Every network with the sizes of its batches."""
    sizes = {JETS: (1, 256, 4096, 65536, LONG), MNIST: (1, 4096)}
    for network in all_networks:
        images_too = network.name in IMAGES
        usual = (1, 4096) if images_too or quick else (1, 4096, 65536)
        for n in usual if quick else sizes.get(network.name, usual):
            yield network, n


def rows(network: Network, n: int) -> Rows:
    """Rows [n, d]: jets where the network was trained on them, else normal numbers."""
    if network.n_features in (57, 59):
        return jet_rows(n, network.n_features)
    return made_rows(network, n)
