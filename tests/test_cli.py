"""The command line, from the arguments to the files and the exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("typer", reason="needs the extra vaelocity[cli]")
pytest.importorskip("torch", reason="needs the extra vaelocity[train]")

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq

import vaelocity
from vaelocity.cli import main
from vaelocity.cli.tensors import TensorFile

NAMES = [f"f{j}" for j in range(6)]


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


Run = Callable[..., Ran]

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line in this process."""

    def call(*args: object) -> Ran:
        capfd.readouterr()
        code = main([str(arg) for arg in args])
        captured = capfd.readouterr()
        return Ran(code, captured.out, captured.err)

    return call


def error_of(ran: Ran, code: int = 2) -> str:
    """The one line on stderr that an error is; nothing on stdout, no traceback."""
    assert ran.code == code, ran.err
    assert ran.out == ""
    lines = ran.err.splitlines()
    assert len(lines) == 1, ran.err
    assert lines[0].startswith("vaelocity: error: ")
    return lines[0]


def events(n: int, seed: int, shift: float = 0.0) -> np.ndarray:
    """n rows on a curved two-dimensional sheet in six dimensions, with a little noise."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, n))
    sheet = np.column_stack([a, b, a * b, a**2, a + b, b**2])
    return (sheet + 0.1 * rng.normal(size=(n, 6)) + shift).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """normal.parquet and mixed.parquet (a column `process`, text; `number` beside the features)."""
    folder = tmp_path_factory.mktemp("cli")
    rows = events(10_000, seed=0)
    pq.write_table(pa.table(dict(zip(NAMES, rows.T, strict=True))), folder / "normal.parquet")
    rows = np.concatenate([events(2000, seed=1), events(200, seed=2, shift=4.0)])
    columns: dict[str, Any] = dict(zip(NAMES, rows.T, strict=True))
    columns["process"] = ["background"] * 2000 + ["signal"] * 200
    pq.write_table(pa.table(columns), folder / "mixed.parquet")
    return folder


TINY = ("--latent", "2", "--hidden", "16", "--epochs", "4", "--batch-size", "512")


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Path:
    path = folder / "ae.vael"
    assert main(["fit", str(folder / "normal.parquet"), "-o", str(path), *TINY]) == 0
    return path


@pytest.fixture(scope="module")
def vae(folder: Path) -> Path:
    path = folder / "vae.vael"
    args = ["fit", str(folder / "normal.parquet"), "-o", str(path), "--model", "vae"]
    assert main([*args, "--score-kind", "kl", *TINY]) == 0
    return path


# fit


def test_fit_warns_of_a_collapsed_posterior(run: Run, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.vael"
    ran = run(
        "fit", folder / "normal.parquet", "-o", path, *TINY, "--model", "vae", "--beta", "1000"
    )
    assert ran.code == 0, ran.err
    assert "warning: the posterior collapsed" in ran.err
    assert path.exists()


def test_fit_stores_a_threshold_from_rows_it_did_not_train_on(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "m.vael"
    ran = run("fit", folder / "normal.parquet", "-o", path, *TINY, "--json", "--fpr", "0.02")
    assert ran.code == 0, ran.err
    found = ran.json
    assert found["rows"] == {
        "training": 8000, "stopping": 1000, "threshold": 1000, "others": 0, "dropped": 0,
    }  # fmt: skip
    scorer = vaelocity.load(path)
    assert found["fingerprint"] == scorer.fingerprint
    assert found["features"] == scorer.feature_names == NAMES
    (stored,) = scorer.thresholds.values()
    assert stored.value == found["threshold"]["value"]
    assert stored.n == 1000
    low, high = stored.interval
    assert low <= 0.02 <= high
    fresh = scorer.score(events(20000, seed=9)) > stored.value
    assert 0.005 < fresh.mean() < 0.05


def test_fit_stores_no_threshold_that_the_held_out_rows_cannot_bear(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "m.vael"
    args = ("fit", folder / "mixed.parquet", "-o", path, *TINY, "--label", "process", "--json")
    ran = run(*args)
    assert ran.code == 0
    assert ran.json["threshold"] is None
    assert "220 held-out rows are too few for a threshold" in ran.err
    assert vaelocity.load(path).thresholds == {}
    assert "needs 1,000 held-out rows" in error_of(run(*args, "--fpr", "0.01"))
    assert run(*args, "--fpr", "0.05").json["threshold"]["fpr"] == 0.05


def test_fit_twice_with_a_seed_gives_the_same_weights(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    paths = [tmp_path / "a.vael", tmp_path / "b.vael", tmp_path / "c.vael"]
    for path, seed in zip(paths, (1, 1, 2), strict=True):
        assert run("fit", folder / "normal.parquet", "-o", path, *TINY, "--seed", seed).code == 0
    rows = events(100, seed=3)
    a, b, c = (vaelocity.load(path).score(rows) for path in paths)
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_fit_trains_on_the_normal_class_and_never_on_the_label(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "m.vael"
    args = ("fit", folder / "mixed.parquet", "-o", path, *TINY, "--label", "process", "--json")
    ran = run(*args, "--normal", "background")
    assert ran.code == 0, ran.err
    found = ran.json
    assert sum(found["rows"][part] for part in ("training", "stopping", "threshold")) == 2000
    assert found["rows"]["others"] == 200
    assert found["features"] == NAMES
    assert found["auc"]["signal"]["value"] > 0.9
    error = error_of(run(*args, "--normal", "signl"))
    assert "signl" in error
    assert "background, signal" in error


def test_fit_takes_the_features_it_is_given(run: Run, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.vael"
    data = folder / "normal.parquet"
    ran = run("fit", data, "-o", path, *TINY, "--latent", "1", "--features", "f3, f1,f0")
    assert ran.code == 0, ran.err
    assert vaelocity.load(path).feature_names == ["f3", "f1", "f0"]


def test_fit_summary_says_what_was_done(run: Run, folder: Path, tmp_path: Path) -> None:
    ran = run("fit", folder / "normal.parquet", "-o", tmp_path / "m.vael", *TINY)
    assert ran.code == 0
    assert "8,000 to train, 1,000 to stop by, 1,000 for the threshold" in ran.out
    assert "95 % interval" in ran.out
    assert "m.vael" in ran.out
    assert ran.err == ""


def test_fit_refuses_rows_with_nan_unless_told_to_drop_them(run: Run, tmp_path: Path) -> None:
    rows = events(1000, seed=4)
    rows[[7, 70], 2] = np.nan
    rows[700, 1] = np.inf
    np.save(tmp_path / "nan.npy", rows)
    path = tmp_path / "m.vael"
    args = ("fit", tmp_path / "nan.npy", "-o", path, *TINY, "--fpr", "0")
    error = error_of(run(*args))
    assert "3 of 1,000 rows" in error
    assert "row 7 " in error
    assert "--drop-nan" in error
    assert not path.exists()
    ran = run(*args, "--drop-nan", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["rows"]["dropped"] == 3


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (("--features", "f0,f9"), "f9"),
        (("--label", "proces"), "did you mean 'process'"),
        (("--fpr", "0.001"), "--fpr 0.001 needs 10,000 held-out rows"),
        (("--validation", "1"), "--validation 1"),
        (("--hidden", "64,x"), "--hidden 64,x"),
        (("--activation", "relux"), "relux"),
        (("--score-kind", "kl"), "--score-kind kl"),
        (("--beta", "2"), "--beta is for --model vae"),
        (("--level", "2"), "--level is for --model denoising"),
        (("--penalty", "2"), "--penalty is for --model sparse"),
        (("--model", "sparse", "--batch-norm"), "--batch-norm is not for --model sparse"),
        (("--normal", "background"), "--normal needs --label"),
        (("--epochs", "0"), "--epochs"),
        (("--lr", "-1"), "lr"),
        (("--lr", "1e30", "--batch-size", "1000"), "training diverged in epoch 1"),
    ],
)
def test_fit_says_in_one_line_what_is_wrong(
    run: Run, folder: Path, tmp_path: Path, extra: tuple[str, ...], said: str
) -> None:
    data = folder / ("mixed.parquet" if "--label" in extra else "normal.parquet")
    error = error_of(run("fit", data, "-o", tmp_path / "m.vael", *extra))
    assert said in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (("--model", "denoising", "--level", "0.5"), "DenoisingAutoencoder"),
        (("--model", "sparse", "--penalty", "0.02"), "SparseAutoencoder"),
    ],
)
def test_fit_trains_other_families(
    run: Run, folder: Path, tmp_path: Path, options: tuple[str, ...], name: str
) -> None:
    path = tmp_path / "m.vael"
    ran = run("fit", folder / "normal.parquet", "-o", path, *TINY, *options)
    assert ran.code == 0, ran.err
    module = vaelocity.load(path).metadata["module"]
    assert module["class"] == name
    assert module["args"]["level" if "level" in options[2] else "penalty"] == float(options[3])


def test_missing_files_and_folders(run: Run, folder: Path, tmp_path: Path) -> None:
    data = folder / "normal.parquet"
    assert "no.csv" in error_of(run("fit", tmp_path / "no.csv", "-o", tmp_path / "m.vael"))
    assert "no folder" in error_of(run("fit", data, "-o", tmp_path / "nowhere" / "m.vael"))
    assert "no.vael" in error_of(run("inspect", tmp_path / "no.vael"))
    assert "no.vael" in error_of(run("verify", tmp_path / "no.vael"))
    assert "no.vael" in error_of(run("score", tmp_path / "no.vael", data, "-o", "-"))


# score


def read_back(path: Path) -> dict[str, np.ndarray]:
    if path.suffix == ".npy":
        records = np.load(path)
        return {name: records[name] for name in records.dtype.names}
    table = {
        ".parquet": lambda: pq.read_table(path),
        ".csv": lambda: pyarrow.csv.read_csv(path),
        ".arrow": lambda: pyarrow.feather.read_table(path),
    }[path.suffix]()
    return {name: table[name].to_numpy() for name in table.column_names}


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".arrow", ".npy"])
@pytest.mark.parametrize("batch", [333, 65536])
def test_score_writes_what_the_scorer_says(
    run: Run, folder: Path, bundle: Path, tmp_path: Path, suffix: str, batch: int
) -> None:
    path = tmp_path / f"scores{suffix}"
    ran = run(
        "score", bundle, folder / "mixed.parquet", "-o", path, "--batch-size", batch,
        "--label", "process",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    found = read_back(path)
    assert list(found) == ["row", "score", "flags", "anomalous", "label"]
    scorer = vaelocity.load(bundle)
    table = pq.read_table(folder / "mixed.parquet")
    rows = np.column_stack([table[name].to_numpy() for name in NAMES])
    np.testing.assert_array_equal(found["row"], np.arange(2200))
    np.testing.assert_array_equal(found["score"].astype(np.float32), scorer.score(rows))
    np.testing.assert_array_equal(found["anomalous"].astype(bool), scorer.predict(rows))
    np.testing.assert_array_equal(found["flags"], 0)
    assert found["label"].tolist() == table["process"].to_pylist()


def test_score_streams_csv_to_stdout(run: Run, folder: Path, bundle: Path) -> None:
    ran = run("score", bundle, folder / "mixed.parquet", "-o", "-", "--batch-size", "1000")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0] == '"row","score","flags","anomalous"'
    assert len(lines) == 2201
    assert "2,200" in ran.err


def test_score_finds_columns_by_name_and_nameless_ones_by_place(
    run: Run, folder: Path, bundle: Path, tmp_path: Path
) -> None:
    rows = events(50, seed=5)
    columns = dict(zip(NAMES, rows.T, strict=True))
    turned = {"extra": np.zeros(50), **dict(reversed(columns.items()))}
    pq.write_table(pa.table(turned), tmp_path / "turned.parquet")
    np.save(tmp_path / "bare.npy", rows)
    expected = vaelocity.load(bundle).score(rows)
    for name in ("turned.parquet", "bare.npy"):
        assert run("score", bundle, tmp_path / name, "-o", tmp_path / "s.npy").code == 0
        np.testing.assert_array_equal(np.load(tmp_path / "s.npy")["score"], expected)
    np.save(tmp_path / "bare.npy", rows[:, :5])
    error = error_of(run("score", bundle, tmp_path / "bare.npy", "-o", tmp_path / "t.npy"))
    assert "6 features, the data have 5 columns" in error
    del turned["f2"]
    pq.write_table(pa.table(turned), tmp_path / "turned.parquet")
    error = error_of(run("score", bundle, tmp_path / "turned.parquet", "-o", tmp_path / "t.npy"))
    assert "'f2'" in error
    assert not (tmp_path / "t.npy").exists()


def test_rows_with_nan_are_flagged_counted_and_never_lost(
    run: Run, bundle: Path, tmp_path: Path
) -> None:
    rows = events(100, seed=6)
    rows[3, 1], rows[4, 0], rows[5] = np.nan, -np.inf, 3e38
    np.save(tmp_path / "rows.npy", rows)
    args = ("score", bundle, tmp_path / "rows.npy", "-o", tmp_path / "s.npy")
    ran = run(*args, "--json", "--top", "4")
    assert ran.code == 0
    assert ran.json["flagged"] == {"nan_or_inf": 2, "saturated": 1}
    assert "3 of 100 rows are flagged" in ran.err
    found = np.load(tmp_path / "s.npy")
    np.testing.assert_array_equal(np.flatnonzero(found["flags"]), [3, 4, 5])
    np.testing.assert_array_equal(found["flags"], vaelocity.load(bundle).flags(rows))
    assert found["anomalous"][[3, 4, 5]].all()
    # NaN scores are reported as flagged, not ranked; the saturated one is the highest.
    assert ran.json["top"][0]["row"] == 5
    assert not {3, 4} & {event["row"] for event in ran.json["top"]}
    assert run(*args, "--fail-on", "flagged").code == 1
    assert run(*args, "--fail-on", "anomalous").code == 1
    np.save(tmp_path / "rows.npy", rows[10:20])
    assert run(*args, "--fail-on", "flagged").code == 0
    assert run(*args, "--fail-on", "anomalous", "--threshold", "1e30").code == 0


def test_top_lists_the_highest_scores_with_their_largest_features(
    run: Run, folder: Path, bundle: Path, tmp_path: Path
) -> None:
    rows = events(5000, seed=7)
    rows[1234, 4] += 50
    np.save(tmp_path / "rows.npy", rows)
    args = ("score", bundle, tmp_path / "rows.npy", "-o", tmp_path / "s.npy", "--top", "7")
    found = run(*args, "--batch-size", "100", "--json").json["top"]
    score = np.load(tmp_path / "s.npy")["score"]
    assert [event["row"] for event in found] == np.argsort(-score, kind="stable")[:7].tolist()
    assert [event["score"] for event in found] == pytest.approx(np.sort(score)[::-1][:7].tolist())
    assert found[0]["row"] == 1234
    parts = vaelocity.load(bundle).score_features(rows[1234:1235])[0]
    assert found[0]["features"][0]["name"] == NAMES[int(parts.argmax())]
    assert found[0]["features"][0]["share"] == pytest.approx(parts.max() / parts.sum(), rel=1e-5)
    shown = run(*args)
    assert "1234" in shown.out
    assert "share of the reconstruction error" in shown.out


def test_threshold_and_kind_can_be_chosen(
    run: Run, folder: Path, vae: Path, bundle: Path, tmp_path: Path
) -> None:
    data, path = folder / "normal.parquet", tmp_path / "s.npy"
    ran = run("score", vae, data, "-o", path, "--json")
    assert (ran.json["kind"], ran.json["threshold_name"]) == ("kl", "fpr=0.01")
    by_name = run("score", vae, data, "-o", path, "--json", "--threshold", "fpr=0.01").json
    assert by_name["anomalous"] == ran.json["anomalous"]
    scores = np.load(path)["score"]
    value = float(np.median(scores))
    by_value = run("score", vae, data, "-o", path, "--json", "--threshold", value).json
    assert by_value["anomalous"] == (scores > np.float32(value)).sum()
    other = run("score", vae, data, "-o", path, "--json", "--kind", "mu2", "--top", "2")
    assert other.json["kind"] == "mu2"
    assert other.json["anomalous"] is None
    assert len(other.json["top"]) == 2
    assert "no threshold for mu2" in other.err
    assert np.load(path).dtype.names == ("row", "score", "flags")
    rows = np.column_stack([pq.read_table(data)[name].to_numpy() for name in NAMES])
    np.testing.assert_array_equal(
        np.load(path)["score"], vaelocity.load(vae, kind="mu2").score(rows)
    )
    assert "kl" in error_of(run("score", bundle, data, "-o", path, "--kind", "kl"))
    missing = run("score", vae, path, "-o", path, "--kind", "mu2")  # no threshold, either: one line
    assert "6 of the model's 6 features are missing" in error_of(missing)
    assert "fpr=0.01" in error_of(run("score", vae, data, "-o", path, "--threshold", "half"))


def test_score_says_in_one_line_what_is_wrong(
    run: Run, folder: Path, bundle: Path, tmp_path: Path
) -> None:
    data = folder / "normal.parquet"
    assert ".parquet" in error_of(run("score", bundle, data, "-o", tmp_path / "s.txt"))
    assert "choose one" in error_of(run("score", bundle, data, "-o", "-", "--json"))
    assert "'-o'" in error_of(run("score", bundle, data))
    header = ",".join(NAMES) + "\n"
    (tmp_path / "empty.csv").write_text(header)
    error_of(run("score", bundle, tmp_path / "empty.csv", "-o", tmp_path / "s.csv"))
    (tmp_path / "bad.csv").write_text(
        ",".join(NAMES) + "\n" + "1,2,3,4,5,6\n" * 9 + "1,2,x,4,5,6\n"
    )
    error_of(run("score", bundle, tmp_path / "bad.csv", "-o", tmp_path / "s.csv"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.csv", "empty.csv"]


# inspect and verify


def test_inspect_tells_what_is_in_the_file(run: Run, bundle: Path, vae: Path) -> None:
    ran = run("inspect", bundle)
    assert ran.code == 0
    for text in ("6-16-2-16-6", "reconstruction", "fpr=0.01", "f0, f1", "relu"):
        assert text in ran.out
    found = run("inspect", vae, "--json").json
    assert found["network"] == "6-16-2-16-6"
    # 6*16+16 + 16*4+4 (mu and logvar) + 2*16+16 + 16*6+6
    assert found["parameters"] == 112 + 68 + 48 + 102
    assert set(found["kinds"]) == {"reconstruction", "kl", "mu2", "rz", "elbo"}
    assert found["fingerprint"] == vaelocity.load(vae).fingerprint
    assert found["metadata"]["features"] == NAMES
    assert "f5" in run("inspect", bundle, "--features").out


def test_verify_passes_a_whole_file_and_says_with_which_instruction_sets(
    run: Run, bundle: Path, vae: Path
) -> None:
    ran = run("verify", bundle, vae, "--json")
    assert ran.code == 0
    files = ran.json["files"]
    assert [entry["ok"] for entry in files] == [True, True]
    for entry in files:
        for isas in entry["scored"].values():
            assert "generic" in isas
    assert len(files[1]["scored"]) == 5
    assert "bit for bit" in run("verify", bundle).out


def test_verify_fails_a_damaged_file_with_one_line_for_the_reason(
    run: Run, bundle: Path, tmp_path: Path
) -> None:
    whole = bundle.read_bytes()
    damaged = {
        "truncated": whole[:-100],
        "flipped": whole[:-50] + bytes([whole[-50] ^ 4]) + whole[-49:],
        "other": b"no bundle at all, but long enough to hold a header\n" * 10,
        "empty": b"",
    }
    for name, content in damaged.items():
        path = tmp_path / f"{name}.vael"
        path.write_bytes(content)
        ran = run("verify", path)
        assert ran.code == 1
        assert ran.err == ""
        (line,) = ran.out.splitlines()
        assert line.startswith(f"{path}: FAILED ")
        assert str(path) in error_of(run("inspect", path))
        scored = run("score", path, tmp_path / "truncated.vael", "-o", tmp_path / "s.csv")
        assert str(path) in error_of(scored)
    ran = run("verify", bundle, tmp_path / "flipped.vael", "--json")
    assert ran.code == 1
    assert [entry["ok"] for entry in ran.json["files"]] == [True, False]


def test_verify_notices_a_score_that_is_not_what_it_was(
    run: Run, vae: Path, tmp_path: Path
) -> None:
    """One conformance score is changed and the checksum made right again."""
    import hashlib

    file = TensorFile(vae)
    conformance = vaelocity.load(vae).metadata["conformance"]
    start, _ = file.span(conformance["scores"]["mu2"])
    content = bytearray(vae.read_bytes())
    content[start] ^= 1
    at = content.index(b"sha256:") + len(b"sha256:")
    content[at : at + 64] = b"0" * 64
    content[at : at + 64] = hashlib.sha256(content).hexdigest().encode()
    path = tmp_path / "changed.vael"
    path.write_bytes(content)
    ran = run("verify", path, "--json")
    assert ran.code == 1
    (entry,) = ran.json["files"]
    assert entry["scored"]["mu2"] == []
    assert entry["scored"]["kl"] != []
    assert entry["failures"]
    assert all(reason.startswith("mu2 with ") for reason in entry["failures"])


# the program around the commands


def test_usage_errors_are_one_line_and_help_is_on_stdout(run: Run, bundle: Path) -> None:
    assert "No such command 'scor'" in error_of(run("scor"))
    assert "--colour" in error_of(run("inspect", bundle, "--colour"))
    assert "'MODEL.vael'" in error_of(run("inspect"))
    ran = run("score", "--help")
    assert ran.code == 0
    assert "--threshold" in ran.out
    ran = run("--version")
    assert (ran.code, ran.out) == (0, f"vaelocity {vaelocity.__version__}\n")
    assert run().code == 2


def test_debug_shows_where(run: Run, tmp_path: Path) -> None:
    ran = run("inspect", tmp_path / "no.vael", "--debug")
    assert ran.code == 2
    assert "Traceback" in ran.err
    assert "Traceback" in run("--debug", "inspect", tmp_path / "no.vael").err


def test_colours_only_on_a_terminal_that_wants_them(run: Run, bundle: Path) -> None:
    assert "\x1b[" not in run("inspect", bundle).out
    assert "\x1b[" not in run("verify", bundle).out


def test_score_inspect_and_verify_do_not_import_torch(
    folder: Path, bundle: Path, tmp_path: Path
) -> None:
    program = """
