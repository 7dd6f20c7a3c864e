"""Fragmentation and the distribution of momentum in the jet, straight from its constituents.

z log z          Coleman et al., arXiv:1709.08705
pT dispersion, minor axis   Pandolfi and Del Re, arXiv:1211.7038
jet charge       Krohn, Schwartz, Lin, Waalewijn, arXiv:1209.2421
angularities     Larkoski, Thaler, Waalewijn, arXiv:1408.3122 (LHA: Gras et al., arXiv:1704.03878)
planar flow      Almeida et al., arXiv:0807.0234
pull             Gallicchio and Schwartz, arXiv:1001.5027
"""

from __future__ import annotations

import numpy as np

from vaelocity.data.jets.features import R0
from vaelocity.data.jets.particles import Array, Particles, delta_phi, mass, ratio


def kinematics(jet: Particles) -> dict[str, float]:
    """Momentum, mass and composition of the jet."""
    px, py, pz, _ = jet.total
    pt = float(np.hypot(px, py))
    charged = jet.charge != 0
    return {
        "pt": pt,
        "eta": float(np.arcsinh(pz / pt)),
        "mass": mass(jet.total),
        "multiplicity": float(len(jet)),
        "charged_multiplicity": float(charged.sum()),
        "charged_fraction": float(jet.z[charged].sum()),
        "charge_k05": float((jet.charge * np.sqrt(jet.z)).sum()),
    }


def fragmentation(jet: Particles) -> dict[str, float]:
    """How the momentum is shared among the constituents, whatever their directions."""
    z = np.sort(jet.z)[::-1]
    # The first of the cumulated shares to reach 90 %; a slack of rounding size, so that ten
    # equal particles need nine on every machine.
    n90 = int(np.searchsorted(np.cumsum(z), 0.9 - 1e-12)) + 1
    return {
        "zlogz": float((z * np.log(z)).sum()),
        "ptd": float(np.sqrt((z * z).sum())),
        "z_max": float(z[0]),
        "n90": float(n90),
    }


def shapes(jet: Particles, wta_axis: Array) -> dict[str, float]:
    """How the momentum is spread around the jet axis and around the winner-take-all axis."""
    around, around_wta = jet.distances(jet.axis), jet.distances(wta_axis)
    offsets = jet.offsets(jet.axis)  # [n, 2]
    flow = (offsets * jet.z[:, None]).T @ offsets  # [2, 2]
    pull = (jet.z * around) @ offsets
    shift = (wta_axis[0] - jet.axis[0], delta_phi(wta_axis[1], jet.axis[1]))
    return {
        "lha": float((jet.z * np.sqrt(around_wta / R0)).sum()),
        "girth": float((jet.z * around).sum() / R0),
        "core_fraction": float(jet.z[around < 0.1].sum()),
        "planar_flow": _planar_flow(flow),
        "axis_minor": _minor_axis(jet),
        "pull": float(np.hypot(*pull)),
        "axis_offset": float(np.hypot(*shift)),
    }


def _planar_flow(flow: Array) -> float:
    """4 det / tr^2 of a symmetric 2 x 2 tensor: 0 for a line, 1 for a circle; 0 for a point."""
    determinant = flow[0, 0] * flow[1, 1] - flow[0, 1] ** 2
    return ratio(4.0 * max(float(determinant), 0.0), float(np.trace(flow)) ** 2)


def _minor_axis(jet: Particles) -> float:
    """Smaller width of the pT^2-weighted ellipse in (y, phi), about its own centre."""
    weight = jet.pt**2 / (jet.pt**2).sum()
    offsets = jet.offsets(jet.axis)
    offsets = offsets - weight @ offsets
    ellipse = (offsets * weight[:, None]).T @ offsets  # [2, 2]
    smaller = np.linalg.eigvalsh(ellipse)[0]
    return float(np.sqrt(max(float(smaller), 0.0)))
