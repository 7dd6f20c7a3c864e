"""Files of models without a frozen scorer: what they hold, who reads them and who refuses."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vaelocity
from vaelocity import BundleError, _core
from vaelocity.bundle import bundle_bytes, parse_bundle, read_bundle, write_bundle

REFUSED = "a Diffusion model, which has no frozen scorer: load it with vaelocity.models.load"

Content = tuple[dict[str, Any], dict[str, np.ndarray]]


@pytest.fixture
def content() -> Content:
    tensors = {
        "preprocess.0.mean": np.zeros(3, np.float32),
        "preprocess.0.scale": np.ones(3, np.float32),
        "module.state.network.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
        "module.state.steps": np.array(7, np.int64),
    }
    names = [name for name in tensors if name.startswith("module.state.")]
    metadata = {
        "module": {
            "class": "Diffusion",
            "args": {"n_features": 3},
            "state": {name.removeprefix("module.state."): name for name in names},
        },
        "features": ["a", "b", "c"],
        "preprocess": [
            {"op": "standardize", "mean": "preprocess.0.mean", "scale": "preprocess.0.scale"}
        ],
        "thresholds": [],
        "provenance": {},
    }
    return metadata, tensors


def test_everything_comes_back_to_who_asks_for_it(content: Content, tmp_path: Path) -> None:
    metadata, tensors = content
    write_bundle(tmp_path / "m.vael", metadata, tensors)
    found, arrays = read_bundle(tmp_path / "m.vael", frozen=False)
    identity = found.pop("identity")
    assert found == {"format": 1, **metadata}
    assert len(identity) == 64
    assert arrays.keys() == tensors.keys()
    for name, array in tensors.items():
        assert arrays[name].dtype == array.dtype
        assert arrays[name].shape == array.shape
        assert np.array_equal(arrays[name], array)


def test_the_scorers_say_who_can_load_it(content: Content, tmp_path: Path) -> None:
    data = bundle_bytes(*content)
    for read in (parse_bundle, _core.Model.from_bytes):
        with pytest.raises(BundleError, match=f"^{REFUSED}$"):
            read(data)
    path = tmp_path / "m.vael"
    path.write_bytes(data)
    for load in (vaelocity.load, read_bundle):
        with pytest.raises(BundleError, match=rf"m\.vael: {REFUSED}$"):
            load(path)


def test_a_frozen_model_may_have_state_beside_its_steps(
    make_bundle: Callable[..., Path], content: Content, tmp_path: Path
) -> None:
    metadata, tensors = read_bundle(make_bundle([5, 4, 2]))
    scores = vaelocity.load(make_bundle([5, 4, 2])).score(np.ones((1, 5), np.float32))
    metadata["module"] = content[0]["module"]
    tensors |= {name: array for name, array in content[1].items() if name.startswith("module.")}
    write_bundle(tmp_path / "m.vael", metadata, tensors)
    assert vaelocity.load(tmp_path / "m.vael").score(np.ones((1, 5), np.float32)) == scores


def test_the_identity_is_that_of_all_that_scores(content: Content) -> None:
    def identity(metadata: dict[str, Any], tensors: dict[str, np.ndarray]) -> Any:
        return parse_bundle(bundle_bytes(metadata, tensors), frozen=False)[0]["identity"]

    metadata, tensors = content
    expected = identity(metadata, tensors)
    assert identity({**metadata, "provenance": {"seed": 3}}, tensors) == expected
    for name in tensors:
        assert identity(metadata, {**tensors, name: tensors[name] + 1}) != expected
    other = copy.deepcopy(metadata)
    other["module"]["args"]["steps"] = 5
    assert identity(other, tensors) != expected


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m, t: t.pop("module.state.steps"), r"tensor module\.state\.steps is missing"),
        (lambda m, t: m["module"].update(state=["network.weight"]), "module: expected a table"),
        (lambda m, t: m.update(identity="0" * 64), "identity: not that of"),
        (lambda m, t: m.pop("preprocess"), "metadata: 'preprocess' is missing"),
        (lambda m, t: m["features"].pop(), r"tensor preprocess\.0\.mean: got "),
    ],
)
def test_what_is_wrong_is_named(
    content: Content, change: Callable[[Any, Any], object], said: str
) -> None:
    from test_bundle import sealed

    metadata, tensors = content
    metadata = {"format": 1, **metadata}
    change(metadata, tensors)
    with pytest.raises(BundleError, match=said):
        parse_bundle(sealed(metadata, tensors), frozen=False)


def test_damage_is_found(content: Content) -> None:
    data = bytearray(bundle_bytes(*content))
    data[-1] ^= 1
    for read in (lambda data: parse_bundle(data, frozen=False), _core.Model.from_bytes):
        with pytest.raises(BundleError, match=r"^checksum mismatch: "):
            read(bytes(data))
