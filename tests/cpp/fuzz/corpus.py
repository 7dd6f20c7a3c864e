"""Writes the fuzzer's first inputs: small models of every kind of step, and files that are none.

python tests/cpp/fuzz/corpus.py FOLDER
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vaelocity import _core
from vaelocity.bundle import bundle_bytes, parse_bundle
from vaelocity.narrowing import narrowed
from vaelocity.threshold import Threshold

NETWORKS = [
    (False, "relu", "reconstruction"),
    (True, "tanh", "elbo"),
    (True, "leaky_relu", "mu2"),
    (False, "gelu", "reconstruction"),
]


def model(gaussian: bool, activation: str, kind: str) -> bytes:
    """A network 3-4-2 with conformance rows and a threshold."""
    rng = np.random.default_rng(0)

    def layer(name: str, n_in: int, n_out: int, activation: str) -> dict[str, Any]:
        tensors[f"{name}.w"] = rng.normal(size=(n_out, n_in)).astype(np.float32)
        tensors[f"{name}.b"] = rng.normal(size=n_out).astype(np.float32)
        names = {"weight": f"{name}.w", "bias": f"{name}.b"}
        return {"op": "dense", **names, "activation": activation, "slope": 0.25}

    tensors: dict[str, np.ndarray] = {"mean": np.zeros(3, "f4"), "scale": np.ones(3, "f4")}
    metadata: dict[str, Any] = {
        "features": ["a", "b", "c"],
        "preprocess": [{"op": "standardize", "mean": "mean", "scale": "scale"}],
        "encoder": [
            layer("e0", 3, 4, activation),
            layer("e1", 4, 4 if gaussian else 2, "identity"),
        ],
        "latent": {"kind": "gaussian" if gaussian else "point", "size": 2},
        "decoder": [layer("d0", 2, 4, activation), layer("d1", 4, 3, "identity")],
        "score": {"kind": kind, "loss": "squared_error", "beta": 0.5},
        "thresholds": [Threshold("t", kind, 1.5, 0.01, 0.01, (0.005, 0.02), 1000).to_dict()],
    }
    tensors["rows"] = rng.normal(size=(2, 3)).astype(np.float32)
    draft = _core.Model.from_bytes(bundle_bytes(metadata, tensors), verify=False)
    tensors["scores"], tensors["flags"] = draft.score(tensors["rows"]), draft.flags(tensors["rows"])
    conformance = {"rows": "rows", "scores": {kind: "scores"}, "flags": {kind: "flags"}}
    return bundle_bytes({**metadata, "conformance": conformance}, tensors)


def images() -> bytes:
    """Every step that is not dense, on an image of 1 x 4 x 4."""
    rng = np.random.default_rng(1)
    tensors: dict[str, np.ndarray] = {"mean": np.zeros(16, "f4"), "scale": np.ones(16, "f4")}

    def step(op: str, shape: tuple[int, ...], out: int, **entries: Any) -> dict[str, Any]:
        name = f"t{len(tensors)}"
        tensors[f"{name}.w"] = rng.normal(size=shape).astype(np.float32)
        tensors[f"{name}.b"] = rng.normal(size=out).astype(np.float32)
        return {"op": op, "weight": f"{name}.w", "bias": f"{name}.b", **entries}

    window = {"stride": [2, 1], "padding": [1, 1]}
    back = {"stride": [2, 2], "padding": [0, 0], "output_padding": [0, 0]}
    pool = {"input": [2, 2, 4], "kernel": [2, 2], "stride": [1, 2], "padding": [1, 0]}
    metadata: dict[str, Any] = {
        "features": [f"x{j}" for j in range(16)],
        "preprocess": [{"op": "standardize", "mean": "mean", "scale": "scale"}],
        "encoder": [
            step("conv", (2, 1, 3, 3), 2, input=[1, 4, 4], **window),
            {"op": "max_pool", **pool},
            {"op": "average_pool", **pool, "input": [2, 3, 2], "padding": [0, 1]},
            step("layer_norm", (8,), 8, epsilon=1e-5, groups=2),
            {"op": "residual", "from": 2},
            step("dense", (4, 8), 4),
        ],
        "latent": {"kind": "point", "size": 4},
        "decoder": [step("conv_transpose", (1, 1, 2, 2), 1, input=[1, 2, 2], **back)],
        "score": {"kind": "reconstruction", "loss": "squared_error", "beta": 0.5},
        "thresholds": [],
    }
    return bundle_bytes(metadata, tensors)


def physics() -> Iterator[bytes]:
    """Every step of preprocessing, and every loss and latent space that the others lack."""
    pre = [
        {"op": "missing", "flag": [0], "impute": [1], "values": [0.5]},
        {"op": "mask_zeros", "columns": [0, 2]},
        {"op": "clip", "columns": [1, 2], "low": [None, -1.5], "high": [2, None]},
        {"op": "wrap", "columns": [2]},
        {"op": "log1p", "columns": [0]},
        {"op": "standardize", "mean": "mean", "scale": "scale"},
    ]
    tensors = {
        **{"mean": np.zeros(3, "f4"), "scale": np.ones(3, "f4")},
        **{
            "w13": np.ones((1, 3), "f4"),
            "w31": np.ones((3, 1), "f4"),
            "w11": np.ones((1, 1), "f4"),
        },
        **{"b1": np.zeros(1, "f4"), "b3": np.zeros(3, "f4")},
    }
    decoders = {"point": ("w31", "b3"), "embedding": ("w11", "b1"), "output": None}
    for loss in ("absolute_error", "huber", "bce_with_logits"):
        for latent, names in decoders.items():
            kind = {"embedding": "latent_reconstruction"}.get(latent, latent)
            dense = names and {"op": "dense", "weight": names[0], "bias": names[1]}
            metadata: dict[str, Any] = {
                "features": ["a", "b", "c"],
                "preprocess": pre,
                "encoder": [{"op": "dense", "weight": "w13", "bias": "b1"}],
                "latent": {"kind": latent, "size": 1},
                "decoder": [dense] if dense else [],
                "score": {
                    "kind": "reconstruction" if latent == "point" else kind,
                    "loss": loss,
                    "delta": 0.5,
                },
                "thresholds": [],
            }
            yield bundle_bytes(metadata, tensors)


def without_tensors(metadata: str) -> bytes:
    """A file that is right but for its metadata."""
    mark, zeros = b'"checksum":"sha256:', b"0" * 64
    entries = {"checksum": f"sha256:{zeros.decode()}", "vaelocity": metadata}
    text = json.dumps({"__metadata__": entries}, separators=(",", ":")).encode()
    data = len(text).to_bytes(8, "little") + text
    at = data.index(mark) + len(mark)
    return data[:at] + hashlib.sha256(data).hexdigest().encode() + data[at + len(zeros) :]


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, network in enumerate(NETWORKS):
        (folder / f"model{i}.vael").write_bytes(model(*network))
    (folder / "bfloat16.vael").write_bytes(
        bundle_bytes(*narrowed(*parse_bundle(model(*NETWORKS[0]))))
    )
    (folder / "images.vael").write_bytes(images())
    for i, data in enumerate(physics()):
        (folder / f"physics{i}.vael").write_bytes(data)
    (folder / "empty").write_bytes(b"")
    (folder / "brace").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    deep = b'{"__metadata__":' + b"[" * 5000
    (folder / "deep").write_bytes(len(deep).to_bytes(8, "little") + deep)
    # Whatever walks such a value by recursion overflows the stack.
    nested = "[" * 300_000 + "]" * 300_000
    start = '{"format":1,"features":["a"],"latent":{"kind":"point","size":1},"preprocess":'
    (folder / "nested").write_bytes(without_tensors(f'{start}[{{"op":{nested}}}]}}'))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
