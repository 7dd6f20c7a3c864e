"""`vaelocity export --qonnx`, computed as QONNX defines it, and by hls4ml's compiled emulation."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vaelocity import frozen
from vaelocity.cli import main
from vaelocity.export import qonnx_model

onnx = pytest.importorskip("onnx")


def standardised(path: Path, rows: np.ndarray) -> np.ndarray:
    network = frozen.read("any", path)
    return ((rows - network.mean) * network.inverse_scale).astype(np.float32)


def expected(path: Path, rows: np.ndarray, kind: str) -> np.ndarray:
    """What the float64 network makes of the rows where the graph has its output."""
    network = frozen.read("any", path, kind)
    if kind != "reconstruction":
        x = standardised(path, rows).astype(np.float64)
        for layer in network.scored_encoder:
            x = layer(x)
        return x
    decoded = network.decode(network.encode(rows))
    return (decoded - network.mean) * network.inverse_scale


def quant(x: np.ndarray, scale: np.ndarray, zero: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """QONNX's Quant, signed, not narrow, rounding half to even."""
    half = 2.0 ** (bits - 1)
    return np.clip(np.rint(x / scale + zero), -half, half - 1) * scale


OPERATORS: dict[str, Callable[..., np.ndarray]] = {
    "Quant": quant,
    "MatMul": np.matmul,
    "Add": np.add,
    "Relu": lambda x: np.maximum(x, 0),
    "Tanh": np.tanh,
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "LeakyRelu": lambda x: np.where(x > 0, x, np.float32(0.01) * x),
}


def run(model: bytes, features: np.ndarray) -> np.ndarray:
    graph = onnx.load_model_from_string(model).graph
    values = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    values["features"] = features.astype(np.float64)
    for node in graph.node:
        values[node.output[0]] = OPERATORS[node.op_type](*(values[name] for name in node.input))
    return values[graph.output[0].name]


def rows_of(n: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, 11)).astype(np.float32)


@pytest.mark.parametrize("kind", ["reconstruction", "mu2", "kl", "rz"])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh", "sigmoid", "elu"])
def test_the_graph_is_the_network_up_to_its_steps(
    activation: str, kind: str, make_bundle: Callable[..., Path]
) -> None:
    path, rows = make_bundle([11, 9, 4], True, activation, 5), rows_of(100)
    exact, x = expected(path, rows, kind), standardised(path, rows)
    errors = []
    for bits in (12, 16, 24):
        model = qonnx_model(path, weight_bits=bits, activation_bits=bits, integer_bits=6, kind=kind)
        found = run(model, x)
        assert found.shape == exact.shape
        assert np.array_equal(found, np.rint(found * 2.0 ** (bits - 6)) * 2.0 ** (6 - bits))
        errors.append(np.abs(found - exact).max())
    # Four bits are a factor of 16, eight one of 256; the largest of many errors strays a little.
    assert errors[0] < 16 * 2.0**-6
    assert errors[1] < errors[0] / 4
    assert errors[2] < errors[1] / 64


def test_what_each_node_says(make_bundle: Callable[..., Path]) -> None:
    model = onnx.load_model_from_string(
        qonnx_model(make_bundle([11, 9, 4], True), weight_bits=8, activation_bits=10, kind="mu2")
    )
    assert [(port.name, [d.dim_value for d in port.type.tensor_type.shape.dim])
            for port in (*model.graph.input, *model.graph.output)] == [
        ("features", [1, 11]), ("latent", [1, 4])]  # fmt: skip
    assert {entry.domain for entry in model.opset_import} == {"", "qonnx.custom_op.general"}
    constants = {c.name: onnx.numpy_helper.to_array(c) for c in model.graph.initializer}
    quants = [node for node in model.graph.node if node.op_type == "Quant"]
    assert len(quants) == 1 + 2 * 3
    for node in quants:
        (scale,), (bits,) = constants[node.input[1]], constants[node.input[3]]
        assert np.frexp(scale)[0] == 0.5
        assert bits == (8 if node.input[0] in constants else 10)
        if node.input[0] in constants:
            steps = np.abs(constants[node.input[0]]).max() / scale
            assert 2**6 <= steps <= 2**7  # all bits are used
    uses = [name for node in model.graph.node for name in node.input if name in constants]
    assert len(uses) == len(set(uses)) == len(constants)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weight_bits": 1}, "weight_bits: expected 2 to 32, got 1"),
        ({"activation_bits": 40}, "activation_bits: expected 2 to 32, got 40"),
        ({"integer_bits": 17}, "integer_bits: expected 1 to 16, got 17"),
        ({"kind": "elbo"}, "kind: elbo needs the latent space and the reconstruction"),
    ],
)
def test_what_cannot_be_written_is_said(
    arguments: dict, message: str, make_bundle: Callable[..., Path]
) -> None:
    with pytest.raises(ValueError, match=message):
        qonnx_model(make_bundle([11, 9, 4], True), **arguments)


