"""The observables of small hand-made jets against closed forms, definitions and symmetries."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest

from vaelocity.data import jets
from vaelocity.data.jets.correlators import correlators, e2, e3, e4, generalised_e3
from vaelocity.data.jets.observables import observables
from vaelocity.data.jets.particles import Particles, mass, ratio
from vaelocity.data.jets.shapes import fragmentation, kinematics, shapes
from vaelocity.data.jets.subjets import tau

NAMES = [feature.name for feature in jets.FEATURES]
GIRTH_UNIT = 0.8  # the jet radius, in which girth and tau are measured


def random_jet(n: int, seed: int = 0, y: float = 0.3) -> Particles:
    rng = np.random.default_rng(seed)
    return Particles.from_pt_y_phi(
        pt=1000 * rng.dirichlet(np.full(n, 0.5)) + 0.5,
        y=y + rng.normal(0, 0.15, n),
        phi=3.1 + rng.normal(0, 0.15, n),  # astride the cut at pi
        mass=0.13957,
        charge=rng.integers(-1, 2, n),
    )


def named(jet: Particles) -> dict[str, float]:
    pytest.importorskip("fastjet", reason="grooming and axes need FastJet (extra: jets)")
    return dict(zip(NAMES, observables(jet).tolist(), strict=True))


# ---------------------------------------------------------------- constituents


def test_particles_give_back_their_coordinates() -> None:
    jet = Particles.from_pt_y_phi([10.0, 20.0], [-1.5, 2.0], [3.0, -3.0], [0.0, 5.0], [1, 0])
    np.testing.assert_allclose(jet.pt, [10, 20], rtol=1e-12)
    np.testing.assert_allclose(jet.y, [-1.5, 2.0], rtol=1e-9)
    np.testing.assert_allclose(jet.phi, [3.0, -3.0], rtol=1e-12)
    np.testing.assert_allclose(mass(jet.momenta[1]), 5.0, rtol=1e-9)
    around_the_back = 2 * np.pi - 6.0
    np.testing.assert_allclose(jet.angles[0, 1], np.hypot(3.5, around_the_back), rtol=1e-9)


@pytest.mark.parametrize(
    ("momenta", "charge", "message"),
    [
        (np.zeros((0, 4)), np.zeros(0), "n >= 1"),
        (np.ones((2, 3)), np.zeros(2), r"\(2, 3\)"),
        (np.array([[1.0, 0, 0, 1]]), np.zeros(2), r"charge: expected \[1\]"),
        (np.array([[1.0, 0, np.nan, 1]]), np.zeros(1), "NaN"),
        (np.array([[0.0, 0, 5, 5]]), np.zeros(1), "no transverse momentum"),
        (np.array([[5.0, 3, 0, 0]]), np.zeros(1), "less energy than momentum"),
    ],
)
def test_bad_particles_are_refused(
    momenta: npt.NDArray[np.float64], charge: npt.NDArray[np.float64], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Particles(momenta, charge)


def test_a_ratio_with_nothing_below_is_zero() -> None:
    assert ratio(3.0, 0.0) == 0.0
    assert ratio(3.0, 2.0) == 1.5


# ---------------------------------------------------------------- closed forms, no clustering


def test_mass_and_charge_of_two_massless_particles() -> None:
    jet = Particles.from_pt_y_phi([600.0, 400.0], [0.0, 0.3], [0.0, 0.4], charge=[1, -1])
    found = kinematics(jet)
    expected = np.sqrt(2 * 600 * 400 * (np.cosh(0.3) - np.cos(0.4)))
    assert found["mass"] == pytest.approx(expected, rel=1e-9)
    assert found["charge_k05"] == pytest.approx(np.sqrt(0.6) - np.sqrt(0.4), rel=1e-9)
    assert found["charged_fraction"] == pytest.approx(1.0)
    assert (found["multiplicity"], found["charged_multiplicity"]) == (2, 2)


@pytest.mark.parametrize("n", [1, 2, 10, 64])
def test_fragmentation_of_equal_particles(n: int) -> None:
    jet = Particles.from_pt_y_phi(np.full(n, 7.0), np.linspace(0, 0.1, n), 0.2)
    found = fragmentation(jet)
    assert found["zlogz"] == pytest.approx(-np.log(n), abs=1e-12)
    assert found["ptd"] == pytest.approx(n**-0.5, rel=1e-12)
    assert found["z_max"] == pytest.approx(1 / n, rel=1e-12)
    assert found["n90"] == int(np.ceil(0.9 * n - 1e-9))


def test_shapes_of_a_pair_and_of_a_square() -> None:
    # Equal massless particles at y = +-0.2 about (0, 0): the axis is in the middle.
    pair = Particles.from_pt_y_phi([50.0, 50.0], [0.2, -0.2], [0.0, 0.0])
    found = shapes(pair, wta_axis=np.array([0.2, 0.0]))
    assert found["girth"] == pytest.approx(0.2 / GIRTH_UNIT, rel=1e-9)
    assert found["lha"] == pytest.approx(0.5 * np.sqrt(0.4 / GIRTH_UNIT), rel=1e-6)
    assert found["axis_offset"] == pytest.approx(0.2, rel=1e-9)
    assert found["pull"] == pytest.approx(0.0, abs=1e-12)
    assert found["planar_flow"] == pytest.approx(0.0, abs=1e-12)
    assert found["axis_minor"] == pytest.approx(0.0, abs=1e-9)
    assert found["core_fraction"] == 0.0

    square = Particles.from_pt_y_phi(
        np.full(4, 50.0), [0.1, -0.1, 0.1, -0.1], [0.1, 0.1, -0.1, -0.1]
    )
    found = shapes(square, wta_axis=np.zeros(2))
    assert found["planar_flow"] == pytest.approx(1.0, rel=1e-9)
    assert found["axis_minor"] == pytest.approx(0.1, rel=1e-6)


def test_pull_points_to_the_far_particle() -> None:
    jet = Particles.from_pt_y_phi([90.0, 10.0], [0.0, 0.0], [0.0, 0.4])
    found = shapes(jet, wta_axis=np.zeros(2))
    phi = np.arctan2(10 * np.sin(0.4), 90 + 10 * np.cos(0.4))
    expected = abs(-0.9 * phi**2 + 0.1 * (0.4 - phi) ** 2)
    assert found["pull"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_correlators_of_two_and_three_particles(beta: float) -> None:
    pair = Particles.from_pt_y_phi([30.0, 70.0], [0.0, 0.3], [0.0, 0.4])
    assert e2(pair.z, pair.angles**beta) == pytest.approx(0.3 * 0.7 * 0.5**beta, rel=1e-9)
    assert e3(pair.z, pair.angles**beta) == 0.0

    # A right triangle of sides 0.3, 0.4 and 0.5.
    three = Particles.from_pt_y_phi([20.0, 30.0, 50.0], [0.0, 0.3, 0.0], [0.0, 0.0, 0.4])
    weight = 0.2 * 0.3 * 0.5
    assert e3(three.z, three.angles**beta) == pytest.approx(weight * 0.06**beta, rel=1e-9)
    assert e4(three.z, three.angles**beta) == pytest.approx(0.0, abs=1e-18)
    ((one, two),) = generalised_e3(three.z, three.angles, (beta,))
    assert one == pytest.approx(weight * 0.3**beta, rel=1e-9)
    assert two == pytest.approx(weight * 0.12**beta, rel=1e-9)


def test_correlators_against_the_sums_that_define_them() -> None:
    jet = random_jet(9, seed=3)
    z, t = jet.z, jet.angles

    def total(n: int, angle: str) -> float:
        out = 0.0
        for members in itertools.combinations(range(len(z)), n):
            sides = sorted(t[i, j] for i, j in itertools.combinations(members, 2))
            kept = {"all": sides, "one": sides[:1], "two": sides[:2]}[angle]
            out += np.prod(z[list(members)]) * np.prod(kept)
        return float(out)

    assert e2(z, t) == pytest.approx(total(2, "all"), rel=1e-10)
    assert e3(z, t) == pytest.approx(total(3, "all"), rel=1e-10)
    assert e4(z, t) == pytest.approx(total(4, "all"), rel=1e-10)
    ((one, two),) = generalised_e3(z, t, (1.0,))
    assert one == pytest.approx(total(3, "one"), rel=1e-10)
    assert two == pytest.approx(total(3, "two"), rel=1e-10)


def test_ratios_are_those_of_their_definition() -> None:
    jet, groomed = random_jet(12, seed=5), random_jet(6, seed=6)
    found = correlators(jet, groomed)
    two, three = e2(jet.z, jet.angles), e3(jet.z, jet.angles)
    assert found["c2_b1"] == pytest.approx(three / two**2)
    assert found["d2_b1"] == pytest.approx(three / two**3)
    z, t = groomed.z, groomed.angles
    assert found["c3_b1_mmdt"] == pytest.approx(e4(z, t) * e2(z, t) / e3(z, t) ** 2)


def test_particles_in_one_place_have_no_correlation() -> None:
    jet = Particles.from_pt_y_phi([1.0, 2.0, 3.0, 4.0], 0.0, 0.0)
    assert set(correlators(jet, jet).values()) == {0.0}


def test_tau_is_zero_when_each_particle_has_an_axis() -> None:
    jet = random_jet(4)
    every = np.stack((jet.y, jet.phi), axis=1)
    assert tau(jet, every, 1.0) == 0.0
    without_last = tau(jet, every[:3], 2.0)
    nearest = jet.angles[3, :3].min()
    assert without_last == pytest.approx(jet.z[3] * (nearest / GIRTH_UNIT) ** 2, rel=1e-9)


# ---------------------------------------------------------------- with FastJet


def test_one_particle_is_finite_and_simple() -> None:
    found = named(Particles.from_pt_y_phi([1000.0], [0.5], [1.0], 0.0, [1]))
    zero = set(NAMES) - {
        *("pt", "eta", "mass", "multiplicity", "charged_multiplicity", "charged_fraction"),
        *("charge_k05", "pt_fraction_mmdt", "multiplicity_mmdt", "ptd", "z_max", "n90"),
        *("core_fraction", "z_sub1", "mass_mmdt", "mass_sd_b1", "mass_sd_b2"),
        *("mass_trim", "mass_prune"),
    }
    assert max(abs(found[name]) for name in zero) < 1e-6
    ones = (
        "multiplicity",
        "pt_fraction_mmdt",
        "multiplicity_mmdt",
        "ptd",
        "z_max",
        "n90",
        "z_sub1",
    )
    assert [found[name] for name in ones] == pytest.approx([1.0] * len(ones))
    assert all(found[name] < 1e-3 for name in NAMES if name.startswith("mass"))


@pytest.mark.parametrize("n", [2, 3, 4, 5, 80])
def test_all_values_are_finite(n: int) -> None:
    assert np.isfinite(list(named(random_jet(n)).values())).all()


def test_two_prongs() -> None:
    jet = Particles.from_pt_y_phi([700.0, 300.0], [0.0, 0.24], [0.0, 0.32])
    found = named(jet)
    assert found["zg"] == pytest.approx(0.3, rel=1e-9)
    assert found["rg"] == pytest.approx(0.4, rel=1e-6)
    assert found["n_sd"] == 1
    for name in ("mass_mmdt", "mass_sd_b1", "mass_sd_b2", "mass_trim", "mass_prune"):
        assert found[name] == pytest.approx(found["mass"], rel=1e-9), name
    # The winner takes all: the axis is the harder particle.
    assert found["tau1_b1"] == pytest.approx(0.3 * 0.4 / GIRTH_UNIT, rel=1e-6)
    assert found["tau2_b1"] == found["tau21_b1"] == found["tau32_b1"] == 0.0
    assert found["sqrt_d12"] == pytest.approx(300 * 0.4, rel=1e-6)
    assert (found["sqrt_d23"], found["m_min"], found["z_sub3"]) == (0, 0, 0)
    total = np.hypot(700 + 300 * np.cos(0.32), 300 * np.sin(0.32))
    assert found["z_sub1"] == pytest.approx(700 / total, rel=1e-6)
    assert found["z_sub2"] == pytest.approx(300 / total, rel=1e-6)


def test_grooming_removes_what_it_should() -> None:
    # Two hard prongs 0.3 apart and a soft particle (z = 0.04) at 0.6 from the first.
    jet = Particles.from_pt_y_phi([600.0, 360.0, 40.0], [0.0, 0.3, -0.6], [0.0, 0.0, 0.0])
    found = named(jet)
    hard = kinematics(jet.take(np.array([0, 1])))["mass"]
    for name in ("mass_mmdt", "mass_prune", "mass_trim"):  # the soft particle goes
        assert found[name] == pytest.approx(hard, rel=1e-9), name
    assert found["multiplicity_mmdt"] == 2
    assert found["zg"] == pytest.approx(0.375, rel=1e-9)
    # Its angle to the pair is 0.71, so beta 2 asks for 0.1 (0.71 / 0.8)^2 = 0.079 > 0.04 as well,
    # and the same particle at 0.2 (asked: 0.1 (0.31 / 0.8)^2 = 0.015) stays.
    assert found["mass_sd_b2"] == pytest.approx(hard, rel=1e-9)
    near = Particles.from_pt_y_phi([600.0, 360.0, 40.0], [0.0, 0.05, -0.29], [0.0, 0.0, 0.0])
    groomed = named(near)
    assert groomed["mass_sd_b2"] == pytest.approx(groomed["mass"], rel=1e-9)
    assert groomed["multiplicity_mmdt"] == 2


def test_smallest_pair_mass_of_three_prongs() -> None:
    jet = Particles.from_pt_y_phi([400.0, 350.0, 250.0], [0.0, 0.3, -0.5], [0.0, 0.2, 0.1])
    pairs = [kinematics(jet.take(np.array(p)))["mass"] for p in ([0, 1], [0, 2], [1, 2])]
    assert named(jet)["m_min"] == pytest.approx(min(pairs), rel=1e-9)
    assert named(jet)["tau3_b1"] == 0.0


def test_order_rotation_and_boost_change_nothing_but_eta() -> None:
    jet = random_jet(60, seed=8)
    expected = named(jet)
    order = np.random.default_rng(0).permutation(len(jet))
    mass_ = np.full(len(jet), 0.13957)
    moved = {
        "order": jet.take(order),
        "rotation": Particles.from_pt_y_phi(jet.pt, jet.y, jet.phi + 2.0, mass_, jet.charge),
        "reflection": Particles.from_pt_y_phi(jet.pt, -jet.y, -jet.phi, mass_, jet.charge),
        "boost": Particles.from_pt_y_phi(jet.pt, jet.y + 0.9, jet.phi, mass_, jet.charge),
    }
    for what, other in moved.items():
        found = named(other)
        changed = {"boost": {"eta"}, "reflection": {"eta"}}.get(what, set())
        for name in set(NAMES) - changed:
            assert found[name] == pytest.approx(expected[name], rel=1e-6, abs=1e-9), (what, name)
        assert (abs(found["eta"] - expected["eta"]) > 0.1) == bool(changed), what


def test_particles_that_balance_are_no_jet() -> None:
    pytest.importorskip("fastjet")
    balanced = Particles(np.array([[5.0, 0, 0, 5], [-5.0, 0, 0, 5]]), np.zeros(2))
    with pytest.raises(ValueError, match="no jet"):
        observables(balanced)
