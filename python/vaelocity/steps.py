"""The steps of an encoder or decoder as a .vael file holds them: what each must say.

Rows are flat: [n_features] float32, an image channel after channel in C order. A step of an image
states its shape and is checked against the width of the step before.

    dense           weight [out, in], bias [out]
    conv            input [channels, height, width], weight [out, channels, ky, kx], bias [out],
                    stride [y, x], padding [y, x] (zeros on both sides)
    conv_transpose  the same with weight [channels, out, ky, kx], output_padding [y, x]
    max_pool        input, kernel [y, x], stride, padding; pixels outside the image do not count
    average_pool    the same; the mean over the whole window, zeros outside
    layer_norm      weight [width], bias [width], epsilon, groups (1): over all values of the row,
                    or over each of so many equal pieces by itself
    bound           weight [width], bias [width]: where weight is positive, weight * tanh(x) + bias;
                    x itself where it is 0
    residual        from: the step of this part whose output is added, -1: what the part begins with

Each may have an activation (identity), and a slope for leaky_relu (0.01). A one-dimensional image
is one pixel high. The C++ reader also bounds what a network needs while it scores: the values of a
row that are alive at once (2^26) and the taps that it lists (2^22 a step, 2^24 a network, its
output pixels counted in).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity._core import BundleError
from vaelocity.bfloat16 import rounded

ACTIVATIONS = ("identity", "relu", "leaky_relu", "tanh", "sigmoid", "elu", "silu", "gelu")
CONVOLUTIONS = ("conv", "conv_transpose")
POOLS = ("max_pool", "average_pool")
BFLOAT16 = "bfloat16"
"""The file's "weights" where they are; a file without that has float32 ones."""

WIDEST_WINDOW = 1024
WIDEST_LAYER = 1 << 20

Array = npt.NDArray[Any]
Tensors = Mapping[str, Array]
Step = Mapping[str, Any]
Image = tuple[int, int, int]


def check_steps(steps: Any, part: str, tensors: Tensors, width: int, expected: int) -> None:
    """Raise BundleError unless the steps lead from rows `width` wide to rows `expected` wide."""
    if not isinstance(steps, list):
        raise BundleError(f"{part}: expected a list of steps")
    widths = [width]
    for i, step in enumerate(steps):
        where = f"{part}.{i}"
        op = step["op"]
        if op not in _CHECKS:
            raise BundleError(f"{where}: unknown step {op!r}")
        check_keys(step, ("op", "activation", "slope", *_KEYS[op]), where)
        if step.get("activation", "identity") not in ACTIVATIONS:
            raise BundleError(f"{where}: unknown activation {step['activation']!r}")
        if not is_float32(step.get("slope", 0.01)):
            raise BundleError(f"{where}: expected a finite number as slope, got {step['slope']!r}")
        widths.append(_CHECKS[op](step, where, tensors, widths))
    if not steps or widths[-1] != expected:
        raise BundleError(f"{part}: ends {widths[-1]} wide, expected {expected}")


def narrow_weights(metadata: Mapping[str, Any]) -> list[str]:
    """The tensors that a file holds as bfloat16: the weights of dense steps and convolutions, where
    it says so. Biases, norms and everything else are float32."""
    if metadata.get("weights") != BFLOAT16:
        return []
    steps = [*metadata.get("encoder", ()), *metadata.get("decoder", ())]
    return [step["weight"] for step in steps if step["op"] in ("dense", *CONVOLUTIONS)]


def check_weights(metadata: Mapping[str, Any], tensors: Tensors) -> None:
    """Raise BundleError for weights that are not what the file says they are."""
    weights = metadata.get("weights", BFLOAT16)
    if weights != BFLOAT16:
        raise BundleError(f'weights: expected "{BFLOAT16}", got {weights!r}')
    for name in narrow_weights(metadata):
        if (tensors[name] != rounded(tensors[name])).any():
            raise BundleError(f"tensor {name}: a weight is no bfloat16, and the file says all are")


def check_keys(entry: Step, known: Sequence[str], where: str) -> None:
    """Raise BundleError for a key that no reader of this version understands: it is not passed
    over, for it could change the score."""
    for key in entry:
        if key not in known:
            raise BundleError(f"{where}: unknown key {key!r}")


def only_dense(metadata: Mapping[str, Any]) -> bool:
    """Has the network dense steps and no others: what every format and every scorer knows."""
    steps = [*metadata.get("encoder", ()), *metadata.get("decoder", ())]
    return all(step["op"] == "dense" for step in steps)