def test_networks_that_hls4ml_does_not_read(
    make_bundle: Callable[..., Path], image_bundles: list[Path]
) -> None:
    with pytest.raises(ValueError, match=r"activation: expected one that hls4ml reads .* got gelu"):
        qonnx_model(make_bundle([5, 4, 3], activation="gelu"))
    with pytest.raises(ValueError, match="encoder: expected dense layers, got a step conv"):
        qonnx_model(image_bundles[0])


def test_on_the_command_line(
    make_bundle: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, target = make_bundle([5, 4, 3]), tmp_path / "m.onnx"
    bits = ["--weight-bits", "6", "--activation-bits", "12", "--integer-bits", "4"]
    assert main(["export", str(path), "--qonnx", str(target), *bits]) == 0
    expected = qonnx_model(path, weight_bits=6, activation_bits=12, integer_bits=4)
    assert target.read_bytes() == expected
    assert f"wrote {target}" in capsys.readouterr().out
    assert main(["export", str(path), "--onnx", str(target), "--weight-bits", "6"]) == 2
    assert "--weight-bits: only with --qonnx" in capsys.readouterr().err


HLS4ML = """
import sys
import hls4ml, numpy as np, onnx
graph = onnx.load(sys.argv[1])
config = hls4ml.utils.config_from_onnx_model(graph, granularity="name", backend="Vitis")
# Its default for the input cuts bits off before the graph's first Quant can round them.
config["LayerName"]["features"]["Precision"]["result"] = "fixed<16,6,RND_CONV,SAT>"
model = hls4ml.converters.convert_from_onnx_model(
    graph, output_dir=sys.argv[2], backend="Vitis", hls_config=config
)
model.compile()
np.save(sys.argv[4], model.predict(np.load(sys.argv[3])))
"""
"""In a process of its own: it prints, warns, and loads the library that it compiles."""


@pytest.mark.skipif(
    importlib.util.find_spec("hls4ml") is None, reason="needs hls4ml: pip install hls4ml"
)
@pytest.mark.skipif(shutil.which("g++") is None, reason="hls4ml compiles its emulation with g++")
def test_the_emulation_of_hls4ml_gives_the_outputs(
    make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    """Equal to the graph's own arithmetic, bit for bit: every type in between is exact."""
    path, rows = make_bundle([11, 9, 4], True, "relu", 5), rows_of(200)
    model = qonnx_model(path, weight_bits=12, activation_bits=16, kind="reconstruction")
    (tmp_path / "m.onnx").write_bytes(model)
    x = standardised(path, rows)
    np.save(tmp_path / "x.npy", x)
    arguments = ("m.onnx", "project", "x.npy", "y.npy")
    done = subprocess.run(
        [sys.executable, "-c", HLS4ML, *arguments],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = np.load(tmp_path / "y.npy")
    np.testing.assert_array_equal(found, run(model, x).astype(np.float32))
    exact = expected(path, rows, "reconstruction")
    assert np.abs(found - exact).max() < 2.0**-6
    score, exact_score = (0.5 * np.square(y - x).sum(axis=1) for y in (found, exact))
    np.testing.assert_allclose(score, exact_score, rtol=0.02)
