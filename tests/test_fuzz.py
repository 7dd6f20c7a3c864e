"""The file reader on damaged files. `make fuzz` searches for more; what it finds is mended and kept
here as an input."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from building import ROOT, run

from vaelocity import _core
from vaelocity.bundle import read_bundle, write_bundle


def test_no_damage_crashes_the_reader(sanitized: Path, tmp_path: Path) -> None:
    """Under the address and undefined-behaviour sanitizers; each time with the right checksum."""
    corpus = tmp_path / "corpus"
    run(sys.executable, ROOT / "tests" / "cpp" / "fuzz" / "corpus.py", corpus)
    inputs = sorted(corpus.iterdir())
    out = run(sanitized / "tests" / "cpp" / "replay", *inputs)
    sound = 8 + 9  # networks and images; preprocessing, losses and latents
    assert out == f"{len(inputs) + sound * 400} inputs\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"score": {"kind": "elbo", "loss": "squared_error", "beta": 1e300}},
            "score: expected a finite number as beta",
        ),
        ({"latent": {"kind": "gaussian", "size": 2.0}}, "latent: the size is no integer"),
        ({"preprocess": []}, "preprocess: expected one step"),
    ],
)
def test_numbers_that_no_plan_can_hold_are_refused(
    make_bundle: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, object],
    message: str,
) -> None:
    path = make_bundle([4, 2], gaussian=True)
    metadata, tensors = read_bundle(path)
    monkeypatch.setattr("vaelocity.bundle.check_structure", lambda *_: None)
    write_bundle(path, {**metadata, **change}, tensors)
    with pytest.raises(_core.BundleError, match=message):
        _core.Model.from_file(str(path))


def test_a_slope_that_no_float_holds_is_refused(
    make_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_bundle([4, 2], activation="leaky_relu")
    metadata, tensors = read_bundle(path)
    metadata["encoder"][0]["slope"] = float(np.finfo(np.float64).max)
    monkeypatch.setattr("vaelocity.bundle.check_structure", lambda *_: None)
    write_bundle(path, metadata, tensors)
    with pytest.raises(_core.BundleError, match=r"encoder\.0: expected a finite number as slope"):
        _core.Model.from_file(str(path))
