"""An ONNX file of an autoencoder as a .vael file; needs onnx, and onnxruntime to compare."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vaelocity.importing.chain import Chain, UnsupportedNode, chain
from vaelocity.importing.network import Network, autoencoder, vae
from vaelocity.importing.onnx_nodes import NODES
from vaelocity.importing.write import example_rows, write_network

if TYPE_CHECKING:
    from vaelocity.scorer import Scorer


def onnx_file(
    model: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    example: Any = None,
    mean: npt.ArrayLike | None = None,
    scale: npt.ArrayLike | None = None,
    kind: str | None = None,
    beta: float = 1.0,
    feature_names: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
) -> Scorer:
    """Write an ONNX autoencoder as a .vael file and load it.

    The graph has one input [n, d], or images [n, channels, height, width] (signals [n, channels,
    length]), which are rows in C order then, and gives its reconstruction, or a VAE's
    (reconstruction, mu, logvar). Gemm, MatMul, Conv, ConvTranspose, MaxPool, AveragePool,
    GlobalAveragePool, BatchNormalization, LayerNormalization, GroupNormalization,
    InstanceNormalization, Add (of constants, and of x to f(x)), Sub, Mul, Div, Flatten, Reshape,
    Split, Slice, Relu, LeakyRelu, Tanh, Sigmoid, Elu, Gelu, Swish and RandomNormalLike, which is
    taken as 0, are supported; see `vaelocity.freeze` for what is computed.

    Args:
        model: the .onnx file.
        path: the file to write.
        example: float [n, d] or shaped as the input, see `vaelocity.freeze`; None: 256 normal
            random rows, which are enough to compare scores, but no reference for drift and
            explanations.
        mean, scale, kind, beta, feature_names: as of `vaelocity.freeze`.
        outputs: names of the graph's outputs that are the reconstruction, or the reconstruction,
            mu and logvar, in this order; None: the only one, or the three there are.

    Raises:
        OSError: the file cannot be read.
        ModuleNotFoundError: onnx or onnxruntime is missing.
        UnsupportedNode (a ValueError): an operator that the file has no step for; it is named.
        TypeError, ValueError: another argument that is wrong, no ONNX file, or scores of any kind
            that differ from ONNX Runtime's; see `vaelocity.freeze`.
    """
    for package in ("onnx", "onnxruntime"):
        if find_spec(package) is None:
            raise ModuleNotFoundError(
                f"reading ONNX needs {package}: pip install 'vaelocity[onnx]'", name=package
            )
    import onnx
    from google.protobuf.message import DecodeError

    try:
        proto = onnx.load(os.fspath(model))
        onnx.checker.check_model(proto)
    except (DecodeError, onnx.checker.ValidationError) as error:
        first = str(error).strip().splitlines()[0]
        raise ValueError(f"{os.fspath(model)}: no ONNX model: {first}") from None
    reader = _Reader(proto.graph)
    names = reader.output_names(outputs)
    found = reader.network(names)
    d = found.n_features
    if example is None:
        rows = _random_rows(mean, scale, d)
    else:
        rows = example_rows(example, d, shape=reader.shape)

    def original(x: npt.NDArray[np.float32]) -> list[npt.NDArray[Any]]:
        return _run(_without_noise(proto), reader.input, names, x.reshape(-1, *reader.shape))

    return write_network(
        found,
        path,
        rows,
        original,
        f"ONNX graph {proto.graph.name}",
        mean=mean,
        scale=scale,
        kind=kind,
        beta=beta,
        feature_names=feature_names,
        usual=example is not None,
    )


class _Reader:
    """The values of a graph's nodes."""

    def __init__(self, graph: Any) -> None:
        from onnx import numpy_helper

        constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
        inputs = [each for each in graph.input if each.name not in constants]
        if len(inputs) != 1:
            raise ValueError(f"model: expected one input, got {[each.name for each in inputs]}")
        self.input = inputs[0].name
        self.outputs = [each.name for each in graph.output]
        self.shape = _shape(inputs[0])
        self.values: dict[str, Any] = {name: _exact(array) for name, array in constants.items()}
        self.values[self.input] = Chain((), self.shape)
        for node in graph.node:
            try:
                self._visit(node)
            except UnsupportedNode as error:
                # Perhaps of an output that nobody asks for.
                self.values.update(dict.fromkeys(node.output, error))

    def output_names(self, asked: Sequence[str] | None) -> list[str]:
        """[reconstruction] or [reconstruction, mu, logvar]."""
        names = self.outputs if asked is None else list(asked)
        if len(names) not in (1, 3) or not set(names) <= set(self.outputs):
            raise ValueError(
                "outputs: expected the name of the reconstruction, or of reconstruction, mu and "
                f"logvar, of {', '.join(self.outputs)}; got {names}"
            )
        return names

    def network(self, names: Sequence[str]) -> Network:
        """The network that gives these outputs."""
        chains = [chain(self._wanted(name), f"output {name}") for name in names]
        if len(chains) == 3:
            return vae(chains[0], chains[1], chains[2], prod(self.shape))
        return autoencoder(chains[0], prod(self.shape))

    def _wanted(self, name: str) -> Any:
        """The value; raises what went wrong on the way to it."""
        if isinstance(self.values[name], UnsupportedNode):
            raise self.values[name]
        return self.values[name]

    def _visit(self, node: Any) -> None:
        from onnx import helper, numpy_helper

        where = f"node {node.name or node.output[0]} ({node.op_type})"
        attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        if node.op_type == "Constant" and "value" in attributes:
            self.values[node.output[0]] = _exact(numpy_helper.to_array(attributes["value"]))
            return
        if node.op_type not in NODES or node.domain not in ("", "ai.onnx"):
            raise UnsupportedNode(f"{where}: no step of a .vael file does this")
        inputs = [self._wanted(name) if name else None for name in node.input]
        attributes["outputs"] = len(node.output)
        try:
            found = NODES[node.op_type](where, inputs, attributes)
        except UnsupportedNode:
            raise
        except ValueError as error:
            raise UnsupportedNode(f"{where}: {error}") from None
        results = found if isinstance(found, tuple) else (found,)
        # Optional outputs beyond the first (a dropout's mask) are nothing anybody may use.
        self.values.update(zip(node.output, results, strict=False))


