"""The steps of a part as calls of the header's templates, and the arrays of their weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity.export.header_body import Body, Value
from vaelocity.export.literals import floats, number
from vaelocity.steps import CONVOLUTIONS, POOLS, output_image

__all__ = ["Part"]

BLOCK = 32  # `block` in prelude.hpp

Step = Mapping[str, Any]


class Part:
    """One part of a network, encoder or decoder.

    body: where the statements go. data: where the weights go, as C++ arrays. preludes: the files
    that the steps need, to which their own are added.
    """

    def __init__(
        self,
        name: str,
        tensors: Mapping[str, npt.NDArray[Any]],
        body: Body,
        data: list[str],
        preludes: list[str],
    ) -> None:
        self.name, self.tensors, self.body = name, tensors, body
        self.data, self._preludes = data, preludes
        self._rows: dict[str, Value] = {}

    def run(self, steps: Sequence[Step], source: Value) -> Value:
        """Appends the steps from `source` on; the result lies as a row of the file does."""
        values = [source]
        for i, step in enumerate(steps):
            where = f"{self.name}_{i}"
            value = _STEPS[step["op"]](self, step, where, values)
            self._activate(step, value)
            values.append(value)
        return self.row(values[-1])

    def row(self, value: Value) -> Value:
        """The value as a row of the file has it."""
        if value.image is None:
            return value
        if value.name not in self._rows:
            row = self.body.value(f"{value.name}_row", value.size)
            self.body.add(f"  to_planes<{value.image}>({value.name}, {row.name});", value)
            self._rows[value.name] = row
        return self._rows[value.name]

    def needs(self, prelude: str) -> None:
        """The header takes in this file."""
        if prelude not in self._preludes:
            self._preludes.append(prelude)

    def image(self, value: Value, shape: Sequence[int]) -> str:
        """The C++ type of a value that a step reads as an image [channels, height, width]."""
        return value.image or _image("planes", shape)

    def _activate(self, step: Step, value: Value) -> None:
        name: str = step.get("activation", "identity")
        if name == "identity":
            return
        slope = number(np.float32(step.get("slope", 0.01))) if name == "leaky_relu" else ""
        self.body.add(f"  activate<{value.floats}>({value.name}, {name}{{{slope}}});", value)


def _image(kind: str, shape: Sequence[int]) -> str:
    return f"{kind}<{', '.join(map(str, shape))}>"


def _columns(channels: int) -> tuple[int, int]:
    """Blocks of channels and channels of a block: channel_blocks, channel_block in
    prelude_images.hpp."""
    blocks = -(-channels // BLOCK)
    widest = -(-channels // blocks)
    return blocks, widest + -widest % 8


def _size_of(image: Sequence[int]) -> tuple[int, int]:
    """Values of an image, and floats of it as pixels."""
    blocks, wide = _columns(image[0])
    size = image[1] * image[2]
    return image[0] * size, blocks * wide * size


def _dense(part: Part, step: Step, where: str, values: list[Value]) -> Value:
    weight, bias = part.tensors[step["weight"]], part.tensors[step["bias"]]
    n_out, n_in = weight.shape
    # [out][in] as [out / BLOCK][in][BLOCK], with zeros for the outputs that are not there.
    whole = np.pad(weight, ((0, -n_out % BLOCK), (0, 0)))
    part.data += [
        floats(f"{where}_weight", whole.reshape(-1, BLOCK, n_in).transpose(0, 2, 1)),
        floats(f"{where}_bias", np.pad(bias, (0, -n_out % BLOCK))),
    ]
    source = part.row(values[-1])
    value = part.body.value(where, n_out, floats=n_out + -n_out % BLOCK)
    call = f"dense<{n_in}, {n_out}>({source.name}, {where}, {where}_weight, {where}_bias);"
    part.body.add(f"  {call}", source)
    return value


def _conv(part: Part, step: Step, where: str, values: list[Value]) -> Value:
    part.needs("prelude_images.hpp")
    weight = part.tensors[step["weight"]]
    back = step["op"] == "conv_transpose"
    image = output_image(step, {step["weight"]: weight.shape})
    weight = weight.swapaxes(0, 1) if back else weight  # [out, in, ky, kx]
    blocks, wide = _columns(image[0])
    more = blocks * wide - image[0]
    whole = np.pad(weight, ((0, more), (0, 0), (0, 0), (0, 0)))
    part.data += [
        floats(
            f"{where}_weight",
            whole.reshape(blocks, wide, *weight.shape[1:]).transpose(0, 3, 4, 2, 1),
        ),
        floats(f"{where}_bias", np.pad(part.tensors[step["bias"]], (0, more))),
    ]
    source = values[-1]
    value = part.body.value(where, *_size_of(image), _image("pixels", image))
    axes = _axes(step, weight.shape[2:], "backward" if back else "forward")
    images = f"{part.image(source, step['input'])}, {value.image}"
    part.body.add(
        f"  conv<{images}, {axes}>(\n      {source.name}, {where}, {where}_weight, {where}_bias);",
        source,
    )
    return value


def _pool(part: Part, step: Step, where: str, values: list[Value]) -> Value:
    part.needs("prelude_images.hpp")
    source = values[-1]
    shape = output_image(step, {})
    size, floats_made = _size_of(shape)
    if source.image:
        made = _image("pixels", shape)
        value = part.body.value(where, size, floats_made, made)
    else:
        made = _image("planes", shape)
        value = part.body.value(where, size)
    axes = _axes(step, step["kernel"], "forward")
    images = f"{part.image(source, step['input'])}, {made}"
    part.body.add(f"  pool<{step['op']}, {images}, {axes}>({source.name}, {where});", source)
    return value


def _axes(step: Step, kernel: Sequence[int], kind: str) -> str:
    axes = []
    for i, extent in enumerate(step["input"][1:]):
        numbers = (extent, kernel[i], step["stride"][i], step["padding"][i])
        axes.append(f"{kind}<{', '.join(map(str, numbers))}>")
    return ", ".join(axes)


def _layer_norm(part: Part, step: Step, where: str, values: list[Value]) -> Value:
    part.needs("prelude_norm.hpp")
    gain, bias = (part.tensors[step[name]] for name in ("weight", "bias"))
    part.data += [floats(f"{where}_gain", gain), floats(f"{where}_bias", bias)]
    source = part.row(values[-1])
    value = part.body.value(where, source.size)
    epsilon = number(np.float32(step["epsilon"]))
    part.body.add(
        f"  layer_norm<{source.size}, {step.get('groups', 1)}>("
        f"{source.name}, {where}, {where}_gain, {where}_bias, {epsilon});",
        source,
    )
    return value


def _bound(part: Part, step: Step, where: str, values: list[Value]) -> Value:
    part.needs("prelude_bound.hpp")
    bound, center = (part.tensors[step[name]] for name in ("weight", "bias"))
    part.data += [floats(f"{where}_bound", bound), floats(f"{where}_center", center)]
    source = part.row(values[-1])
    value = part.body.value(where, source.size)
    call = f"hold<{source.size}>({source.name}, {where}, {where}_bound, {where}_center);"
    part.body.add(f"  {call}", source)
    return value


def _residual(part: Part, step: Step, where: str, values: list[Value]) -> Value:
    part.needs("prelude_norm.hpp")
    one, other = values[-1], values[step["from"] + 1]
    if one.image != other.image:
        one, other = part.row(one), part.row(other)
    n = one.floats if one.image else one.size
    value = part.body.value(where, one.size, n, one.image)
    part.body.add(f"  residual<{n}>({one.name}, {other.name}, {where});", one, other)
    return value


_STEPS: dict[str, Callable[[Part, Step, str, list[Value]], Value]] = {
    "dense": _dense,
    **dict.fromkeys(CONVOLUTIONS, _conv),
    **dict.fromkeys(POOLS, _pool),
    "layer_norm": _layer_norm,
    "bound": _bound,
    "residual": _residual,
}