def require_dense(metadata: Mapping[str, Any], what: str) -> None:
    """Raise BundleError if `what` (the beginning of the message) meets a step that is not dense."""
    for part in ("encoder", "decoder"):
        for i, step in enumerate(metadata[part]):
            if step["op"] != "dense":
                raise BundleError(f"{what} takes dense steps only, and {part}.{i} is {step['op']}")


def require_plain(metadata: Mapping[str, Any], what: str) -> None:
    """Raise BundleError if `what` (the beginning of the message), which knows standardised
    features, the squared error and two kinds of latent space, cannot take something in the file."""
    for i, step in enumerate(metadata["preprocess"]):
        if step["op"] != "standardize":
            raise BundleError(
                f"{what} takes no preprocessing but standardize, and preprocess.{i} is {step['op']}"
            )
    loss = metadata["score"].get("loss", "squared_error")
    if loss != "squared_error":
        raise BundleError(f"{what} takes the squared error only, and the loss is {loss}")
    latent = metadata["latent"]["kind"]
    if latent not in ("point", "gaussian"):
        raise BundleError(f"{what} takes a point or gaussian latent, and this one is an {latent}")


def output_image(step: Step, shapes: Mapping[str, Sequence[int]]) -> Image:
    """(channels, height, width) that a convolution or a pool makes. shapes: of the tensors."""
    channels, *extents = step["input"]
    kernel: Sequence[int] = step.get("kernel", ())
    if step["op"] in CONVOLUTIONS:
        transposed = step["op"] == "conv_transpose"
        weight = shapes[step["weight"]]
        channels, kernel = weight[1 if transposed else 0], weight[2:]
    made = []
    for i, extent in enumerate(extents):
        stride, padding = step["stride"][i], step["padding"][i]
        if step["op"] == "conv_transpose":
            more = kernel[i] + step["output_padding"][i]
            made.append((extent - 1) * stride - 2 * padding + more)
        else:
            made.append((extent + 2 * padding - kernel[i]) // stride + 1)
    return channels, made[0], made[1]


def output_width(step: Step, shapes: Mapping[str, Sequence[int]], width: int) -> int:
    """How wide the rows are that a checked step makes of rows `width` wide."""
    if step["op"] == "dense":
        return shapes[step["weight"]][0]
    if step["op"] in CONVOLUTIONS + POOLS:
        return prod(output_image(step, shapes))
    return width


def is_float32(value: Any) -> bool:
    """Is it a number that float32 holds, to within rounding?"""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) <= float(np.finfo(np.float32).max)


def named_tensor(tensors: Tensors, name: str, dtype: type, shape: tuple[int | None, ...]) -> Array:
    """The tensor of that name; None in `shape` takes any extent. Raises BundleError."""
    if name not in tensors:
        raise BundleError(f"tensor {name} is missing")
    array = tensors[name]
    same = array.ndim == len(shape) and all(
        want is None or want == got for want, got in zip(shape, array.shape, strict=True)
    )
    if array.dtype != dtype or not same:
        wanted = ", ".join("any" if extent is None else str(extent) for extent in shape)
        got = ", ".join(map(str, array.shape))
        raise BundleError(
            f"tensor {name}: got {array.dtype}[{got}], expected {np.dtype(dtype)}[{wanted}]"
        )
    return array


def _check_dense(step: Step, where: str, tensors: Tensors, widths: list[int]) -> int:
    weight = named_tensor(tensors, step["weight"], np.float32, (None, widths[-1]))
    out: int = weight.shape[0]
    if not 1 <= out <= WIDEST_LAYER:
        raise BundleError(f"{where}: a width of {out}")
    named_tensor(tensors, step["bias"], np.float32, (out,))
    return out


def _check_conv(step: Step, where: str, tensors: Tensors, widths: list[int]) -> int:
    channels = _input(step, where, widths[-1])[0]
    transposed = step["op"] == "conv_transpose"
    free: tuple[int | None, ...] = (None, None)
    shape = (channels, None, *free) if transposed else (None, channels, *free)
    weight = named_tensor(tensors, step["weight"], np.float32, shape)
    out = weight.shape[1 if transposed else 0]
    if out < 1:
        raise BundleError(f"{where}: {out} output channels")
    for extent in weight.shape[2:]:
        if not 1 <= extent <= WIDEST_WINDOW:
            raise BundleError(f"{where}: a kernel {extent} wide")
    named_tensor(tensors, step["bias"], np.float32, (out,))
    stride = _pair(step, "stride", 1, where)
    _pair(step, "padding", 0, where)
    if transposed:
        more = _pair(step, "output_padding", 0, where)
        if any(a >= b for a, b in zip(more, stride, strict=True)):
            raise BundleError(f"{where}: output_padding must be less than stride")
    return _target(step, where, tensors)


