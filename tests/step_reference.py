"""The steps of a .vael file in NumPy: in float64, or in float32 in the scorer's order of
operations, which gives the scorer's bits. Slow, and written from ARCHITECTURE's text, not from the
kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Fma = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def fma32(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """a * b + c rounded once to float32: the product is exact in float64, the sum is rounded to odd
    there, so that the second rounding sees on which side of a tie it lies."""
    product = a.astype(np.float64) * b.astype(np.float64)
    addend = np.broadcast_to(c, np.broadcast_shapes(product.shape, c.shape)).astype(np.float64)
    total = product + addend
    part = total - product
    error = (product - (total - part)) + (addend - part)
    even = (total.view(np.int64) & 1) == 0
    odd = np.nextafter(total, np.copysign(np.inf, error))
    return np.where((error != 0) & even, odd, total).astype(np.float32)


def fma64(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    return np.multiply(a, b) + c


class Arithmetic:
    """float32 with the scorer's fma, or float64."""

    def __init__(self, dtype: type) -> None:
        self.dtype = dtype
        self.fma: Fma = fma32 if dtype is np.float32 else fma64

    def sum(self, columns: np.ndarray, add: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Any:
        """Of columns [n, d] into 16 partial sums, which are then added by halves: [n]."""
        partial = [np.zeros(len(columns), self.dtype) for _ in range(16)]
        for j in range(columns.shape[1]):
            partial[j % 16] = add(columns[:, j], partial[j % 16])
        for half in (8, 4, 2, 1):
            partial = [partial[i] + partial[i + half] for i in range(half)]
        return partial[0]


def run(
    steps: list[dict[str, Any]],
    tensors: Mapping[str, np.ndarray],
    x: np.ndarray,
    functions: Mapping[str, Callable[[np.ndarray], np.ndarray]],
) -> np.ndarray:
    """What the steps make of rows x [n, width], in x's type. functions: the activations."""
    math = Arithmetic(np.float32 if x.dtype == np.float32 else np.float64)
    values = [x]
    for step in steps:
        own = {key: tensors[step[key]].astype(x.dtype) for key in ("weight", "bias") if key in step}
        y = _STEPS[step["op"]](math, step, own, values)
        name = step.get("activation", "identity")
        if name == "leaky_relu":
            slope = x.dtype.type(np.float32(step.get("slope", 0.01)))
            y = np.where(y > 0, y, y * slope)
        else:
            y = functions[name](y)
        values.append(y)
    return values[-1]


def _dense(math: Arithmetic, step: Any, own: Any, values: list[np.ndarray]) -> np.ndarray:
    x, weight = values[-1], own["weight"]
    even = np.tile(own["bias"], (len(x), 1))
    odd = np.zeros_like(even)
    for k in range(x.shape[1]):
        chain = odd if k % 2 else even
        chain[:] = math.fma(x[:, k : k + 1], weight[:, k], chain)
    return even + odd


def _reaches(extent: int, made: int, k: int, stride: int, padding: int, back: bool) -> Any:
    """Of a kernel position k: the outputs it reaches from inside the image, and their inputs."""
    out = np.arange(made)
    if back:
        at, rest = np.divmod(out + padding - k, stride)
        inside = (rest == 0) & (at >= 0) & (at < extent)
    else:
        at = out * stride - padding + k
        inside = (at >= 0) & (at < extent)
    return out[inside], at[inside]


def _walk(step: Any, kernel: Any, back: bool, made: Any) -> Any:
    """(ky, kx, the outputs it reaches and the inputs it reads, as index grids) in their order."""
    _, height, width = step["input"]
    for ky in range(kernel[0]):
        oy, iy = _reaches(height, made[0], ky, step["stride"][0], step["padding"][0], back)
        for kx in range(kernel[1]):
            ox, ix = _reaches(width, made[1], kx, step["stride"][1], step["padding"][1], back)
            yield ky, kx, (oy[:, None], ox), (iy[:, None], ix)


def _extents(step: Any, kernel: Any, back: bool) -> list[int]:
    made = []
    for i, extent in enumerate(step["input"][1:]):
        stride, padding = step["stride"][i], step["padding"][i]
        if back:
            more = kernel[i] + step["output_padding"][i]
            made.append((extent - 1) * stride - 2 * padding + more)
        else:
            made.append((extent + 2 * padding - kernel[i]) // stride + 1)
    return made


def _conv(math: Arithmetic, step: Any, own: Any, values: list[np.ndarray]) -> np.ndarray:
    back = step["op"] == "conv_transpose"
    weight = own["weight"].swapaxes(0, 1) if back else own["weight"]  # [out, in, ky, kx]
    image = values[-1].reshape(-1, *step["input"])
    made = _extents(step, weight.shape[2:], back)
    out = np.empty((len(image), weight.shape[0], *made), image.dtype)
    out[:] = own["bias"][:, None, None]
    for ky, kx, (oy, ox), (iy, ix) in _walk(step, weight.shape[2:], back, made):
        for channel in range(weight.shape[1]):
            read = image[:, channel, iy, ix][:, None]
            by = weight[:, channel, ky, kx][:, None, None]
            out[:, :, oy, ox] = math.fma(read, by, out[:, :, oy, ox])
    return out.reshape(len(image), -1)


def _pool(math: Arithmetic, step: Any, own: Any, values: list[np.ndarray]) -> np.ndarray:
    image = values[-1].reshape(-1, *step["input"])
    kernel = step["kernel"]
    made = _extents(step, kernel, False)
    maximum = step["op"] == "max_pool"
    out = np.full((*image.shape[:2], *made), -np.inf if maximum else 0, image.dtype)
    combine = np.maximum if maximum else np.add
    for _, _, (oy, ox), (iy, ix) in _walk(step, kernel, False, made):
        out[:, :, oy, ox] = combine(out[:, :, oy, ox], image[:, :, iy, ix])
    if not maximum:
        out *= math.dtype(1) / math.dtype(kernel[0] * kernel[1])
    return out.reshape(len(image), -1)


def _layer_norm(math: Arithmetic, step: Any, own: Any, values: list[np.ndarray]) -> np.ndarray:
    whole = values[-1]
    x = whole.reshape(len(whole) * step.get("groups", 1), -1)
    n = math.dtype(x.shape[1])
    d = x - (math.sum(x, np.add) / n)[:, None]
    variance = math.sum(d, lambda a, total: math.fma(a, a, total)) / n
    inverse = math.dtype(1) / np.sqrt(variance + math.dtype(np.float32(step["epsilon"])))
    y = (d * inverse[:, None]).reshape(whole.shape)
    return math.fma(y, own["weight"], np.broadcast_to(own["bias"], y.shape))


def _bound(math: Arithmetic, step: Any, own: Any, values: list[np.ndarray]) -> np.ndarray:
    x, bound = values[-1], own["weight"]
    held = math.fma(np.tanh(x), bound, np.broadcast_to(own["bias"], x.shape))
    return np.where(bound > 0, held, x)


def _residual(math: Arithmetic, step: Any, own: Any, values: list[np.ndarray]) -> np.ndarray:
    return values[-1] + values[step["from"] + 1]


_STEPS: dict[str, Callable[[Arithmetic, Any, Any, list[np.ndarray]], np.ndarray]] = {
    "dense": _dense,
    "conv": _conv,
    "conv_transpose": _conv,
    "max_pool": _pool,
    "average_pool": _pool,
    "layer_norm": _layer_norm,
    "bound": _bound,
    "residual": _residual,
}


def reconstruction_bits(
    metadata: dict[str, Any], tensors: Mapping[str, np.ndarray], rows: np.ndarray
) -> np.ndarray:
    """The reconstruction score of finite rows [n, d] in float32, bit for bit the scorer's, of a
    network whose activations are identity, relu or leaky_relu."""
    functions = {"identity": lambda x: x, "relu": lambda x: np.maximum(np.float32(0), x)}
    step = metadata["preprocess"][0]
    inverse = np.float32(1) / tensors[step["scale"]]
    x = (rows - tensors[step["mean"]]) * inverse
    size = metadata["latent"]["size"]
    mu = run(metadata["encoder"], tensors, x, functions)[:, :size]
    y = run(metadata["decoder"], tensors, mu, functions)
    math = Arithmetic(np.float32)
    total = math.sum(y - x, lambda d, so_far: math.fma(d, d, so_far))
    score: np.ndarray = np.float32(0.5) * total
    return score
