"""A model file as an ONNX graph: preprocessing, network, score and decision; needs onnx.

    rows float32 [n, d] -> score float32 [n], anomalous bool [n] where there is a threshold

Scores agree with the library's up to float32 rounding, not bit for bit: a runtime adds in an order
of its own. NaN and saturation are the library's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity._core import Model, __version__
from vaelocity.bundle import parse_bundle
from vaelocity.scorer import Scorer
from vaelocity.steps import require_dense
from vaelocity.threshold import Threshold

__all__ = ["onnx_model"]

OPSET = 18
IR_VERSION = 10

_DECODED = ("reconstruction", "elbo")


def onnx_model(
    path: str | os.PathLike[str],
    *,
    kind: str | None = None,
    threshold: float | str | Threshold | None = None,
) -> bytes:
    """The serialised ONNX model (opset 18) that scores as the model file `path` does.

    Args:
        path: a .vael file.
        kind: the score; default: the file's own.
        threshold: as `Scorer.predict` takes it; default: the file's first one for this kind, if
            any. With one there is an output "anomalous", and the initializer "threshold" holds it.

    Raises:
        ModuleNotFoundError: onnx is not installed.
        OSError, BundleError: the file cannot be read, is damaged, or has no such score.
        ValueError: the threshold is NaN, unknown, or another model's.
    """
    if find_spec("onnx") is None:
        raise ModuleNotFoundError(
            "writing ONNX needs onnx: pip install 'vaelocity[onnx]'", name="onnx"
        )
    data = Path(path).read_bytes()
    scorer = Scorer(Model.from_bytes(data, kind or "", verify=True))
    metadata, tensors = parse_bundle(data)
    cut = None
    if threshold is not None or scorer.thresholds:
        cut = scorer.threshold(threshold)
    require_dense(metadata, "the ONNX graph")
    return _Graph(metadata, tensors, scorer.kind).model(scorer, cut)


class _Graph:
    """Nodes and constants of one graph; the methods append to them."""

    def __init__(
        self, metadata: dict[str, Any], tensors: Mapping[str, npt.NDArray[Any]], kind: str
    ) -> None:
        self.metadata, self.tensors, self.kind = metadata, tensors, kind
        self.nodes: list[Any] = []
        self.constants: dict[str, npt.NDArray[Any]] = {"axis": np.array([1], np.int64)}

    def model(self, scorer: Scorer, cut: float | None) -> bytes:
        """The whole graph."""
        from onnx import TensorProto, checker, helper, numpy_helper

        score = self._saturated(self._score(self._standardised()))
        self._node("Identity", [score], "score")
        outputs = [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n"])]
        if cut is not None:
            # Not (score <= threshold): a NaN is anomalous, as Scorer.predict has it.
            normal = self._node("LessOrEqual", ["score", self._constant("threshold", cut)])
            self._node("Not", [normal], "anomalous")
            outputs.append(helper.make_tensor_value_info("anomalous", TensorProto.BOOL, ["n"]))
        d = scorer.n_features
        graph = helper.make_graph(
            self.nodes,
            "vaelocity",
            [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", d])],
            outputs,
            [numpy_helper.from_array(array, name) for name, array in self.constants.items()],
        )
        model = helper.make_model(
            graph,
            producer_name="vaelocity",
            producer_version=__version__,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )
        facts = {"vaelocity.model": scorer.fingerprint, "vaelocity.kind": scorer.kind}
        if scorer.identity is not None:
            facts["vaelocity.identity"] = scorer.identity
        helper.set_model_props(model, facts)
        checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString())

    # ---- Parts of the score

    def _standardised(self) -> str:
        step = self.metadata["preprocess"][-1]
        with np.errstate(over="ignore"):
            inverse = np.float32(1) / self.tensors[step["scale"]]
        centred = self._node("Sub", ["rows", self._constant("mean", self.tensors[step["mean"]])])
        return self._node("Mul", [centred, self._constant("inverse_scale", inverse)])

    def _score(self, x: str) -> str:
        latent = self._network("encoder", x)
        size = self.metadata["latent"]["size"]
        mu, logvar = latent, ""
        if self.metadata["latent"]["kind"] == "gaussian":
            mu = self._columns(latent, 0, size)
            if self.kind in ("kl", "rz", "elbo"):
                logvar = self._columns(latent, size, 2 * size)
        if self.kind in ("kl", "elbo"):
            kl = self._kl(mu, logvar)
        if self.kind in _DECODED:
            error = self._node("Sub", [self._network("decoder", mu), x])
            reconstruction = self._half(self._sum("ReduceSumSquare", error))
        if self.kind == "mu2":
            return self._sum("ReduceSumSquare", mu)
        if self.kind == "rz":
            precision = self._node("Exp", [self._node("Neg", [logvar])])
            terms = self._node("Mul", [self._node("Mul", [mu, mu]), precision])
            return self._sum("ReduceSum", terms)
        if self.kind == "kl":
            return kl
        if self.kind == "elbo":
            beta = self._constant("beta", self.metadata["score"].get("beta", 1.0))
            return self._node("Add", [reconstruction, self._node("Mul", [beta, kl])])
        return reconstruction

    def _kl(self, mu: str, logvar: str) -> str:
        """1/2 sum (mu^2 + exp(logvar) - 1 - logvar); ONNX has no expm1."""
        square = self._node("Mul", [mu, mu])
        variance = self._node("Sub", [self._node("Exp", [logvar]), self._constant("one", 1.0)])
        terms = self._node("Add", [square, self._node("Sub", [variance, logvar])])
        return self._half(self._sum("ReduceSum", terms))

    def _saturated(self, score: str) -> str:
        """NaN where the row is not finite; else at most float32's largest number."""
        largest = self._constant("largest", np.finfo(np.float32).max)
        fits = self._node("LessOrEqual", [score, largest])
        score = self._node("Where", [fits, score, largest])
        # 0 * x is 0 for finite x and NaN for all others.
        zeros = self._node("Mul", ["rows", self._constant("zero", 0.0)])
        return self._node("Add", [score, self._sum("ReduceSum", zeros)])

    # ---- Layers

    def _network(self, part: str, value: str) -> str:
        for i, step in enumerate(self.metadata[part]):
            weight = self._constant(f"{part}.{i}.weight", self.tensors[step["weight"]])
            bias = self._constant(f"{part}.{i}.bias", self.tensors[step["bias"]])
            value = self._node("Gemm", [value, weight, bias], f"{part}.{i}", transB=1)
            value = self._activation(value, step)
        return value

    def _activation(self, x: str, step: Mapping[str, Any]) -> str:
        name = step.get("activation", "identity")
        if name == "identity":
            return x
        if name == "leaky_relu":
            return self._node("LeakyRelu", [x], alpha=float(step.get("slope", 0.01)))
        if name == "silu":
            return self._node("Mul", [x, self._node("Sigmoid", [x])])
        if name == "gelu":
            # x / 2 * (1 + erf(x / sqrt 2)): an operator of its own only from opset 20 on.
            root = self._constant("sqrt_half", np.sqrt(0.5))
            erf = self._node("Erf", [self._node("Mul", [x, root])])
            return self._node(
                "Mul", [self._half(x), self._node("Add", [erf, self._constant("one", 1.0)])]
            )
        operator = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "elu": "Elu"}[name]
        return self._node(operator, [x])

    # ---- Small things

    def _node(
        self, operator: str, inputs: Sequence[str], output: str | None = None, **attributes: Any
    ) -> str:
        from onnx import helper

        output = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    def _constant(self, name: str, value: Any) -> str:
        self.constants[name] = np.asarray(value, np.float32)
        return name

    def _sum(self, operator: str, value: str) -> str:
        return self._node(operator, [value, "axis"], keepdims=0)

    def _half(self, value: str) -> str:
        return self._node("Mul", [value, self._constant("half", 0.5)])

    def _columns(self, value: str, start: int, stop: int) -> str:
        for bound in (start, stop):
            self.constants[f"at_{bound}"] = np.array([bound], np.int64)
        return self._node("Slice", [value, f"at_{start}", f"at_{stop}", "axis"])
