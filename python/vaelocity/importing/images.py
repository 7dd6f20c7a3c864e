"""Convolutions, pools and norms of torch and ONNX alike, as operations of a chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vaelocity.importing.chain import Chain, UnsupportedNode, chain, constant
from vaelocity.importing.operations import Conv, Norm, Pair, Pool
from vaelocity.steps import Image


def conv(
    value: Any,
    weight: Any,
    bias: Any,
    node: str,
    *,
    stride: Any,
    padding: Any,
    dilation: Any = 1,
    groups: int = 1,
    output_padding: Any = None,
) -> Chain:
    """A convolution, a transposed one where output_padding is given, of one or two dimensions;
    weight as torch and ONNX have it. Channels in groups become zeros among the weights."""
    x, kernel = chain(value, node), constant(weight, node)
    image, ways = _image(x, node), kernel.ndim - 2
    if any(each != 1 for each in _several(dilation, ways)):
        raise UnsupportedNode(f"{node}: a dilated convolution")
    transposed = output_padding is not None
    kernel = kernel.reshape(*kernel.shape[:2], *(1,) * (2 - ways), *kernel.shape[2:])
    whole = _ungrouped(kernel, groups)
    out = whole.shape[1 if transposed else 0]
    shift = np.zeros(out) if bias is None else constant(bias, node)
    more = _pair(output_padding, ways, 0) if transposed else None
    return x.then(Conv(whole, shift, image, _pair(stride, ways, 1), _pair(padding, ways, 0), more))


def pool(
    value: Any, op: str, node: str, *, kernel: Any, stride: Any, padding: Any, ways: int
) -> Chain:
    """max_pool or average_pool of `ways` dimensions; a stride of None is the kernel."""
    x = chain(value, node)
    window = _pair(kernel, ways, 1)
    stride = (
        window if stride is None or len(_several(stride, ways)) == 0 else _pair(stride, ways, 1)
    )
    return x.then(Pool(op, _image(x, node), window, stride, _pair(padding, ways, 0)))


def global_average(value: Any, node: str) -> Chain:
    """The mean of every channel: [C, ...] -> [C, 1, ...]."""
    x = chain(value, node)
    image = _image(x, node)
    window = (image[1], image[2])
    return x.then(Pool("average_pool", image, window, window, (0, 0)))


def layer_norm(value: Any, weight: Any, bias: Any, epsilon: float, node: str, ways: int) -> Chain:
    """Over the last `ways` dimensions, which must be all of a row; weight and bias of their shape,
    or None."""
    x = chain(value, node)
    if ways != len(x.shape):
        raise UnsupportedNode(f"{node}: a layer norm over part of a row of shape {list(x.shape)}")
    gain = np.ones(x.width) if weight is None else constant(weight, node).reshape(-1)
    shift = np.zeros(x.width) if bias is None else constant(bias, node).reshape(-1)
    return x.then(Norm(gain, shift, float(epsilon)))


def group_norm(value: Any, groups: int, weight: Any, bias: Any, epsilon: float, node: str) -> Chain:
    """Over `groups` of the channels each; weight and bias [C], or None."""
    x = chain(value, node)
    channels = x.shape[0]
    pixels = x.width // channels
    gain = np.ones(channels) if weight is None else constant(weight, node)
    shift = np.zeros(channels) if bias is None else constant(bias, node)
    return x.then(Norm(gain.repeat(pixels), shift.repeat(pixels), float(epsilon), int(groups)))


def _image(x: Chain, node: str) -> Image:
    if len(x.shape) == 3:
        return x.shape[0], x.shape[1], x.shape[2]
    if len(x.shape) == 2:
        return x.shape[0], 1, x.shape[1]
    raise UnsupportedNode(f"{node}: expected rows [channels, height, width], got {list(x.shape)}")


def _several(value: Any, ways: int) -> Sequence[int]:
    return [int(value)] * ways if isinstance(value, int) else [int(each) for each in value]


def _pair(value: Any, ways: int, other: int) -> Pair:
    """[y, x]; of one dimension, y is `other`."""
    found = list(_several(value, ways))
    if len(found) == 1:
        found *= ways
    y, x = [*[other] * (2 - ways), *found]
    return y, x


def _ungrouped(weight: Any, groups: int) -> Any:
    """The weights of a convolution of all channels to all."""
    if groups == 1:
        return weight
    rows, columns = weight.shape[0] // groups, weight.shape[1]
    whole = np.zeros((weight.shape[0], columns * groups, *weight.shape[2:]))
    for g in range(groups):
        part = slice(g * rows, (g + 1) * rows)
        whole[part, g * columns : (g + 1) * columns] = weight[part]
    return whole
