"""Every op x backend x case against reference() in float64: results and gradients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from vaelocity import ops  # noqa: E402
from vaelocity.backends import BACKENDS  # noqa: E402

CASES = [(name, case) for name, module in sorted(ops.OPS.items()) for case in module.CASES]
DEVICES = {"cpu": "cpu", "triton": "cuda"}
TARGETS = [
    pytest.param(backend, marks=pytest.mark.gpu if DEVICES[backend] == "cuda" else ())
    for backend in BACKENDS
    if backend != "reference"
]


def tensors(results: Any) -> list[Any]:
    return list(results) if isinstance(results, tuple) else [results]


def doubled(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The same numbers in float64."""
    return {
        key: value.double()
        if isinstance(value, torch.Tensor) and value.is_floating_point()
        else value
        for key, value in arguments.items()
    }


def differentiable(name: str, arguments: dict[str, Any]) -> list[str]:
    """Makes leaves of the arguments that have gradients from a kernel; their names."""
    declared = ops.OPS[name].OP
    if declared.gradients is None:
        return []
    names = [declared.forward.arguments[i] for i in declared.gradients.positions]
    for each in names:
        arguments[each] = arguments[each].detach().requires_grad_()
    return names


def close(actual: Any, expected: Any, case: Any) -> None:
    """Within the case's tolerance, and one rounding of a half type; NaN equals NaN. What does not
    fit in the type is infinite; in a sum, whose type is float32, its largest number."""
    if not actual.is_floating_point():
        torch.testing.assert_close(actual, expected, rtol=0, atol=0)
        return
    exact = actual.dtype == torch.float32 or case.rtol == 0
    rtol = case.rtol if exact else torch.finfo(actual.dtype).eps
    expected = expected.to(actual.dtype).double()
    torch.testing.assert_close(actual.double(), expected, rtol=rtol, atol=case.atol, equal_nan=True)


def saturated(expected: Any) -> Any:
    return expected.clamp(max=torch.finfo(torch.float32).max) if expected.dim() == 1 else expected


@pytest.fixture(params=TARGETS)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    if DEVICES[request.param] == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return request.param


@pytest.mark.parametrize(("name", "case"), CASES, ids=[f"{n}-{c}" for n, c in CASES])
@pytest.mark.usefixtures("poisoned_memory")
def test_op(name: str, case: Any, backend: str) -> None:
    function = getattr(ops, name)
    arguments = case.arguments(DEVICES[backend])
    wide = doubled(case.arguments("cpu"))
    leaves = differentiable(name, arguments)
    differentiable(name, wide)
    results = tensors(function(**arguments, backend=backend))
    expected = tensors(function(**wide, backend="reference"))
    assert len(results) == len(expected)
    for actual, right in zip(results, expected, strict=True):
        assert actual.is_contiguous()
        close(actual.detach().cpu(), saturated(right.detach()), case)
    if case.expected is not None:
        stated = torch.tensor(case.expected, dtype=torch.float64)
        close(results[0].detach().cpu(), stated, case)
    if not leaves:
        return
    floats = [i for i, each in enumerate(results) if each.is_floating_point()]
    generator = torch.Generator().manual_seed(0)
    cotangents = [torch.randn(results[i].shape, generator=generator) for i in floats]
    found = torch.autograd.grad(
        [results[i] for i in floats],
        [arguments[leaf] for leaf in leaves],
        [c.to(results[i]) for c, i in zip(cotangents, floats, strict=True)],
    )
    right = torch.autograd.grad(
        [expected[i] for i in floats],
        [wide[leaf] for leaf in leaves],
        [c.to(results[i].dtype).double() for c, i in zip(cotangents, floats, strict=True)],
    )
    for leaf, actual, gradient in zip(leaves, found, right, strict=True):
        assert actual.dtype == arguments[leaf].dtype
        close(actual.cpu(), gradient, case)
