"""Simulated jets: 59 observables of quark jets, and of gluon, W, Z and top jets as anomalies.

    table = vaelocity.data.jets.load()      # 24,000 jets: 14,000 quark, 2,500 of each other class
    quarks = table.of_class("quark")        # what a model trains on
    vaelocity.data.jets.FEATURES[7]         # Feature("mass_mmdt", "GeV", "mass after soft...")

**The events.** Proton-proton at 13 TeV from Pythia 8 (Monash 2013 tune, showers, multiple
interactions, hadronisation), one class a process: qq -> qq, gg -> gg, WW, ZZ and ttbar, the
bosons decaying to quarks. **The jets.** Anti-kT, R = 0.8, from all visible stable particles, with
950 < pT < 1050 GeV and |eta| < 2, within 0.4 of the outgoing parton that names the class; one jet
an event, so rows are independent. No detector, no pile-up. The hard process spans a wider range
of pT than the window, so that pT is alike in all classes. `generator` has the settings.

**The observables** carry no truth: each is computed from the momenta and charges of the jet's
constituents, and the class is in the labels only.

    family                 columns  where             reference
    kinematics, charge           7  shapes            arXiv:1209.2421 (jet charge)
    groomed masses, zg, rg       8  observables       arXiv:1402.2657, 1307.0007 (soft drop, mMDT)
    trimming, pruning            2  clustering        arXiv:0912.1342, 0912.0033
    fragmentation                4  shapes            arXiv:1709.08705, 1211.7038
    angularities, shapes         7  shapes            arXiv:1408.3122, 0807.0234, 1001.5027
    N-subjettiness              11  subjets           arXiv:1011.2268, 1401.2158
    C, D, N and M ratios        14  correlators       arXiv:1305.0007, 1409.6298, 1609.07483
    subjets, kT scales           6  subjets           hep-ph/0201098, arXiv:0806.0848

A quantity that a jet of few particles does not have is 0 (tau_N for N particles, the ratio of two
such, a splitting that is not there), so every value is finite. Ratios such as D2 have heavy tails.

Most quark jets have one prong and a small groomed mass. W and Z jets have two prongs and a narrow
peak in the groomed mass, well inside the range of quark jets, and are hard to find without labels.
Top jets (three prongs) and gluon jets (more particles) lie further out. AUC against quark jets:

                                              gluon     W      Z     top
    squared norm of the standardised row       0.63   0.51   0.52   0.87
    PCA, 16 components, reconstruction         0.63   0.64   0.64   0.91

`load` needs NumPy only. The sample was made by `python -m vaelocity.data.jets.simulate`, which
anyone can run again; `provenance()` has the versions, the seed and the hashes. To compute the
observables of other jets: `observables.observables(particles.Particles(momenta, charge))`.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from vaelocity.data.jets.features import FEATURES, Feature
from vaelocity.data.jets.sample import CLASS_NAMES, read_sample
from vaelocity.data.table import Table

__all__ = ["CLASS_NAMES", "FEATURES", "Feature", "load", "provenance"]


def load() -> Table:
    """The shipped sample: float32 rows [24000, 59] in random order, labels into `CLASS_NAMES`."""
    return _read()[0]


def provenance() -> dict[str, Any]:
    """What made the shipped sample: command, versions, settings, seed, events, SHA-256 of rows."""
    return _read()[1]


def _read() -> tuple[Table, dict[str, Any]]:
    with files(__name__).joinpath("sample.npz").open("rb") as file:
        return read_sample(file)