def _check_pool(step: Step, where: str, tensors: Tensors, widths: list[int]) -> int:
    _input(step, where, widths[-1])
    kernel = _pair(step, "kernel", 1, where)
    _pair(step, "stride", 1, where)
    padding = _pair(step, "padding", 0, where)
    if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        raise BundleError(f"{where}: padding must be at most half the kernel")
    return _target(step, where, tensors)


def _check_layer_norm(step: Step, where: str, tensors: Tensors, widths: list[int]) -> int:
    for name in ("weight", "bias"):
        named_tensor(tensors, step[name], np.float32, (widths[-1],))
    epsilon = step["epsilon"]
    if not is_float32(epsilon) or not np.float32(epsilon) > 0:
        raise BundleError(f"{where}: epsilon must be positive, got {epsilon!r}")
    groups = _integer(step.get("groups", 1), 1, widths[-1], f"{where}: groups")
    if widths[-1] % groups:
        raise BundleError(f"{where}: {groups} groups do not divide {widths[-1]} values")
    return widths[-1]


def _check_bound(step: Step, where: str, tensors: Tensors, widths: list[int]) -> int:
    weight, bias = (
        named_tensor(tensors, step[name], np.float32, (widths[-1],)) for name in ("weight", "bias")
    )
    if not (np.isfinite(weight) & (weight >= 0) & np.isfinite(bias)).all():
        raise BundleError(f"{where}: expected finite bounds, none of them negative")
    return widths[-1]


def _check_residual(step: Step, where: str, tensors: Tensors, widths: list[int]) -> int:
    last = len(widths) - 3  # adding the step before itself would be doubling
    if last < -1:
        raise BundleError(f"{where}: nothing to add before the first step")
    source = _integer(step["from"], -1, last, f"{where}: from")
    if widths[source + 1] != widths[-1]:
        raise BundleError(f"{where}: adds {widths[source + 1]} values to {widths[-1]}")
    return widths[-1]


_CHECKS = {
    "dense": _check_dense,
    "conv": _check_conv,
    "conv_transpose": _check_conv,
    "max_pool": _check_pool,
    "average_pool": _check_pool,
    "layer_norm": _check_layer_norm,
    "bound": _check_bound,
    "residual": _check_residual,
}


_KEYS = {
    "dense": ("weight", "bias"),
    "conv": ("weight", "bias", "input", "stride", "padding"),
    "conv_transpose": ("weight", "bias", "input", "stride", "padding", "output_padding"),
    "max_pool": ("input", "kernel", "stride", "padding"),
    "average_pool": ("input", "kernel", "stride", "padding"),
    "layer_norm": ("weight", "bias", "epsilon", "groups"),
    "bound": ("weight", "bias"),
    "residual": ("from",),
}
"""What a step may say beside op, activation and slope."""


def _integer(value: Any, low: int, high: int, what: str) -> int:
    if type(value) is not int or not low <= value <= high:
        raise BundleError(f"{what}: expected an integer from {low} to {high}, got {value!r}")
    return int(value)


def _pair(step: Step, key: str, low: int, where: str) -> list[int]:
    value = step[key]
    if not isinstance(value, list) or len(value) != 2:
        raise BundleError(f"{where}: expected two integers as {key}")
    return [_integer(each, low, WIDEST_WINDOW, f"{where}: {key}") for each in value]


def _input(step: Step, where: str, width: int) -> list[int]:
    value = step["input"]
    if not isinstance(value, list) or len(value) != 3:
        raise BundleError(f"{where}: expected [channels, height, width] as input")
    extents = [_integer(each, 1, WIDEST_LAYER, f"{where}: input") for each in value]
    if prod(extents) != width:
        raise BundleError(f"{where}: an input {value} of a row {width} wide")
    return extents


def _target(step: Step, where: str, tensors: Tensors) -> int:
    shapes = {name: array.shape for name, array in tensors.items()}
    image = output_image(step, shapes)
    if min(image) < 1:
        shape = " x ".join(map(str, step["input"]))
        raise BundleError(f"{where}: the window does not fit into an image {shape}")
    if prod(image) > WIDEST_LAYER:
        raise BundleError(f"{where}: makes an image of more than {WIDEST_LAYER} values")
    return prod(image)
