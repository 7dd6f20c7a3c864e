"""`Particles`: the constituents of one jet, and the angles between them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Particles:
    """The constituents of one jet.

    momenta  float64 [n, 4]: px, py, pz, energy in GeV
    charge   float64 [n], in units of the positron's

    Raises ValueError for no particle, a shape that does not fit, a NaN or an infinity, a particle
    along the beam (its rapidity is infinite), and an energy below its momentum.
    """

    momenta: Array
    charge: Array

    def __post_init__(self) -> None:
        momenta = np.ascontiguousarray(self.momenta, dtype=np.float64)
        charge = np.ascontiguousarray(self.charge, dtype=np.float64)
        if momenta.ndim != 2 or momenta.shape[1] != 4 or len(momenta) == 0:
            raise ValueError(f"momenta: expected [n, 4] with n >= 1, got {momenta.shape}")
        if charge.shape != (len(momenta),):
            raise ValueError(f"charge: expected [{len(momenta)}], got {charge.shape}")
        if not (np.isfinite(momenta).all() and np.isfinite(charge).all()):
            raise ValueError("particles: expected finite numbers, got a NaN or an infinity")
        if (np.hypot(momenta[:, 0], momenta[:, 1]) == 0).any():
            raise ValueError("momenta: a particle has no transverse momentum")
        # A massless particle misses E = |p| by rounding; more than that is a wrong column order.
        momentum = np.linalg.norm(momenta[:, :3], axis=1)
        if (momenta[:, 3] < momentum * (1 - 1e-6)).any():
            raise ValueError("momenta: a particle has less energy than momentum (px, py, pz, E)")
        object.__setattr__(self, "momenta", momenta)
        object.__setattr__(self, "charge", charge)

    @classmethod
    def from_pt_y_phi(
        cls,
        pt: npt.ArrayLike,
        y: npt.ArrayLike,
        phi: npt.ArrayLike,
        mass: npt.ArrayLike = 0.0,
        charge: npt.ArrayLike = 0.0,
    ) -> Self:
        """Particles of transverse momentum pt (GeV), rapidity y, azimuth phi, mass (GeV); [n]."""
        pt, y, phi, mass, charge = np.broadcast_arrays(
            *(np.asarray(values, dtype=np.float64) for values in (pt, y, phi, mass, charge))
        )
        transverse_mass = np.hypot(pt, mass)
        momenta = (
            pt * np.cos(phi),
            pt * np.sin(phi),
            transverse_mass * np.sinh(y),
            transverse_mass * np.cosh(y),
        )
        return cls(np.stack(momenta, axis=1), np.array(charge))

    def __len__(self) -> int:
        return len(self.momenta)

    def take(self, index: npt.NDArray[np.intp]) -> Particles:
        """The particles at these positions."""
        return Particles(self.momenta[index], self.charge[index])

    @cached_property
    def pt(self) -> Array:
        """Transverse momentum [n], GeV."""
        return np.hypot(self.momenta[:, 0], self.momenta[:, 1])

    @cached_property
    def y(self) -> Array:
        """Rapidity [n]."""
        return rapidity(self.momenta)

    @cached_property
    def phi(self) -> Array:
        """Azimuth [n], -pi..pi."""
        return np.arctan2(self.momenta[:, 1], self.momenta[:, 0])

    @cached_property
    def z(self) -> Array:
        """Share of the scalar pT sum [n]; sums to 1."""
        share: Array = self.pt / self.pt.sum()
        return share

    @cached_property
    def total(self) -> Array:
        """Four-momentum of the jet [4], the sum over the constituents (E scheme)."""
        total: Array = self.momenta.sum(axis=0)
        return total

    @cached_property
    def axis(self) -> Array:
        """(y, phi) of the jet."""
        return direction(self.total)

    @cached_property
    def angles(self) -> Array:
        """Distances dR [n, n] in (y, phi) between all pairs."""
        return np.hypot(
            self.y[:, None] - self.y[None, :], delta_phi(self.phi[:, None], self.phi[None, :])
        )

    def offsets(self, axis: Array) -> Array:
        """(y, phi) of each particle relative to an axis (y, phi): [n, 2]."""
        return np.stack((self.y - axis[0], delta_phi(self.phi, axis[1])), axis=1)

    def distances(self, axis: Array) -> Array:
        """dR [n] between each particle and an axis (y, phi)."""
        offsets = self.offsets(axis)
        return np.hypot(offsets[:, 0], offsets[:, 1])


def delta_phi(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """a - b brought to -pi..pi."""
    turned: Array = (np.asarray(a) - np.asarray(b) + np.pi) % (2 * np.pi) - np.pi
    return turned


def rapidity(momenta: Array) -> Array:
    """Rapidity of four-momenta [..., 4], in the form that does not cancel for small angles."""
    px, py, pz, energy = np.moveaxis(momenta, -1, 0)
    pt2 = px * px + py * py
    mass2 = np.maximum((energy + pz) * (energy - pz) - pt2, 0.0)
    size: Array = np.log((energy + np.abs(pz)) / np.sqrt(pt2 + mass2))
    signed: Array = np.copysign(np.maximum(size, 0.0), pz)
    return signed


def direction(momentum: Array) -> Array:
    """(y, phi) [2] of one four-momentum [4]."""
    return np.array([rapidity(momentum), np.arctan2(momentum[1], momentum[0])])


def mass(momentum: Array) -> float:
    """Invariant mass of one four-momentum [4], GeV; a square below 0 by rounding counts as 0."""
    px, py, pz, energy = momentum
    return float(np.sqrt(max((energy + pz) * (energy - pz) - px * px - py * py, 0.0)))


def ratio(numerator: float, denominator: float) -> float:
    """numerator / denominator, and 0 where the denominator is 0."""
    return numerator / denominator if denominator > 0 else 0.0
