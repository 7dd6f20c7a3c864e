"""From torch modules to the steps of a .vael file: one small table, module by module."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from vaelocity.models.layers import LEAKY_RELU_SLOPE, Dense
from vaelocity.steps import output_image

__all__ = ["steps_of"]

Tensors = dict[str, npt.NDArray[Any]]
Float64 = npt.NDArray[np.float64]

_ACTIVATIONS: dict[type[nn.Module], str] = {
    nn.ReLU: "relu",
    nn.LeakyReLU: "leaky_relu",
    nn.Tanh: "tanh",
    nn.Sigmoid: "sigmoid",
    nn.ELU: "elu",
    nn.SiLU: "silu",
    nn.GELU: "gelu",
}
_NOTHING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)
"""What changes neither a value nor a shape of a frozen network."""


def steps_of(module: nn.Module, part: str, shape: Sequence[int], tensors: Tensors) -> list[Any]:
    """The steps that compute what `module` computes, in eval mode, of rows of the given shape.

    Args:
        module: an nn.Sequential, nested or not, or a single layer: Linear, Conv1d, Conv2d,
            ConvTranspose1d, ConvTranspose2d (groups 1, dilation 1, zero padding), MaxPool1d,
            MaxPool2d, AvgPool1d, AvgPool2d, BatchNorm1d and BatchNorm2d behind a linear layer or a
            convolution, LayerNorm over the whole row, GroupNorm, Flatten, Unflatten, Identity,
            Dropout, ReLU, LeakyReLU, Tanh, Sigmoid, ELU, SiLU, GELU.
        part: "encoder" or "decoder"; the tensors are named after it.
        shape: of a row: (width,), (channels, length) or (channels, height, width).
        tensors: takes the weights, float32.

    Raises:
        TypeError: a module that has no step.
        ValueError: a module's option that has none, or a weight that is not finite. Both errors
            name the module by its number among the leaves. A subclass with a forward of its own is
            such a module: what it computes is not known.
    """
    chain = _Chain(part, shape, tensors)
    for number, leaf in enumerate(_leaves(module)):
        what = f"{part}: module {number}, a {type(leaf).__name__}"
        chain.add(leaf, what)
    return chain.steps


def _leaves(module: nn.Module) -> Iterator[nn.Module]:
    if type(module).forward is nn.Sequential.forward:
        assert isinstance(module, nn.Sequential)
        for child in module:
            yield from _leaves(child)
    elif isinstance(module, Dense):
        yield module.linear
        if module.norm is not None:
            yield module.norm
        yield _NAMED[module.activation]()
    else:
        yield module


_NAMED: dict[str, Callable[[], nn.Module]] = {
    "identity": nn.Identity,
    "leaky_relu": lambda: nn.LeakyReLU(LEAKY_RELU_SLOPE),
    **{name: module for module, name in _ACTIVATIONS.items() if name != "leaky_relu"},
}


class _Chain:
    """Steps so far, and the shape of what they make: (width,), or (channels, height, width)."""

    def __init__(self, part: str, shape: Sequence[int], tensors: Tensors) -> None:
        self.part, self.tensors = part, tensors
        self.shape: tuple[int, ...] = _image(shape)
        self.steps: list[dict[str, Any]] = []
        self.open = False  # may the last step still take an activation?
        self.folds = False  # and a batch norm?

    def add(self, leaf: nn.Module, what: str) -> None:
        if type(leaf).forward not in _FORWARDS:
            raise TypeError(f"{what}: a frozen network has no such step")
        if isinstance(leaf, nn.Flatten):
            self._flatten(leaf, what)
        elif isinstance(leaf, nn.Unflatten):
            sizes = [int(size) for size in leaf.unflattened_size]
            if prod(sizes) != prod(self.shape):
                raise ValueError(f"{what}: makes {sizes} of {prod(self.shape)} values")
            self.shape = _image(sizes)
        elif isinstance(leaf, _NOTHING):
            return
        elif type(leaf) in _ACTIVATIONS:
            self._activation(leaf, what)
        elif isinstance(leaf, nn.BatchNorm1d | nn.BatchNorm2d):
            self._batch_norm(leaf, what)
        else:
            make = next(make for types, make in _STEPS if isinstance(leaf, types))
            make(self, leaf, what)

    def step(self, op: str, what: str, folds: bool = False, **entries: Any) -> None:
        """Appends a step; arrays among its entries become tensors."""
        step: dict[str, Any] = {"op": op}
        for key, value in entries.items():
            step[key] = value
            if isinstance(value, np.ndarray):
                step[key] = f"{self.part}.{len(self.steps)}.{key}"
                self._keep(step[key], value, what)
        step["activation"] = "identity"
        self.steps.append(step)
        self.open, self.folds = True, folds

    def image(self, what: str, signal: bool) -> list[int]:
        """The shape, of an image or, with `signal`, of what is one pixel high."""
        if len(self.shape) != 3:
            raise ValueError(f"{what}: takes an image, and is given rows {self.shape[0]} wide")
        if signal and self.shape[1] != 1:
            raise ValueError(f"{what}: takes [channels, length], and is given {self.shape}")
        return list(self.shape)

    def _flatten(self, leaf: nn.Flatten, what: str) -> None:
        """Rows of one dimension; a batch norm behind it has another number of columns."""
        if (leaf.start_dim, leaf.end_dim) != (1, -1):
            raise ValueError(f"{what}: flattens a part of a row, only all of it has a frozen form")
        if len(self.shape) > 1:
            self.folds = False
        self.shape = (prod(self.shape),)

    def made_image(self) -> None:
        shapes = {name: array.shape for name, array in self.tensors.items()}
        self.shape = output_image(self.steps[-1], shapes)

    def _keep(self, name: str, values: npt.NDArray[Any], what: str) -> None:
        rounded = values.astype(np.float32)
        if not np.isfinite(rounded).all():
            raise ValueError(f"{what}: {name} is not finite: this model cannot be saved")
        self.tensors[name] = rounded

    def _activation(self, leaf: nn.Module, what: str) -> None:
        if not self.open:
            raise ValueError(f"{what}: needs a step before it that has no activation yet")
        _check(what, alpha=(getattr(leaf, "alpha", 1.0), 1.0))
        _check(what, approximate=(getattr(leaf, "approximate", "none"), "none"))
        self.steps[-1]["activation"] = _ACTIVATIONS[type(leaf)]
        if isinstance(leaf, nn.LeakyReLU):
            self.steps[-1]["slope"] = float(leaf.negative_slope)
        self.open = self.folds = False

    def _batch_norm(self, leaf: nn.BatchNorm1d | nn.BatchNorm2d, what: str) -> None:
        """Into the weights of the step before, in float64."""
        if not self.folds:
            raise ValueError(f"{what}: needs a linear layer or a convolution right before it")
        if leaf.running_mean is None or leaf.running_var is None:
            raise ValueError(f"{what}: has no running mean and variance")
        gain = _gain(leaf) / np.sqrt(_float64(leaf.running_var) + leaf.eps)
        step = self.steps[-1]
        weight, bias = (self.tensors[step[key]].astype(np.float64) for key in ("weight", "bias"))
        axis = 1 if step["op"] == "conv_transpose" else 0
        along = [1] * weight.ndim
        along[axis] = -1
        shift = _shift(leaf) + gain * (bias - _float64(leaf.running_mean))
        self._keep(step["weight"], weight * gain.reshape(along), what)
        self._keep(step["bias"], shift, what)


def _linear(chain: _Chain, leaf: nn.Linear, what: str) -> None:
    if prod(chain.shape) != leaf.in_features:
        raise ValueError(f"{what}: takes {leaf.in_features} values, and is given {chain.shape}")
    weight, bias = _float64(leaf.weight), _bias(leaf.bias, leaf.out_features)
    chain.step("dense", what, folds=True, weight=weight, bias=bias)
    chain.shape = (leaf.out_features,)


def _conv(chain: _Chain, leaf: Any, what: str) -> None:
    _check(what, groups=(leaf.groups, 1), padding_mode=(leaf.padding_mode, "zeros"))
    _check(what, dilation=(set(leaf.dilation), {1}))
    image = chain.image(what, isinstance(leaf, nn.Conv1d | nn.ConvTranspose1d))
    if image[0] != leaf.in_channels:
        raise ValueError(f"{what}: takes {leaf.in_channels} channels, and is given {image[0]}")
    transposed = isinstance(leaf, nn.ConvTranspose1d | nn.ConvTranspose2d)
    weight = _float64(leaf.weight)
    if weight.ndim == 3:
        weight = weight[:, :, None, :]
    more = {"output_padding": _pair(leaf.output_padding, 0)} if transposed else {}
    chain.step(
        "conv_transpose" if transposed else "conv",
        what,
        folds=True,
        weight=weight,
        bias=_bias(leaf.bias, leaf.out_channels),
        input=image,
        stride=_pair(leaf.stride, 1),
        padding=_padding(leaf, what),
        **more,
    )
    chain.made_image()


def _padding(leaf: Any, what: str) -> list[int]:
    if leaf.padding == "valid":
        return [0, 0]
    if leaf.padding == "same":
        if any(size % 2 == 0 for size in leaf.kernel_size):
            raise ValueError(f'{what}: padding="same" of an even kernel is one-sided')
        return _pair([size // 2 for size in leaf.kernel_size], 0)
    return _pair(leaf.padding, 0)


def _pool(chain: _Chain, leaf: Any, what: str) -> None:
    maximum = isinstance(leaf, nn.MaxPool1d | nn.MaxPool2d)
    _check(what, ceil_mode=(leaf.ceil_mode, False))
    flat = isinstance(leaf, nn.MaxPool1d | nn.AvgPool1d)
    padding = _both(leaf.padding, 0, flat)
    if maximum:
        dilation = leaf.dilation if isinstance(leaf.dilation, tuple) else (leaf.dilation,)
        _check(what, dilation=(set(dilation), {1}), return_indices=(leaf.return_indices, False))
    else:
        _check(what, divisor_override=(getattr(leaf, "divisor_override", None), None))
        if any(padding):
            _check(what, count_include_pad=(leaf.count_include_pad, True))
    chain.step(
        "max_pool" if maximum else "average_pool",
        what,
        input=chain.image(what, flat),
        kernel=_both(leaf.kernel_size, 1, flat),
        stride=_both(leaf.stride, 1, flat),
        padding=padding,
    )
    chain.made_image()


def _layer_norm(chain: _Chain, leaf: nn.LayerNorm, what: str) -> None:
    width = prod(chain.shape)
    if prod(leaf.normalized_shape) != width:
        raise ValueError(
            f"{what}: normalises {tuple(leaf.normalized_shape)}, not the row's {width} values"
        )
    weight = np.broadcast_to(_gain(leaf), leaf.normalized_shape).reshape(-1)
    bias = np.broadcast_to(_shift(leaf), leaf.normalized_shape).reshape(-1)
    chain.step("layer_norm", what, weight=weight, bias=bias, epsilon=leaf.eps)


def _group_norm(chain: _Chain, leaf: nn.GroupNorm, what: str) -> None:
    """A channel's gain and shift are written once for each of its pixels."""
    pixels = prod(chain.shape[1:])
    if chain.shape[0] != leaf.num_channels:
        raise ValueError(f"{what}: takes {leaf.num_channels} channels, got {chain.shape[0]}")
    weight, bias = (
        np.repeat(np.broadcast_to(values, (leaf.num_channels,)), pixels)
        for values in (_gain(leaf), _shift(leaf))
    )
    groups = leaf.num_groups
    chain.step("layer_norm", what, weight=weight, bias=bias, epsilon=leaf.eps, groups=groups)


