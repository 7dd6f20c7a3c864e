"""`vaelocity.freeze`: any torch module made of layers that a .vael file has."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils._pytree import tree_leaves

from vaelocity.importing.chain import Chain, UnsupportedNode, chain
from vaelocity.importing.network import Network, autoencoder, vae
from vaelocity.importing.torch_nodes import NODES
from vaelocity.importing.write import example_rows, write_network

if TYPE_CHECKING:
    from vaelocity.scorer import Scorer
    from vaelocity.threshold import Threshold


def freeze(
    module: torch.nn.Module,
    example: Any,
    path: str | os.PathLike[str],
    *,
    mean: npt.ArrayLike | None = None,
    scale: npt.ArrayLike | None = None,
    kind: str | None = None,
    beta: float = 1.0,
    feature_names: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    thresholds: Callable[[Scorer], Sequence[Threshold]] | None = None,
) -> Scorer:
    """Freeze a trained torch module into a .vael file and load it.

    The module is read through torch.export in eval mode. It maps rows [n, d] to their
    reconstruction, or a VAE to (reconstruction, mu, logvar); the score is
    1/2 ||module(x') - x'||^2 of x' = (x - mean) / scale, a VAE's at z = mu. Linear, convolutions
    and transposed ones (of signals and images, not dilated), max and average pools, batch, layer,
    group and instance norm, x + f(x), dropout, flatten, unflatten and view, constants added and
    multiplied, split and slice of columns, random noise, and the activations of the file (relu,
    leaky_relu, tanh, sigmoid, elu, silu, gelu) are supported; what is linear is folded together in
    float64.

    Args:
        module: left in the mode it was in.
        example: float [n, d], or [n, channels, height, width] where the module takes that (a row of
            the file is then such an image in C order), finite, in the units of the features, the
            more the better: the scores are compared on them, they become the file's conformance
            rows and its reference for `drift` and `explain`.
        path: the file; nothing is written if anything is wrong.
        mean, scale: [d], what was done to rows before the module saw them; None: nothing.
        kind: the file's score: reconstruction (None), and for a VAE kl, mu2, rz, elbo.
        beta: of the score elbo.
        feature_names: of the columns; None gives x0, x1, ...
        outputs: what the module returns, in order, of "reconstruction", "mu", "logvar" and
            "ignore"; None: the first one, or all three.
        thresholds: of the scorer of the new file, for instance
            lambda s: [s.threshold_for(held_out, fpr=0.01)].

    Raises:
        UnsupportedNode (a ValueError): a node that the file has no step for; it is named.
        TypeError, ValueError: another argument that is wrong, or scores of any kind that differ
            from the module's by more than 1e-5 of the score plus 1e-6 of what it is a difference
            of.
    """
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"module: expected a torch.nn.Module, got {type(module).__name__}")
    shape = (
        tuple(int(extent) for extent in example.shape[1:]) if hasattr(example, "shape") else None
    )
    rows = example_rows(example, shape=shape or None)
    shape = shape or rows.shape[1:]
    training = {part: part.training for part in module.modules()}
    try:
        module.eval()
        _try(module, rows.reshape(-1, *shape))
        found, places = _network(module, rows.reshape(-1, *shape), outputs)

        def original(x: npt.NDArray[np.float32]) -> list[npt.NDArray[Any]]:
            return _outputs(module, x.reshape(-1, *shape), places)

        return write_network(
            found,
            path,
            rows,
            original,
            f"torch module {type(module).__name__}",
            mean=mean,
            scale=scale,
            kind=kind,
            beta=beta,
            feature_names=feature_names,
            thresholds=thresholds,
        )
    finally:
        for part, mode in training.items():
            part.training = mode


def _network(
    module: torch.nn.Module, rows: npt.NDArray[np.float32], outputs: Sequence[str] | None
) -> tuple[Network, list[int]]:
    """The network, and which of the module's outputs are reconstruction, mu, logvar."""
    values = _results(module, rows)
    if outputs is None:
        outputs = ("reconstruction", "mu", "logvar")[: 3 if len(values) == 3 else 1]
        if len(values) not in (1, 3):
            raise ValueError(
                f"outputs: the module returns {len(values)} tensors; say which they are, "
                'for instance ("reconstruction", "mu", "logvar")'
            )
    names = [name for name in outputs if name != "ignore"]
    wanted = (["reconstruction"], sorted(_NAMES))
    if isinstance(outputs, str) or len(outputs) != len(values) or sorted(names) not in wanted:
        raise ValueError(
            f"outputs: expected {len(values)} names, reconstruction among them, or reconstruction, "
            f'mu and logvar, and "ignore" for the others, got {outputs!r}'
        )
    places = [list(outputs).index(name) for name in _NAMES if name in names]
    chains = [
        chain(_wanted(values[at]), f"output {name}")
        for name, at in zip(_NAMES, places, strict=False)
    ]
    n_features = prod(rows.shape[1:])
    if len(chains) == 3:
        return vae(chains[0], chains[1], chains[2], n_features), places
    return autoencoder(chains[0], n_features), places


def _try(module: torch.nn.Module, rows: npt.NDArray[np.float32]) -> None:
    """Raise ValueError for a module that is not float32, or does not take the rows."""
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            raise ValueError(f"module: expected float32, {name} is {tensor.dtype}")
    try:
        _outputs(module, rows[:2], [0])
    except Exception as error:
        first = str(error).strip().splitlines()[0]
        shape = ", ".join(map(str, rows.shape[1:]))
        raise ValueError(f"example: the module does not take rows [n, {shape}]: {first}") from error


_NAMES = ("reconstruction", "mu", "logvar")


def _wanted(value: Any) -> Any:
    """The value; raises what went wrong on the way to it."""
    if isinstance(value, UnsupportedNode):
        raise value
    return value


def _results(module: torch.nn.Module, rows: npt.NDArray[np.float32]) -> list[Any]:
    """The values of the graph's outputs; an UnsupportedNode for one that has none."""
    parameter = next(iter(module.parameters()), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    # At least two rows: torch.export takes a dimension of 1 for a constant.
    sample = torch.from_numpy(np.resize(rows, (2, *rows.shape[1:]))).to(device)
    with torch.no_grad():
        try:
            program = torch.export.export(module, (sample,), strict=False)
        except Exception as error:
            first = str(error).strip().splitlines()[0]
            raise UnsupportedNode(f"module: torch.export cannot read it: {first}") from error
    state = {**program.state_dict, **program.constants}
    signature = program.graph_signature
    stored = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    values: dict[str, Any] = {}
    for node in program.graph.nodes:
        if node.op == "placeholder":
            if node.name in stored:
                values[node.name] = state[stored[node.name]].detach().cpu().double().numpy()
            else:
                values[node.name] = Chain((), rows.shape[1:])
        elif node.op == "call_function":
            try:
                values[node.name] = _called(node, values)
            except UnsupportedNode as error:
                values[node.name] = error  # perhaps of an output that nobody asks for
        elif node.op == "output":
            return [_value(each, values) for each in node.args[0]]
    raise ValueError("module: its graph has no output")


def _called(node: Any, values: dict[str, Any]) -> Any:
    operator = str(node.target)
    name = operator.rpartition(".")[0] if operator.startswith("aten.") else operator
    where = f"{node.name} ({operator})" + _place(node)
    args = [_wanted(_value(each, values)) for each in node.args]
    if name not in NODES:
        if operator.startswith("aten._assert") or operator.startswith("aten.sym_size"):
            return None
        raise UnsupportedNode(f"{where}: no step of a .vael file does this")
    extra = {key: node.kwargs[key] for key in ("alpha", "approximate") if key in node.kwargs}
    for key, value in node.kwargs.items():
        if key not in (*extra, *_HARMLESS) and value is not None:
            raise UnsupportedNode(f"{where}: {key}={value!r}")
    try:
        return NODES[name](where, [*args, *extra.values()])
    except UnsupportedNode:
        raise
    except ValueError as error:
        raise UnsupportedNode(f"{where}: {error}") from None


def _value(argument: Any, values: dict[str, Any]) -> Any:
    if isinstance(argument, torch.fx.Node):
        return values[argument.name]
    if isinstance(argument, (list, tuple)):
        return [_wanted(_value(each, values)) for each in argument]
    return argument


def _place(node: Any) -> str:
    """Where in the module: " in encoder.2"."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = stack[-1][0] if stack else ""
    return f" in {path}" if path else ""


_HARMLESS = ("dtype", "device", "layout", "memory_format", "pin_memory", "non_blocking", "copy")
"""Keywords of aten operators that change no value but by rounding."""


@torch.no_grad()
def _outputs(
    module: torch.nn.Module, x: npt.NDArray[np.float32], places: Sequence[int]
) -> list[npt.NDArray[Any]]:
    """Some of the module's outputs for standardised rows, without noise."""
    parameter = next(iter(module.parameters()), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    with _NoNoise():
        result = module(torch.from_numpy(x).to(device))
    leaves = tree_leaves(result)  # in the order in which torch.export names them
    return [leaves[at].cpu().numpy() for at in places]


class _NoNoise(torch.overrides.TorchFunctionMode):
    """Random numbers are zero: a VAE is compared at z = mu."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in ("randn_like", "randn", "normal", "normal_"):
            result.zero_()
        return result
