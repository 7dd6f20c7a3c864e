"""`vaelocity export --qonnx`: as qonnx executes it, and as hls4ml's C++ computes it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from vaelocity import frozen
from vaelocity._core import BundleError
from vaelocity.bundle import bundle_bytes, read_bundle
from vaelocity.cli import main
from vaelocity.export import qonnx_model

onnx = pytest.importorskip("onnx")

HLS = """
import sys
import numpy as np
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.util.cleanup import cleanup_model
import hls4ml

source, folder, x = sys.argv[1], sys.argv[2], np.load(sys.argv[3])
graph = cleanup_model(ModelWrapper(source))
name = graph.graph.input[0].name
executed = [next(iter(execute_onnx(graph, {name: row[None]}).values()))[0] for row in x]
config = hls4ml.utils.config.config_from_onnx_model(
    graph, granularity="name", backend="Vitis", default_precision="ap_fixed<32,16>"
)
model = hls4ml.converters.convert_from_onnx_model(
    graph, output_dir=folder, backend="Vitis", hls_config=config
)
model.compile()
np.savez(sys.argv[4], executed=executed, firmware=model.predict(x))
"""


def nodes(graph: bytes) -> list[tuple[str, float, float]]:
    """(name, scale, bits) of every Quant."""
    model = onnx.load_model_from_string(graph).graph
    values = {each.name: onnx.numpy_helper.to_array(each) for each in model.initializer}
    return [
        (node.output[0], float(values[node.input[1]]), float(values[node.input[3]]))
        for node in model.node
        if node.op_type == "Quant"
    ]


def rows(n: int, d: int) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(n, d)).astype(np.float32)


@pytest.mark.parametrize(("part", "width"), [("reconstruction", 7), ("latent", 3)])
@pytest.mark.parametrize("gaussian", [False, True])
def test_every_tensor_has_its_bits_and_a_power_of_two(
    part: str, width: int, gaussian: bool, make_bundle: Callable[..., Path]
) -> None:
    path = make_bundle([7, 6, 3], gaussian, "relu")
    graph = qonnx_model(path, rows(50, 7), part=part, weight_bits=6, value_bits=12)
    (out,) = onnx.load_model_from_string(graph).graph.output
    assert [d.dim_value for d in out.type.tensor_type.shape.dim] == [1, width]
    found = nodes(graph)
    assert len(found) == 1 + 3 * (4 if part == "reconstruction" else 2)
    for name, scale, bits in found:
        assert bits == (6 if name.endswith("_weight") else 12)
        assert np.log2(scale) == np.floor(np.log2(scale))
    network = frozen.read("", path)
    largest = max(np.abs(layer.weight).max() for layer in network.encoder[:1])  # type: ignore[union-attr]
    (scale,) = (scale for name, scale, _ in found if name == "layer0_weight")
    assert 2**4 * scale <= largest < 2**5 * scale  # not one bit is wasted, none lacks


def test_ranges_are_those_of_the_rows(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    path = make_bundle([7, 6, 3])
    small, large = (dict((n, s) for n, s, _ in nodes(qonnx_model(path, f * rows(50, 7))))
                    for f in (1, 16))  # fmt: skip
    assert large["x_fixed"] > small["x_fixed"]
    assert large["layer0_weight"] == small["layer0_weight"]
    metadata, tensors = read_bundle(path)
    tensors[metadata["conformance"]["rows"]][:4] = 16 * rows(4, 7)
    metadata["conformance"]["data_rows"] = 4
    (tmp_path / "kept.vael").write_bytes(bundle_bytes(metadata, tensors))
    kept = {name: scale for name, scale, _ in nodes(qonnx_model(tmp_path / "kept.vael"))}
    assert kept["x_fixed"] > small["x_fixed"]


def test_what_cannot_be_written_is_named(
    make_bundle: Callable[..., Path], image_bundles: list[Path]
) -> None:
    with pytest.raises(ValueError, match="layer 0: hls4ml has no gelu, only identity, relu"):
        qonnx_model(make_bundle([7, 6, 3], False, "gelu"), rows(5, 7))
    with pytest.raises(BundleError, match="QONNX takes dense steps only"):
        qonnx_model(image_bundles[0])
    path = make_bundle([7, 6, 3])
    for wrong, said in (
        ({"part": "score"}, "part: expected one of reconstruction, latent"),
        ({"weight_bits": 1}, "weight_bits: expected 2 to 32, got 1"),
        ({"value_bits": 64}, "value_bits: expected 2 to 32, got 64"),
        ({"rows": None}, "rows: expected some, the file keeps none of its data"),
        ({"rows": rows(5, 6)}, r"rows: expected \[n, 7\]"),
        ({"rows": rows(5, 7) * np.nan}, "rows: a value is NaN"),
    ):
        with pytest.raises(ValueError, match=said):
            qonnx_model(path, **{"rows": rows(5, 7), **wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_hls4ml_computes_it(
    activation: str, make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    """16 bits of value and of weight: firmware, qonnx and the network agree to the rounding."""
    for package in ("hls4ml", "qonnx"):
        if find_spec(package) is None:
            pytest.skip(f"needs {package} (extra fpga)")
    path = make_bundle([7, 6, 3], True, activation)
    given = rows(200, 7)
    network = frozen.read("", path, "reconstruction")
    x = ((given - network.mean) * network.inverse_scale).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    source = tmp_path / "m.onnx"
    source.write_bytes(qonnx_model(path, given, weight_bits=16, value_bits=18))
    names = [source, tmp_path / "firmware", tmp_path / "x.npy", tmp_path / "y.npz"]
    done = subprocess.run(
        [sys.executable, "-c", HLS, *map(str, names)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = np.load(tmp_path / "y.npz")
    y = network.decode(network.encode(given))
    exact = (y - network.mean) * network.inverse_scale
    step = nodes(source.read_bytes())[-1][1]
    assert np.abs(found["executed"] - exact).max() < 40 * step
    allowed = 40 * step + _table_error(network)
    assert np.abs(found["firmware"] - exact).max() < allowed
    assert np.abs(exact).max() > 5 * allowed


def _table_error(network: frozen.Network) -> float:
    """hls4ml's tanh is a table of 1,024 places from -8 to 8, read without interpolation: every one
    adds up to 1/64, and the layers behind it make of it what their weights make."""
    error = 0.0
    for layer in (*network.scored_encoder, *network.decoder):
        assert isinstance(layer, frozen.Dense)
        error *= float(np.abs(layer.weight).sum(1).max())
        error += (layer.activation == "tanh") / 64
    return error


def test_command(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    path, target = make_bundle([7, 6, 3]), tmp_path / "m.onnx"
    np.save(tmp_path / "x.npy", rows(50, 7))
    args = ["export", str(path), "--qonnx", str(target), "--part", "latent"]
    args += ["--weight-bits", "4", "--calibrate", str(tmp_path / "x.npy")]
    assert main(args) == 0
    assert target.read_bytes() == qonnx_model(path, rows(50, 7), part="latent", weight_bits=4)
