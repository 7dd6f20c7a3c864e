"""All 59 observables of one jet."""

from __future__ import annotations

import numpy as np

from vaelocity.data.jets.clustering import Clustered, passes, prune, soft_drop, trim
from vaelocity.data.jets.correlators import correlators
from vaelocity.data.jets.features import FEATURES
from vaelocity.data.jets.particles import Array, Particles, mass
from vaelocity.data.jets.shapes import fragmentation, kinematics, shapes
from vaelocity.data.jets.subjets import axes, groomed_n_subjettiness, n_subjettiness, subjets


def observables(jet: Particles) -> Array:
    """The values of `FEATURES` for one jet: float64 [59], all finite for any number of particles.

    Needs FastJet (ImportError says how to install it). ValueError where the particles have no
    transverse momentum together. Nothing depends on the order of the
    particles or, but for eta, on a rotation about the beam or a boost along it.
    """
    if np.hypot(*jet.total[:2]) == 0:
        raise ValueError("jet: the transverse momenta of the particles cancel; this is no jet")
    clustered = Clustered(jet)
    wta, kt = clustered.sequence("kt", scheme="WTA_pt"), clustered.sequence("kt")
    grooming, groomed = _grooming(clustered)
    values = {
        **kinematics(jet),
        **grooming,
        **fragmentation(jet),
        **shapes(jet, axes(wta, jet, 1)[0]),
        **n_subjettiness(clustered, wta, kt),
        **groomed_n_subjettiness(Clustered(groomed)),
        **correlators(jet, groomed),
        **subjets(clustered, kt),
    }
    return np.array([values[feature.name] for feature in FEATURES])


def _grooming(jet: Clustered) -> tuple[dict[str, float], Particles]:
    """The groomed observables, and the constituents that mMDT leaves."""
    particles = jet.particles
    cambridge = jet.sequence("cambridge")
    splittings, last = jet.splittings(cambridge)
    kept, zg, rg = soft_drop(splittings, last, zcut=0.1, beta=0.0)
    groomed = particles.take(kept)
    masses = {}
    for name, beta in (("mass_sd_b1", 1.0), ("mass_sd_b2", 2.0)):
        left = soft_drop(splittings, last, zcut=0.1, beta=beta)[0]
        masses[name] = mass(particles.momenta[left].sum(axis=0))
    values = {
        "mass_mmdt": mass(groomed.total),
        **masses,
        "mass_trim": mass(trim(jet)),
        "mass_prune": mass(prune(cambridge)),
        "pt_fraction_mmdt": float(np.hypot(*groomed.total[:2]) / np.hypot(*particles.total[:2])),
        "multiplicity_mmdt": float(len(groomed)),
        "zg": zg,
        "rg": rg,
        "n_sd": float(sum(passes(splitting, zcut=0.007, beta=-1.0) for splitting in splittings)),
    }
    return values, groomed
