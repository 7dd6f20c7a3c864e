"""Jets of one class from Pythia 8: the processes, the selection, and the event loop.

Pythia 8.3: Bierlich et al., arXiv:2203.11601; Monash 2013 tune: Skands, Carrazza, Rojo,
arXiv:1404.5630; anti-kT: Cacciari, Salam, Soyez, arXiv:0802.1189. The kinematic region is that of
the LHC jet-tagging data set (Coleman et al., arXiv:1709.08705): 13 TeV, pT about 1 TeV, R = 0.8.

An event is proton-proton at 13 TeV with showers, multiple interactions and hadronisation. Its
visible stable particles (c tau above 10 mm, no neutrinos, |eta| < 5, no detector, no pile-up) are
clustered with anti-kT. The two outgoing partons of the hard process are tried in random order,
and the first whose nearest jet passes the selection gives the jet, so that a row of the sample is
an event of its own. Quarks and gluons are matched as they leave the hard process, W, Z and top
just before they decay. Decay products need not be inside the jet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity.data.jets.clustering import MISSING, Clustered, members
from vaelocity.data.jets.features import FEATURES, R0
from vaelocity.data.jets.observables import observables
from vaelocity.data.jets.particles import Array, Particles, delta_phi, direction

COMMON = (
    "Beams:idA = 2212",
    "Beams:idB = 2212",
    "Beams:eCM = 13000.",
    "Tune:pp = 14",  # Monash 2013
    # Wider than the window of the jet pT, which is then alike in all classes.
    "PhaseSpace:pTHatMin = 900.",
    "PhaseSpace:pTHatMax = 1200.",
    "ParticleDecays:limitTau0 = on",
    "ParticleDecays:tau0Max = 10.",
    "Print:quiet = on",
    "Random:setSeed = on",
)

PROCESSES: dict[str, tuple[str, ...]] = {
    "quark": ("HardQCD:qq2qq = on",),
    "gluon": ("HardQCD:gg2gg = on",),
    "W": ("WeakDoubleBoson:ffbar2WW = on", "24:onMode = off", "24:onIfAny = 1 2 3 4 5"),
    "Z": (
        "WeakDoubleBoson:ffbar2gmZgmZ = on",
        "WeakZ0:gmZmode = 2",  # no photon
        "23:onMode = off",
        "23:onIfAny = 1 2 3 4 5",
    ),
    "top": (
        "Top:gg2ttbar = on",
        "Top:qqbar2ttbar = on",
        "24:onMode = off",
        "24:onIfAny = 1 2 3 4 5",
    ),
}


@dataclass(frozen=True)
class Selection:
    """What makes a jet of the sample: anti-kT with radius R0, GeV, and dR to the parton."""

    particle_abs_eta_max: float = 5.0
    pt_min: float = 950.0
    pt_max: float = 1050.0
    abs_eta_max: float = 2.0
    match_dr_max: float = 0.4


SELECTION = Selection()

_PYTHIA_SEEDS = 900_000_000  # Pythia takes seeds 1 .. 900,000,000
_FEWEST_PER_EVENT = 1e-3  # below this the settings are wrong; a fair run is above 0.1


def pythia(class_name: str, seed: int) -> Any:
    """A started Pythia for one class; RuntimeError where it refuses its settings."""
    try:
        import pythia8mc
    except ImportError as error:
        raise ImportError(MISSING) from error
    generator = pythia8mc.Pythia("", False)
    for line in (*COMMON, *PROCESSES[class_name], f"Random:seed = {seed}"):
        if not generator.readString(line):
            raise RuntimeError(f"Pythia refuses the setting {line!r}")
    if not generator.init():
        raise RuntimeError(f"Pythia did not start for {class_name} jets")
    return generator


def simulate(
    class_name: str, n_jets: int, seed: int, part: int = 0
) -> tuple[npt.NDArray[np.float32], int]:
    """Observables of `n_jets` jets, float32 [n_jets, 59], and the number of events it took.

    `seed` is the run's; class and part have random numbers of their own, so the result does not
    depend on what else is simulated. ImportError where Pythia or FastJet is missing.
    """
    if class_name not in PROCESSES:
        raise ValueError(f"class_name: expected one of {list(PROCESSES)}, got {class_name!r}")
    key = (list(PROCESSES).index(class_name), part)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
    generator = pythia(class_name, seed=int(rng.integers(1, _PYTHIA_SEEDS + 1)))
    rows = np.empty((n_jets, len(FEATURES)), np.float32)
    found = events = 0
    while found < n_jets:
        events += 1
        if events > 1000 and found < events * _FEWEST_PER_EVENT:
            raise RuntimeError(f"{found} {class_name} jets in {events} events pass the selection")
        if generator.next():
            jet = select(generator.event, rng)
            if jet is not None:
                rows[found] = observables(jet)
                found += 1
    return rows, events


def select(event: Any, rng: np.random.Generator) -> Particles | None:
    """The constituents of one jet of the event that passes the selection, or None."""
    particles = visible(event)
    clustered = Clustered(particles)
    sequence = clustered.sequence("antikt", R0)
    jets = [particles.take(members(jet)) for jet in sequence.inclusive_jets(SELECTION.pt_min)]
    for parton in rng.permutation([5, 6]):  # where Pythia puts the outgoing two of a 2 -> 2 process
        axis = _direction_of(event, int(parton))
        distances = [_distance(jet, axis) for jet in jets]
        if distances and min(distances) < SELECTION.match_dr_max:
            nearest = jets[int(np.argmin(distances))]
            if in_window(nearest):
                return nearest
    return None


def visible(event: Any) -> Particles:
    """The stable particles of the event that a perfect detector sees."""
    found = [
        (p.px(), p.py(), p.pz(), p.e(), p.charge())
        for p in event
        if p.isFinal() and p.isVisible() and abs(p.eta()) < SELECTION.particle_abs_eta_max
    ]
    values = np.array(found)
    return Particles(values[:, :4], values[:, 4])


def _distance(jet: Particles, axis: Array) -> float:
    """dR between the jet's axis and another (y, phi)."""
    return float(np.hypot(jet.axis[0] - axis[0], delta_phi(jet.axis[1], axis[1])))


def in_window(jet: Particles) -> bool:
    """Whether the jet's pT and pseudorapidity are those of the sample."""
    pt = np.hypot(*jet.total[:2])
    eta = np.arcsinh(jet.total[2] / pt)
    in_pt = SELECTION.pt_min < pt < SELECTION.pt_max
    return bool(in_pt and abs(eta) < SELECTION.abs_eta_max)


def _direction_of(event: Any, index: int) -> Array:
    """(y, phi) of an outgoing parton; W, Z and top just before the decay, after recoils."""
    particle = event[index]
    if particle.isResonance():
        particle = event[particle.iBotCopyId()]
    return direction(np.array([particle.px(), particle.py(), particle.pz(), particle.e()]))