_STEPS: tuple[tuple[Any, Callable[[_Chain, Any, str], None]], ...] = (
    (nn.Linear, _linear),
    ((nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d), _conv),
    ((nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d), _pool),
    (nn.LayerNorm, _layer_norm),
    (nn.GroupNorm, _group_norm),
)


_KNOWN: tuple[type[nn.Module], ...] = (
    *(nn.Flatten, nn.Unflatten, *_NOTHING, *_ACTIVATIONS, nn.BatchNorm1d, nn.BatchNorm2d),
    *(nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d, nn.LayerNorm, nn.GroupNorm),
)
_FORWARDS = {module.forward for module in _KNOWN}
"""Of everything that is known."""


def _check(what: str, **options: tuple[Any, Any]) -> None:
    for name, (got, expected) in options.items():
        if got != expected:
            raise ValueError(f"{what}: {name} {got!r} has no frozen form, only {expected!r}")


def _image(shape: Sequence[int]) -> tuple[int, ...]:
    """A signal [channels, length] is an image one pixel high."""
    sizes = tuple(int(size) for size in shape)
    if not 1 <= len(sizes) <= 3:
        raise ValueError(
            "shape: expected (width,), (channels, length) or (channels, height, width), "
            f"got {shape}"
        )
    return (sizes[0], 1, sizes[1]) if len(sizes) == 2 else sizes


def _pair(values: Sequence[int], high: int) -> list[int]:
    """[y, x]; of one dimension x, with `high` for y."""
    found = [int(value) for value in values]
    return found if len(found) == 2 else [high, *found]


def _both(value: Any, high: int, flat: bool) -> list[int]:
    """An option of a pool, a number or a tuple, as [y, x]."""
    found = [int(each) for each in value] if isinstance(value, tuple) else [int(value)]
    return _pair(found, high) if flat or len(found) == 2 else found * 2


def _float64(tensor: torch.Tensor) -> Float64:
    values: Float64 = tensor.detach().cpu().double().numpy()
    return values


def _bias(bias: torch.Tensor | None, width: int) -> Float64:
    return np.zeros(width) if bias is None else _float64(bias)


def _gain(leaf: Any) -> Float64:
    return np.ones(1) if leaf.weight is None else _float64(leaf.weight)


def _shift(leaf: Any) -> Float64:
    return np.zeros(1) if leaf.bias is None else _float64(leaf.bias)
