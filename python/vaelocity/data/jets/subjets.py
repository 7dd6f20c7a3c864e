"""N-subjettiness, kT scales and subjets.

N-subjettiness    Thaler and Van Tilburg, arXiv:1011.2268; axes arXiv:1401.2158
kT scales         Butterworth, Cox, Forshaw, hep-ph/0201098
smallest mass     Kaplan, Rehermann, Schwartz, Tweedie, arXiv:0806.0848 (W inside a top jet)

    tau_N = sum z min over the N axes of (dR / R0)^beta

The axes are those of the exclusive kT algorithm, winner-take-all for beta 1 and E scheme for
beta 2, without a minimisation step. tau_N is 0 for N particles or fewer.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from vaelocity.data.jets.clustering import LARGEST_R, Clustered, momentum
from vaelocity.data.jets.features import R0
from vaelocity.data.jets.particles import Array, Particles, direction, mass, ratio


def axes(sequence: Any, particles: Particles, n: int) -> Array:
    """(y, phi) of n exclusive subjets, or of the particles where there are no more than n."""
    if n >= len(particles):
        return np.stack((particles.y, particles.phi), axis=1)
    return np.array([direction(momentum(subjet)) for subjet in sequence.exclusive_jets(n)])


def tau(particles: Particles, axes: Array, beta: float) -> float:
    """N-subjettiness for axes [N, 2] of (y, phi)."""
    nearest = np.min([particles.distances(axis) for axis in axes], axis=0)
    return float((particles.z * (nearest / R0) ** beta).sum())


def n_subjettiness(jet: Clustered, wta: Any, kt: Any) -> dict[str, float]:
    """tau_N and ratios of the jet; `wta` and `kt` are its kT sequences in the two schemes."""
    particles = jet.particles
    tau_b1 = [tau(particles, axes(wta, particles, n), 1.0) for n in (1, 2, 3, 4)]
    tau_b2 = [tau(particles, axes(kt, particles, n), 2.0) for n in (1, 2, 3)]
    out = {f"tau{n}_b1": value for n, value in enumerate(tau_b1, start=1)}
    for n in (2, 3, 4):
        out[f"tau{n}{n - 1}_b1"] = ratio(tau_b1[n - 1], tau_b1[n - 2])
    for n in (2, 3):
        out[f"tau{n}{n - 1}_b2"] = ratio(tau_b2[n - 1], tau_b2[n - 2])
    return out


def groomed_n_subjettiness(groomed: Clustered) -> dict[str, float]:
    """tau21 and tau32, beta 1, of the groomed jet."""
    particles, sequence = groomed.particles, groomed.sequence("kt", scheme="WTA_pt")
    one, two, three = (tau(particles, axes(sequence, particles, n), 1.0) for n in (1, 2, 3))
    return {"tau21_b1_mmdt": ratio(two, one), "tau32_b1_mmdt": ratio(three, two)}


def subjets(jet: Clustered, kt: Any) -> dict[str, float]:
    """Momentum shares of small subjets, the last two kT scales, and the smallest pair mass."""
    pt = float(np.hypot(*jet.particles.total[:2]))
    small = jet.sequence("antikt", radius=0.2)
    shares = sorted((subjet.pt() / pt for subjet in small.inclusive_jets()), reverse=True)
    shares += [0.0, 0.0, 0.0]
    # dmerge is min(pT)^2 dR^2 / R^2 with the radius of the sequence.
    scales = [LARGEST_R * float(np.sqrt(kt.exclusive_dmerge(n))) for n in (1, 2)]
    return {
        **{f"z_sub{n + 1}": float(shares[n]) for n in range(3)},
        "sqrt_d12": scales[0],
        "sqrt_d23": scales[1],
        "m_min": _smallest_pair_mass(kt, len(jet.particles)),
    }


def _smallest_pair_mass(kt: Any, n_particles: int) -> float:
    """Smallest mass, GeV, of two among three exclusive kT subjets; 0 below three particles."""
    if n_particles < 3:
        return 0.0
    three = [momentum(subjet) for subjet in kt.exclusive_jets(3)]
    return min(mass(a + b) for a, b in combinations(three, 2))