def _exact(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Floats as float64; integers as they are."""
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def _shape(value: Any) -> tuple[int, ...]:
    """Of a row of the graph's input."""
    dims = value.type.tensor_type.shape.dim
    if len(dims) < 2 or not all(dim.HasField("dim_value") for dim in dims[1:]):
        shape = [d.dim_value or d.dim_param or "?" for d in dims]
        raise ValueError(f"model: expected an input [n, d] or [n, c, y, x] of fixed d, got {shape}")
    return tuple(int(dim.dim_value) for dim in dims[1:])


def _random_rows(
    mean: npt.ArrayLike | None, scale: npt.ArrayLike | None, d: int
) -> npt.NDArray[np.float32]:
    rows = np.random.default_rng(0).normal(size=(256, d))
    rows = rows * (1.0 if scale is None else np.asarray(scale, np.float64))
    rows = rows + (0.0 if mean is None else np.asarray(mean, np.float64))
    return rows.astype(np.float32)


def _without_noise(proto: Any) -> Any:
    """The model with zeros for its random numbers, so that a VAE is taken at z = mu."""
    import onnx

    quiet = onnx.ModelProto()
    quiet.CopyFrom(proto)
    for node in quiet.graph.node:
        if node.op_type == "RandomNormalLike":
            # x - x and not a scale of 0, with which ONNX Runtime 1.32 ended the whole process.
            node.op_type = "Sub"
            node.input.append(node.input[0])
            del node.attribute[:]
    return quiet


def _run(
    proto: Any, name: str, outputs: Sequence[str], x: npt.NDArray[np.float32]
) -> list[npt.NDArray[Any]]:
    """The outputs for rows x [n, d], a batch at a time where the graph fixes its size."""
    import onnxruntime

    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    size = session.get_inputs()[0].shape[0]
    n = size if isinstance(size, int) else len(x)
    whole = np.resize(x, (-(-len(x) // n) * n, *x.shape[1:]))
    parts = [session.run(list(outputs), {name: part}) for part in np.split(whole, len(whole) // n)]
    return [np.concatenate(found)[: len(x)] for found in zip(*parts, strict=True)]
