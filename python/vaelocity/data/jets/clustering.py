"""Sequential recombination of a jet's constituents with FastJet: axes, subjets, grooming.

soft drop                 Larkoski, Marzani, Soyez, Thaler, arXiv:1402.2657; beta 0 is the modified
                          mass drop of Dasgupta, Fregoso, Marzani, Salam, arXiv:1307.0007
soft drop multiplicity    Frye, Larkoski, Thaler, Zhou, arXiv:1704.06266
trimming                  Krohn, Thaler, Wang, arXiv:0912.1342
pruning                   Ellis, Vermilion, Walsh, arXiv:0912.0033
winner-take-all axes      Larkoski, Neill, Thaler, arXiv:1401.2158
FastJet                   Cacciari, Salam, Soyez, arXiv:1111.6097
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from vaelocity.data.jets.features import R0
from vaelocity.data.jets.particles import Array, Particles

LARGEST_R = 1000.0  # FastJet's largest radius: one jet holds all constituents
MISSING = (
    "jet observables need FastJet, and the simulation Pythia 8 as well: "
    'pip install --only-binary :all: "vaelocity[jets]"  (or: pythia8mc fastjet)'
)


class Splitting(NamedTuple):
    """One declustering along the harder branch: z of the softer prong, angle, and the parent."""

    z: float
    angle: float
    parent: Any


@cache
def fastjet() -> Any:
    """The FastJet module, without its banner; ImportError that says what to install."""
    try:
        import fastjet as module
    except ImportError as error:
        raise ImportError(MISSING) from error
    module._swig.ClusterSequence.set_fastjet_banner_stream(None)
    return module


def pseudojets(particles: Particles) -> list[Any]:
    """FastJet's particles; user_index is the position in `particles`."""
    made = [fastjet().PseudoJet(*momentum) for momentum in particles.momenta.tolist()]
    for index, pseudojet in enumerate(made):
        pseudojet.set_user_index(index)
    return made


def members(pseudojet: Any) -> Any:
    """Positions [m] of the constituents of a clustered jet, ascending."""
    return np.sort([part.user_index() for part in pseudojet.constituents()]).astype(np.intp)


def momentum(pseudojet: Any) -> Array:
    """Four-momentum [4]: px, py, pz, energy."""
    return np.array([pseudojet.px(), pseudojet.py(), pseudojet.pz(), pseudojet.e()])


@dataclass
class Clustered:
    """The constituents of one jet, as the algorithms of this module need them."""

    particles: Particles

    def __post_init__(self) -> None:
        self.pseudojets = pseudojets(self.particles)

    def sequence(self, algorithm: str, radius: float = LARGEST_R, scheme: str = "E") -> Any:
        """FastJet's ClusterSequence; algorithm kt, cambridge or antikt, scheme E or WTA_pt.

        The sequence must outlive the jets taken from it.
        """
        fj = fastjet()
        algorithm_code = getattr(fj, f"{algorithm}_algorithm")
        definition = fj.JetDefinition(algorithm_code, radius, getattr(fj, f"{scheme}_scheme"))
        return fj.ClusterSequence(self.pseudojets, definition)

    def splittings(self, cambridge: Any) -> tuple[list[Splitting], Any]:
        """The declusterings along the harder branch, widest first, and the last particle."""
        fj = fastjet()
        (node,) = cambridge.inclusive_jets()
        found = []
        harder, softer = fj.PseudoJet(), fj.PseudoJet()
        while node.has_parents(harder, softer):
            if harder.pt() < softer.pt():
                harder, softer = softer, harder
            z = softer.pt() / (harder.pt() + softer.pt())
            found.append(Splitting(z, harder.delta_R(softer), node))
            node = harder
            harder, softer = fj.PseudoJet(), fj.PseudoJet()
        return found, node


def passes(splitting: Splitting, zcut: float, beta: float) -> bool:
    """The soft drop condition z > zcut (angle / R0)^beta."""
    if splitting.angle == 0:
        return beta > 0 or (beta == 0 and splitting.z > zcut)
    return bool(splitting.z > zcut * (splitting.angle / R0) ** beta)


def soft_drop(
    splittings: list[Splitting], last: Any, zcut: float, beta: float
) -> tuple[Any, float, float]:
    """Positions of the surviving constituents, zg and rg.

    Where no splitting passes, the last particle of the harder branch survives and zg = rg = 0.
    """
    for splitting in splittings:
        if passes(splitting, zcut, beta):
            return members(splitting.parent), splitting.z, splitting.angle
    return members(last), 0.0, 0.0


def trim(jet: Clustered, radius: float = 0.2, fraction: float = 0.05) -> Array:
    """Four-momentum [4] of the kT subjets that carry at least `fraction` of the jet's pT."""
    least = fraction * float(np.hypot(*jet.particles.total[:2]))
    sequence = jet.sequence("kt", radius)
    kept = [momentum(subjet) for subjet in sequence.inclusive_jets(least)]
    return np.sum(kept, axis=0) if kept else np.zeros(4)


def prune(cambridge: Any, zcut: float = 0.1) -> Array:
    """Four-momentum [4] after pruning with the angle m / pT of the jet."""
    fj = fastjet()
    pruner = fj.Pruner(fj.cambridge_algorithm, zcut, 0.5)  # angle = factor * 2 m / pT
    (whole,) = cambridge.inclusive_jets()
    return momentum(pruner(whole))
