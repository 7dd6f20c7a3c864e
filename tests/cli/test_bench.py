"""`vaelocity bench`: what it times of a model, and the latency tool that it builds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("typer", reason="needs the extra vaelocity[cli]")

from vaelocity import cli
from vaelocity.benchmark import latency, one_event, score_report


def test_a_model_is_timed_and_the_page_is_that_of_its_json(
    make_bundle: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    path = make_bundle([6, 5, 2], gaussian=True, activation="tanh")
    folder = tmp_path / "results"
    args = ["bench", str(path), "--quick", "--rows", "1", "--rows", "300", "--kind", "mu2"]
    assert cli.main([*args, "--peers", "torch_eager", "-o", str(folder)]) == 0
    results = json.loads((folder / "score.json").read_text())
    page = capsys.readouterr().out
    assert page == (folder / "score.md").read_text() == score_report.markdown(results)
    assert (results["model"], results["kind"]) == ("6-5-2-5-6", "mu2")
    titles = [case["title"] for case in results["cases"][:2]]
    assert titles == ["6-5-2-5-6, 1 row", "6-5-2-5-6, 300 rows"]
    for case in results["cases"]:
        exact = [e for e in case["entries"] if e["name"] != "vaelocity, fast"]
        assert {entry["status"] for entry in exact} == {"timed"}
        scored = [e for e in exact if e["name"] != one_event.READING]
        assert all(entry["error"] < 1e-4 for entry in scored)
        ratios = [e["speedup"] for e in case["entries"] if e["speedup"]]
        assert all(ratio["low"] <= ratio["value"] <= ratio["high"] for ratio in ratios)
    for case in results["cases"][:2]:
        names = [entry["name"] for entry in case["entries"]]
        assert {"vaelocity, bfloat16 weights", "vaelocity, fast"} <= set(names)
    assert "Not measured: which rows are anomalous is not known" in page
    assert results["installed_bytes"] > 1e6
    assert 0 < results["import"]["value"] <= results["start"]["value"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--peers", "tensorflow"], "--peers: expected some of torch_eager"),
        (["--cpu", "100000"], "--cpu 100000: expected one of"),
        (["--kind", "kl"], 'kind "kl" needs a gaussian latent'),
    ],
)
def test_what_cannot_be_timed_is_said_in_one_line(
    make_bundle: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    args: list[str],
    said: str,
) -> None:
    assert cli.main(["bench", str(make_bundle([3, 2])), *args]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
def test_latency_gives_only_the_percentiles_that_its_calls_support(
    make_bundle: Callable[..., Path],
) -> None:
    found = latency.measure(make_bundle([5, 4, 2]), "reconstruction", 2000)
    assert found["kind"] == "reconstruction"
    for case, calls in (("warm", 2000), ("denormal", 2000), ("idle", 1000), ("cold", 200)):
        assert found[case]["calls"] == calls
        assert found[case]["p50"] <= found[case]["max"]
        assert (found[case]["p99"] is None) == (calls < 1000)
        assert found[case]["p99.9"] is None
    with pytest.raises(ValueError, match=r"latency: .*kind"):
        latency.measure(make_bundle([5, 4, 2]), "kl", 2000)


@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
def test_latency_of_a_slow_model_is_given_up(
    make_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "SECONDS", 0.01)
    found = latency.measure(make_bundle([5, 4, 2]), "reconstruction", 1_000_000)
    assert found == {"why": "took longer than 0.01 s"}


def test_a_kind_needs_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "--kind", "mu2"]) == 2
    assert "--kind needs MODEL.vael" in capsys.readouterr().err


def test_latency_without_a_compiler_says_so(
    make_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    found = latency.measure(make_bundle([5, 4, 2]), "reconstruction", 2000)
    assert found == {"why": "no C++ compiler found"}
