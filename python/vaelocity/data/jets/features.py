"""The 59 observables: name, unit and meaning, in the order of the columns."""

from __future__ import annotations

from typing import NamedTuple

R0 = 0.8
"""Jet radius; the angle in which the angularities and N-subjettiness are measured."""


class Feature(NamedTuple):
    """One column: its name, its unit ("1" for a pure number) and what it measures."""

    name: str
    unit: str
    description: str


_KINEMATICS = (
    Feature("pt", "GeV", "transverse momentum of the jet"),
    Feature("eta", "1", "pseudorapidity of the jet"),
    Feature("mass", "GeV", "invariant mass of all constituents"),
    Feature("multiplicity", "1", "number of constituents"),
    Feature("charged_multiplicity", "1", "number of charged constituents"),
    Feature("charged_fraction", "1", "share of the scalar pT sum that is charged"),
    Feature("charge_k05", "1", "jet charge: sum of q z^0.5"),
)

_GROOMED = (
    Feature("mass_mmdt", "GeV", "mass after soft drop, zcut 0.1, beta 0 (modified mass drop)"),
    Feature("mass_sd_b1", "GeV", "mass after soft drop, zcut 0.1, beta 1"),
    Feature("mass_sd_b2", "GeV", "mass after soft drop, zcut 0.1, beta 2"),
    Feature("mass_trim", "GeV", "mass after trimming, kT subjets of R 0.2 above 5 % of the jet pT"),
    Feature("mass_prune", "GeV", "mass after pruning, zcut 0.1, angle m/pT"),
    Feature("pt_fraction_mmdt", "1", "pT after mMDT over pT before"),
    Feature("multiplicity_mmdt", "1", "number of constituents after mMDT"),
    Feature("zg", "1", "momentum share of the softer prong that stops mMDT; 0 if none does"),
    Feature("rg", "1", "angle between the two prongs that stop mMDT; 0 if none does"),
    Feature("n_sd", "1", "soft drop multiplicity, zcut 0.007, beta -1, no angular cut"),
)

_FRAGMENTATION = (
    Feature("zlogz", "1", "sum of z log z, at most 0"),
    Feature("ptd", "1", "square root of the sum of z^2"),
    Feature("z_max", "1", "z of the hardest constituent"),
    Feature("n90", "1", "number of hardest constituents that carry 90 % of the scalar pT sum"),
)

_SHAPES = (
    Feature("lha", "1", "Les Houches angularity: sum of z (dR/R0)^0.5 about the WTA axis"),
    Feature("girth", "1", "width: sum of z dR/R0 about the jet axis"),
    Feature("core_fraction", "1", "share of the scalar pT sum within 0.1 of the jet axis"),
    Feature("planar_flow", "1", "4 det I / (tr I)^2 of the pT-weighted shape; 0 for a line"),
    Feature("axis_minor", "1", "minor axis of the pT^2-weighted ellipse in (y, phi)"),
    Feature("pull", "1", "length of the pull vector: sum of z dR (dy, dphi)"),
    Feature("axis_offset", "1", "angle between the WTA axis and the jet axis"),
)

_N_SUBJETTINESS = (
    Feature("tau1_b1", "1", "N-subjettiness, N = 1, beta 1, WTA kT axes"),
    Feature("tau2_b1", "1", "the same, N = 2"),
    Feature("tau3_b1", "1", "the same, N = 3"),
    Feature("tau4_b1", "1", "the same, N = 4"),
    Feature("tau21_b1", "1", "tau2 / tau1, beta 1"),
    Feature("tau32_b1", "1", "tau3 / tau2, beta 1"),
    Feature("tau43_b1", "1", "tau4 / tau3, beta 1"),
    Feature("tau21_b2", "1", "tau2 / tau1, beta 2, kT axes"),
    Feature("tau32_b2", "1", "tau3 / tau2, beta 2, kT axes"),
    Feature("tau21_b1_mmdt", "1", "tau2 / tau1, beta 1, after mMDT"),
    Feature("tau32_b1_mmdt", "1", "tau3 / tau2, beta 1, after mMDT"),
)

_CORRELATORS = (
    Feature("c1_b05", "1", "C1 = e2, beta 0.5"),
    Feature("c1_b1", "1", "C1 = e2, beta 1"),
    Feature("c1_b2", "1", "C1 = e2, beta 2"),
    Feature("c2_b1", "1", "C2 = e3 / e2^2, beta 1"),
    Feature("d2_b1", "1", "D2 = e3 / e2^3, beta 1"),
    Feature("d2_b2", "1", "D2 = e3 / e2^3, beta 2"),
    Feature("n2_b1", "1", "N2 = 2e3 / e2^2, beta 1"),
    Feature("n2_b2", "1", "N2 = 2e3 / e2^2, beta 2"),
    Feature("m2_b1", "1", "M2 = 1e3 / e2, beta 1"),
    Feature("c1_b1_mmdt", "1", "C1, beta 1, after mMDT"),
    Feature("c2_b1_mmdt", "1", "C2, beta 1, after mMDT"),
    Feature("d2_b1_mmdt", "1", "D2, beta 1, after mMDT"),
    Feature("n2_b1_mmdt", "1", "N2, beta 1, after mMDT"),
    Feature("c3_b1_mmdt", "1", "C3 = e4 e2 / e3^2, beta 1, after mMDT"),
)

_SUBJETS = (
    Feature("z_sub1", "1", "share of the jet pT in the hardest anti-kT subjet of R 0.2"),
    Feature("z_sub2", "1", "the same, second hardest; 0 if there is none"),
    Feature("z_sub3", "1", "the same, third hardest; 0 if there is none"),
    Feature("sqrt_d12", "GeV", "kT scale at which two subjets become one"),
    Feature("sqrt_d23", "GeV", "kT scale at which three subjets become two"),
    Feature("m_min", "GeV", "smallest mass of a pair among three exclusive kT subjets"),
)

FEATURES: tuple[Feature, ...] = (
    *_KINEMATICS,
    *_GROOMED,
    *_FRAGMENTATION,
    *_SHAPES,
    *_N_SUBJETTINESS,
    *_CORRELATORS,
    *_SUBJETS,
)
"""All columns, in order. z is a constituent's share of the scalar pT sum of the constituents."""
