"""The networks that are timed on a GPU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vaelocity.benchmark.networks import build, jet_rows
from vaelocity.bundle import read_bundle
from vaelocity.cuda.plan import Network as CudaNetwork
from vaelocity.cuda.plan import network as cuda_network
from vaelocity.frozen import Network, read

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True)
class GpuNetwork:
    """A relu autoencoder, features-hidden-latent mirrored, with a point latent.

    trained: on the shipped jets; else its weights are random (a speed does not depend on them).
    rows: of the throughput cases. rows_to_tune: enough to fill a GPU.
    """

    features: int
    hidden: tuple[int, ...]
    latent: int
    trained: bool
    rows: int
    rows_to_tune: int

    @property
    def name(self) -> str:
        """59-64-32-16-32-64-59."""
        widths = [self.features, *self.hidden, self.latent]
        return "-".join(map(str, widths + widths[-2::-1]))

    def path(self, folder: Path) -> Path:
        """Its .vael file in `folder`, made if it is not there."""
        path = folder / f"{self.name}.vael"
        if path.exists():
            return path
        if self.trained:
            return build(self.features, self.hidden, self.latent, folder).path
        from vaelocity import models

        model = models.Autoencoder(self.features, latent=self.latent, hidden=self.hidden)
        rows = np.random.default_rng(0).normal(size=(2048, self.features)).astype(np.float32)
        model.fit(rows, epochs=1, seed=0, progress=False)
        model.save(path)
        return path

    def loaded(self, folder: Path) -> Network:
        """For the peers and the reference."""
        return read(self.name, self.path(folder))

    def network(self, folder: Path) -> CudaNetwork:
        """For the configuration's rule."""
        return cuda_network(*read_bundle(self.path(folder)))

    def reference(self, folder: Path, rows: Rows) -> npt.NDArray[np.float64]:
        """float64 scores."""
        return self.loaded(folder).reference(rows)


JETS = GpuNetwork(59, (64, 32), 16, True, 16_000_000, 4_000_000)
ALICE = GpuNetwork(243, (128,), 128, False, 4_000_000, 1_000_000)
MNIST = GpuNetwork(784, (512, 256), 32, False, 262_144, 131_072)
NETWORKS = [ALICE, MNIST]


def rows_for(network: GpuNetwork, n: int) -> Rows:
    """float32 [n, features]: shipped jets, or normal numbers; repeated where n asks for it."""
    if network.trained:
        return jet_rows(n, network.features)
    some = np.random.default_rng(1).normal(size=(min(n, 8192), network.features))
    return np.resize(some.astype(np.float32), (n, network.features))