import sys
from vaelocity.cli import main
bundle, data, out = sys.argv[1:]
assert main(["inspect", bundle]) == 0
assert main(["verify", bundle]) == 0
assert main(["score", bundle, data, "-o", out, "--top", "3"]) == 0
heavy = {"torch", "triton", "matplotlib", "sklearn", "scipy"} & set(sys.modules)
assert not heavy, heavy
"""
    out = tmp_path / "s.parquet"
    args = [sys.executable, "-c", program, str(bundle), str(folder / "normal.parquet"), str(out)]
    ran = subprocess.run(args, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert out.exists()


def test_a_reader_that_stops_early_is_no_error(folder: Path, bundle: Path) -> None:
    module = [sys.executable, "-m", "vaelocity.cli", "score", str(bundle)]
    many = [str(folder / "mixed.parquet")] * 40
    process = subprocess.Popen(
        [*module, *many, "-o", "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    said = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait() == 0, said
    assert said == ""


def test_without_the_extra_the_command_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise ModuleNotFoundError(name='typer')\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    args = [sys.executable, "-m", "vaelocity.cli", "--help"]
    ran = subprocess.run(args, capture_output=True, text=True, check=False, env=environment)
    assert ran.returncode == 2
    assert 'pip install "vaelocity[cli]"' in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


# demo


def test_demo_trains_scores_a_stream_and_writes_a_report(run: Run, tmp_path: Path) -> None:
    for module in ("matplotlib", "jinja2", "sklearn"):
        pytest.importorskip(module, reason="needs the extra vaelocity[demo]")
    ran = run("demo", "--quick", "--output-dir", tmp_path, "--json")
    assert ran.code == 0, ran.err
    found = ran.json
    names = {"jets-ae.vael", "jets-vae.vael", "report.html"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert found["stream"]["rows"] == 50_000
    methods = {entry["method"] for entry in found["methods"]}
    assert {"ae_reconstruction", "vae_kl", "pca_reconstruction", "squared_norm"} <= methods
    for entry in found["methods"]:
        assert set(entry["auc"]) == {"gluon", "W", "Z", "top"}
        assert all(0 < estimate["value"] < 1 for estimate in entry["auc"].values())
    assert all(entry["events_per_s"] > 0 for entry in found["speed"].values())
    assert len(found["top"]) == 10
    assert vaelocity.load(tmp_path / "jets-ae.vael").n_features == 59
    assert run("verify", tmp_path / "jets-ae.vael", tmp_path / "jets-vae.vael").code == 0
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert text.count("data:image/png;base64,") == 9
    assert "What the VAE keeps in its latent space" in text
    assert "http://" not in text
