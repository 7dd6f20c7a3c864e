"""The command line around the commands: usage, errors, colours, pipes, imports; and the demo."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("typer", reason="needs the extra vaelocity[cli]")
pytest.importorskip("torch", reason="needs the extra vaelocity[train]")

from cli_runs import Run, error_of

import vaelocity

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def test_missing_files_and_folders(run: Run, folder: Path, tmp_path: Path) -> None:
    data = folder / "normal.parquet"
    assert "no.csv" in error_of(run("fit", tmp_path / "no.csv", "-o", tmp_path / "m.vael"))
    assert "no folder" in error_of(run("fit", data, "-o", tmp_path / "nowhere" / "m.vael"))
    assert "no.vael" in error_of(run("inspect", tmp_path / "no.vael"))
    assert "no.vael" in error_of(run("verify", tmp_path / "no.vael"))
    assert "no.vael" in error_of(run("score", tmp_path / "no.vael", data, "-o", "-"))


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
