"""Networks with convolutions for the tests: steps in a file's words, and random weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vaelocity.steps import output_image, output_width

Content = tuple[dict[str, Any], dict[str, np.ndarray]]


class Part:
    """Steps one after another; each knows what it is given."""

    def __init__(
        self, name: str, width: int, tensors: dict[str, np.ndarray], rng: np.random.Generator
    ) -> None:
        self.name, self.tensors, self.rng = name, tensors, rng
        self.width = width
        self.image: tuple[int, int, int] = (1, 1, width)
        self.steps: list[dict[str, Any]] = []

    def conv(self, out: int, kernel: Sequence[int], **more: Any) -> Part:
        return self._convolution("conv", out, kernel, more)

    def conv_transpose(self, out: int, kernel: Sequence[int], **more: Any) -> Part:
        more.setdefault("output_padding", [0, 0])
        return self._convolution("conv_transpose", out, kernel, more)

    def pool(self, op: str, kernel: Sequence[int], **more: Any) -> Part:
        more.setdefault("stride", list(kernel))
        more.setdefault("padding", [0, 0])
        return self._add({"op": op, "input": list(self.image), "kernel": list(kernel), **more})

    def dense(self, out: int, **more: Any) -> Part:
        names = self._weights((out, self.width), out)
        return self._add({"op": "dense", **names, **more})

    def layer_norm(self, **more: Any) -> Part:
        names = self._weights((self.width,), self.width)
        return self._add({"op": "layer_norm", **names, "epsilon": 1e-5, **more})

    def residual(self, source: int, **more: Any) -> Part:
        return self._add({"op": "residual", "from": source, **more})

    def shaped(self, *image: int) -> Part:
        """The values are an image from here on."""
        assert np.prod(image) == self.width
        self.image = (image[0], image[1], image[2])
        return self

    def _convolution(self, op: str, out: int, kernel: Sequence[int], more: Any) -> Part:
        channels = (out, self.image[0]) if op == "conv" else (self.image[0], out)
        names = self._weights((*channels, *kernel), out)
        more.setdefault("stride", [1, 1])
        more.setdefault("padding", [0, 0])
        return self._add({"op": op, **names, "input": list(self.image), **more})

    def _weights(self, shape: Sequence[int], out: int) -> dict[str, str]:
        name = f"{self.name}.{len(self.steps)}"
        weight = self.rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]) or 1)
        self.tensors[f"{name}.weight"] = weight.astype(np.float32)
        self.tensors[f"{name}.bias"] = (0.1 * self.rng.normal(size=out)).astype(np.float32)
        return {"weight": f"{name}.weight", "bias": f"{name}.bias"}

    def _add(self, step: dict[str, Any]) -> Part:
        shapes = {name: tensor.shape for name, tensor in self.tensors.items()}
        self.width = output_width(step, shapes, self.width)
        if "input" in step:
            self.image = output_image(step, shapes)
        self.steps.append(step)
        return self


class Draft:
    """A network being put together: an encoder from the features, a decoder from the latent."""

    def __init__(self, n_features: int, latent: int, gaussian: bool = False, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.tensors = {
            "preprocess.0.mean": rng.normal(size=n_features).astype(np.float32),
            "preprocess.0.scale": np.exp(0.3 * rng.normal(size=n_features)).astype(np.float32),
        }
        self.n_features, self.latent, self.gaussian = n_features, latent, gaussian
        self.encoder = Part("encoder", n_features, self.tensors, rng)
        self.decoder = Part("decoder", latent, self.tensors, rng)

    def content(self) -> Content:
        """Metadata and tensors for write_bundle."""
        metadata: dict[str, Any] = {
            "module": {"class": "none", "args": {}},
            "features": [f"f{j}" for j in range(self.n_features)],
            "preprocess": [
                {"op": "standardize", "mean": "preprocess.0.mean", "scale": "preprocess.0.scale"}
            ],
            "encoder": self.encoder.steps,
            "decoder": self.decoder.steps,
            "latent": {"kind": "gaussian" if self.gaussian else "point", "size": self.latent},
            "score": {"kind": "reconstruction", "loss": "squared_error", "beta": 0.7},
            "thresholds": [],
            "provenance": {},
        }
        return metadata, self.tensors


def mnist() -> Draft:
    """1x28x28 -> 16 channels -> 32 channels -> dense 32, and back by transposed convolutions."""
    draft = Draft(784, 32)
    walk: dict[str, Any] = {"stride": [2, 2], "padding": [1, 1], "activation": "relu"}
    e = draft.encoder.shaped(1, 28, 28)
    e.conv(16, (3, 3), **walk).conv(32, (3, 3), **walk).dense(32)
    d = draft.decoder.dense(1568, activation="relu").shaped(32, 7, 7)
    back = {**walk, "output_padding": [1, 1]}
    d.conv_transpose(16, (3, 3), **back)
    d.conv_transpose(1, (3, 3), **{**back, "activation": "identity"})
    return draft


def cicada() -> Draft:
    """18x14 calorimeter regions, in the way of CICADA's teacher: convolution, pool, dense."""
    draft = Draft(252, 80)
    e = draft.encoder.shaped(1, 18, 14)
    e.conv(20, (3, 3), padding=[1, 1], activation="relu").pool("average_pool", (2, 2))
    e.conv(30, (3, 3), padding=[1, 1], activation="relu").dense(80, activation="relu")
    d = draft.decoder.dense(9 * 7 * 30, activation="relu").shaped(30, 9, 7)
    d.conv_transpose(20, (2, 2), stride=[2, 2], activation="relu")
    d.conv(1, (3, 3), padding=[1, 1], activation="relu")
    return draft


