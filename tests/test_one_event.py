"""One event a call: what is timed there has given the reference's scores first."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vaelocity.benchmark import compiled, latency, networks, one_event
from vaelocity.benchmark.machine import NO_PEAK
from vaelocity.frozen import Network


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    pytest.importorskip("torch")
    return networks.build(7, (12,), 3, tmp_path_factory.mktemp("network"))


@pytest.fixture(scope="module")
def case(network: Network) -> dict[str, Any]:
    return one_event.one_event(network, networks.jet_rows(64, 7), NO_PEAK, quick=True)


@pytest.mark.parametrize(
    ("name", "library"),
    [
        ("vaelocity", "vaelocity"),
        ("vaelocity header", "vaelocity"),
        ("onnxruntime", "onnxruntime"),
        ("onnxruntime, C API", "onnxruntime"),
        ("emx-onnx-cgen", "emx_onnx_cgen"),
        ("openvino", "openvino"),
    ],
)
def test_every_way_gives_the_scores_before_it_is_timed(
    case: dict[str, Any], name: str, library: str
) -> None:
    pytest.importorskip(library)
    found = [e for e in case["entries"] if e["name"] == name]
    assert [e["status"] for e in found] == ["timed"] * len(found) != []
    assert all(e["error"] <= 1e-4 for e in found)


def test_time_is_for_one_event(case: dict[str, Any]) -> None:
    """Of 64 rows a call, and of 1: the same unit."""
    by_name = {e["name"]: e["seconds"]["value"] for e in case["entries"] if e["seconds"]}
    ours, read = by_name["vaelocity"], by_name[one_event.READING]
    assert read < ours  # 1 kB is read faster than a network is computed, whoever else is at work
    assert case["rows"] == 1


@pytest.mark.parametrize("peer", ["onnxruntime_c", "emx_onnx_cgen", "cpp_header"])
def test_rows_in_c_are_those_given(network: Network, peer: str) -> None:
    module = importlib.import_module(f"vaelocity.benchmark.peers.{peer}")
    pytest.importorskip(module.LIBRARY)
    rows = networks.made_rows(network, 5)
    expected = network.reference(rows)
    for way in module.ways(network, 5):
        np.testing.assert_allclose(way.bind(rows)(), expected, rtol=1e-5)
        again = np.ascontiguousarray(rows[::-1])
        np.testing.assert_allclose(way.bind(again)(), expected[::-1], rtol=1e-5)


def test_without_a_compiler_it_says_so(
    network: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(compiled.NotBuilt, match=r"no C\+\+ compiler found"):
        one_event.one_event(network, networks.jet_rows(64, 7), NO_PEAK, quick=True)
    assert latency.measure(network.path, "reconstruction", 1000) == {"why": "no C++ compiler found"}
