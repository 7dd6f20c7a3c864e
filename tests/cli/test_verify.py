"""`vaelocity inspect` and `vaelocity verify`."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("typer", reason="needs the extra vaelocity[cli]")
pytest.importorskip("torch", reason="needs the extra vaelocity[train]")

from cli_runs import NAMES, Run, error_of

import vaelocity
from vaelocity.cli.tensors import TensorFile

pytestmark = pytest.mark.usefixtures("one_torch_thread")


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