def mixed(activation: str = "leaky_relu", gaussian: bool = True) -> Draft:
    """Every step, with odd strides, paddings and channels; images of more than one channel."""
    draft = Draft(2 * 9 * 7, 3, gaussian)
    act = {"activation": activation}
    e = draft.encoder.shaped(2, 9, 7)
    e.pool("max_pool", (3, 2), stride=[1, 2], padding=[1, 1])  # [2, 9, 4]
    e.conv(5, (3, 3), padding=[2, 1], stride=[2, 1], **act)  # [5, 6, 4]
    e.pool("max_pool", (2, 3), stride=[2, 1], padding=[0, 1], **act)  # [5, 3, 4]
    e.conv(13, (1, 3), padding=[0, 1], **act)  # [13, 3, 4]
    e.conv(13, (3, 3), padding=[1, 1])
    e.residual(3, **act)
    e.pool("average_pool", (3, 3), stride=[2, 3], padding=[1, 1])  # [13, 2, 2]
    e.layer_norm(**act).layer_norm(groups=13)
    e.dense(6 if gaussian else 3)
    d = draft.decoder.dense(21, **act)
    d.layer_norm().dense(21, **act).residual(0, **act).shaped(7, 1, 3)
    d.conv_transpose(17, (4, 3), stride=[3, 2], padding=[0, 1], output_padding=[2, 1], **act)
    d.conv_transpose(3, (2, 2), stride=[3, 3], padding=[1, 1], output_padding=[1, 0], **act)
    d.dense(30, **act).shaped(1, 1, 30)
    d.conv(3, (1, 5), padding=[0, 2], stride=[1, 1], **act)  # a signal of 30
    d.dense(2 * 9 * 7)
    return draft


def wide() -> Draft:
    """More channels than a block and a vector hold, and edges wider than the middle."""
    draft = Draft(3 * 5 * 4, 7)
    e = draft.encoder.shaped(3, 5, 4)
    e.conv(37, (5, 5), padding=[2, 2], activation="relu")
    e.conv(19, (3, 3), padding=[3, 3], stride=[2, 2], activation="relu").dense(7)
    d = draft.decoder.dense(2 * 5 * 4, activation="relu").shaped(2, 5, 4)
    d.conv_transpose(33, (3, 3), padding=[1, 1], activation="relu")
    d.conv(3, (3, 3), padding=[1, 1])
    return draft


def small() -> Draft:
    """Every step on as few pixels as possible, where a million rows are scored."""
    draft = Draft(16, 4)
    e = draft.encoder.shaped(1, 4, 4)
    e.conv(5, (3, 3), padding=[1, 1], activation="gelu").pool("max_pool", (2, 2))
    e.conv(5, (1, 1)).residual(1).pool("average_pool", (1, 2)).layer_norm(groups=5).dense(4)
    d = draft.decoder.shaped(1, 2, 2)
    d.conv_transpose(1, (2, 2), stride=[2, 2])
    return draft


def signal() -> Draft:
    """One dimension: 64 samples of 2 channels."""
    draft = Draft(128, 4)
    e = draft.encoder.shaped(2, 1, 64)
    e.conv(8, (1, 5), stride=[1, 2], padding=[0, 2], activation="tanh").pool("max_pool", (1, 2))
    e.conv(16, (1, 3), stride=[1, 2], padding=[0, 1], activation="silu").dense(4)
    d = draft.decoder.dense(128, activation="gelu").shaped(16, 1, 8)
    d.conv_transpose(8, (1, 4), stride=[1, 4], activation="elu")
    d.conv_transpose(2, (1, 2), stride=[1, 2])
    return draft
