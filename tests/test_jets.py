"""The shipped sample of jets against physics, its file, and the script that made it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from vaelocity.data import Table, jets, read
from vaelocity.data.jets import generator, sample, simulate

NAMES = [feature.name for feature in jets.FEATURES]

# ---------------------------------------------------------------- the shipped sample


@pytest.fixture(scope="module")
def shipped() -> Table:
    return jets.load()


def column(table: Table, name: str, class_name: str) -> npt.NDArray[np.float64]:
    part = table.of_class(class_name)
    return part.rows[:, part.feature_names.index(name)].astype(np.float64)


def auc(normal: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    """Probability that `other` is the larger, ties counting half."""
    order = np.sort(normal)
    below = np.searchsorted(order, other, side="left") + np.searchsorted(order, other, side="right")
    return float(below.mean() / (2 * len(order)))


def test_there_are_59_documented_features() -> None:
    assert len(jets.FEATURES) == len(set(NAMES)) == 59
    assert all(feature.unit in {"1", "GeV"} and feature.description for feature in jets.FEATURES)
    assert (
        len(
            {
                feature.description
                for feature in jets.FEATURES
                if "the same" not in feature.description
            }
        )
        >= 54
    )


def test_the_sample_has_what_it_says(shipped: Table) -> None:
    assert shipped.rows.dtype == np.float32
    assert shipped.rows.flags.c_contiguous
    assert shipped.feature_names == NAMES
    assert shipped.class_names == list(jets.CLASS_NAMES) == ["quark", "gluon", "W", "Z", "top"]
    assert len(shipped) >= 20_000
    assert len(shipped.nan_rows) == 0
    counts = np.bincount(shipped.labels, minlength=5)
    assert counts[0] > counts[1:].sum()
    assert counts.min() >= 1000


def test_the_file_is_small_and_says_where_it_comes_from(shipped: Table) -> None:
    path = Path(sample.__file__).with_name("sample.npz")
    assert path.stat().st_size <= 4_000_000
    made = jets.provenance()
    assert made["rows_sha256"] == shipped.sha256()
    assert list(made["jets"].values()) == np.bincount(shipped.labels).tolist()
    assert f"--seed {made['seed']} " in made["command"]
    assert made["versions"]["pythia8mc"].startswith("8.3")
    assert set(made["versions"]) >= {"fastjet", "numpy", "vaelocity"}
    assert made["pythia_settings"].keys() == {"all", *jets.CLASS_NAMES}


def test_any_reader_of_npz_gives_the_same_table(shipped: Table) -> None:
    table = read(Path(sample.__file__).with_name("sample.npz"))
    assert table.sha256() == shipped.sha256()
    assert table.class_names == shipped.class_names
    np.testing.assert_array_equal(table.labels, shipped.labels)


def test_rows_are_in_random_order(shipped: Table) -> None:
    overall = np.bincount(shipped.labels, minlength=5) / len(shipped)
    first = np.bincount(shipped.labels[:2000], minlength=5)
    spread = np.sqrt(2000 * overall * (1 - overall))
    assert (abs(first - 2000 * overall) < 5 * spread).all()


def test_no_column_is_constant_or_told_twice(shipped: Table) -> None:
    rows = shipped.rows.astype(np.float64)
    assert (rows.std(axis=0) > 0).all()
    ranks = rows.argsort(axis=0).argsort(axis=0)  # finds a column that is a function of another
    for values in (rows, ranks):
        correlation = np.abs(np.corrcoef(values, rowvar=False)) - np.eye(59)
        worst = np.unravel_index(correlation.argmax(), correlation.shape)
        assert correlation.max() < 0.9999, [NAMES[int(j)] for j in worst]


def test_no_column_gives_the_class_away(shipped: Table) -> None:
    for class_name in jets.CLASS_NAMES[1:]:
        for name in NAMES:
            found = auc(column(shipped, name, "quark"), column(shipped, name, class_name))
            assert 0.01 < found < 0.99, (name, class_name)


def test_values_keep_to_their_ranges(shipped: Table) -> None:
    value = dict(zip(NAMES, shipped.rows.T, strict=True))
    assert value["pt"].min() >= 949.9
    assert value["pt"].max() <= 1050.1
    assert abs(value["eta"]).max() <= 2.0
    shares = ("charged_fraction", "z_max", "ptd", "z_sub1", "core_fraction", "planar_flow")
    for name in shares:
        assert value[name].min() >= 0
        assert value[name].max() <= 1.001, name
    assert value["zg"].max() <= 0.5
    assert value["zlogz"].max() <= 0
    for name in ("multiplicity", "charged_multiplicity", "multiplicity_mmdt", "n90", "n_sd"):
        assert (value[name] == np.round(value[name])).all(), name
    assert (value["charged_multiplicity"] <= value["multiplicity"]).all()
    for groomed in ("mass_mmdt", "mass_sd_b1", "mass_sd_b2"):
        assert (value[groomed] <= value["mass"] * 1.001).all(), groomed
    # Fewer axes cannot be much closer: the axes are not minimised, so single jets may break it.
    assert np.mean(value["tau2_b1"] <= value["tau1_b1"]) > 0.98
    assert np.mean(value["tau3_b1"] <= value["tau2_b1"]) > 0.98


@pytest.mark.parametrize(
    ("class_name", "low", "high"), [("W", 70, 86), ("Z", 80, 97), ("top", 155, 180)]
)
def test_groomed_masses_peak_at_the_particle(
    shipped: Table, class_name: str, low: float, high: float
) -> None:
    assert low < np.median(column(shipped, "mass_mmdt", class_name)) < high
    assert low < np.median(column(shipped, "mass_trim", class_name)) < high
    # A peak, which quark jets do not have: ten times as many jets within 10 % of the median.
    masses = column(shipped, "mass_mmdt", class_name)
    quarks = column(shipped, "mass_mmdt", "quark")
    near, near_quark = (np.mean(abs(m / np.median(masses) - 1) < 0.1) for m in (masses, quarks))
    assert near > 0.4  # the rest: a soft prong groomed away, or a b quark outside the jet
    assert near > 10 * near_quark


def test_the_classes_differ_as_they_should(shipped: Table) -> None:
    def median(name: str, class_name: str) -> float:
        return float(np.median(column(shipped, name, class_name)))

    # Gluons radiate more (colour factors 9/4), and have no charge.
    assert median("multiplicity", "gluon") > 1.3 * median("multiplicity", "quark")
    assert median("ptd", "gluon") < median("ptd", "quark")
    assert median("girth", "gluon") > median("girth", "quark")
    for class_name, low, high in (("gluon", -4, 4), ("quark", 10, np.inf)):
        charge = column(shipped, "charge_k05", class_name)
        errors = charge.mean() / (charge.std() / np.sqrt(len(charge)))  # in standard errors
        assert low < errors < high, class_name  # more u than d quarks in a proton
    # Two prongs in W and Z, three in top, of which two are a W.
    for boson in ("W", "Z"):
        assert median("tau21_b1", boson) < median("tau21_b1", "quark") - 0.1
        assert median("n2_b1_mmdt", boson) < median("n2_b1_mmdt", "quark")
        assert median("rg", boson) == pytest.approx(2 * 85 / 1000, abs=0.08)
    assert median("tau32_b1", "top") < median("tau32_b1", "quark") - 0.1
    assert 70 < median("m_min", "top") < 90
    # What the selection fixes tells nothing.
    for class_name in jets.CLASS_NAMES[1:]:
        found = auc(column(shipped, "pt", "quark"), column(shipped, "pt", class_name))
        assert 0.4 < found < 0.6, class_name


def test_loading_needs_numpy_only() -> None:
    code = (
        "import sys, vaelocity.data.jets as jets; jets.load();"
        "print(*{'torch', 'pyarrow', 'fastjet', 'awkward', 'pythia8mc', 'scipy'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


# ---------------------------------------------------------------- file and script


def test_rounding_is_to_the_nearest() -> None:
    rng = np.random.default_rng(0)
    values = (rng.normal(size=5000) * 10.0 ** rng.integers(-20, 20, 5000)).astype(np.float32)
    rounded = sample.round_mantissa(values)
    assert (abs(rounded / values - 1) <= 2.0**-13 + 1e-7).all()
    assert not (rounded.view(np.uint32) & 0x7FF).any()
    np.testing.assert_array_equal(sample.round_mantissa(rounded), rounded)
    whole = np.arange(8193, dtype=np.float32)
    np.testing.assert_array_equal(sample.round_mantissa(whole), whole)
    np.testing.assert_array_equal(sample.round_mantissa(values, bits=23), values)


def test_another_file_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=np.zeros((2, 2)))
    with pytest.raises(ValueError, match="no y, feature_names"):
        sample.read_sample(tmp_path / "a.npz")


def test_the_work_is_cut_into_parts() -> None:
    work = simulate.parts({"quark": 1200, "W": 3})
    assert [part.n_jets for part in work] == [500, 500, 200, 3]
    assert [part.number for part in work] == [0, 1, 2, 0]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--per-class", "0", "-o", "a.npz"], "--per-class: expected 1 or more, got 0"),
        (["--seed", "-1", "-o", "a.npz"], "--seed: expected 0 or more, got -1"),
        (["-o", "no/such/folder/a.npz"], "no folder"),
    ],
)
def test_bad_arguments(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        simulate.main(argv)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_what_is_missing_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(simulate, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stopped:
        simulate.main(["-o", "a.npz"])
    assert stopped.value.code == 1
    assert 'pip install --only-binary :all: "vaelocity[jets]"' in capsys.readouterr().err


def test_a_seed_gives_the_same_jets(tmp_path: Path) -> None:
    pytest.importorskip("pythia8mc", reason="the simulation needs Pythia 8 (extra: jets)")
    pytest.importorskip("fastjet", reason="the simulation needs FastJet (extra: jets)")
    path = tmp_path / "a.npz"
    argv = ["--seed", "7", "--per-class", "2", "--jobs", "1", "-o", str(path)]
    assert simulate.main(argv) == 0
    table, provenance = sample.read_sample(path)
    assert provenance["seed"] == 7
    assert provenance["rows_sha256"] == table.sha256()
    assert np.bincount(table.labels).tolist() == [2] * 5
    assert np.isfinite(table.rows).all()
    assert (abs(table.rows[:, 0] - 1000) <= 50.1).all()

    again, other_seed, other_part = (
        sample.round_mantissa(generator.simulate("W", 2, seed, part)[0])
        for seed, part in ((7, 0), (8, 0), (7, 1))
    )
    written = table.of_class("W").rows
    assert {row.tobytes() for row in again} == {row.tobytes() for row in written}
    for other in (other_seed, other_part):
        assert not {row.tobytes() for row in other} & {row.tobytes() for row in written}


def test_an_unknown_class_is_refused() -> None:
    with pytest.raises(ValueError, match=r"class_name: expected one of .*'Higgs'"):
        generator.simulate("Higgs", 1, seed=0)
