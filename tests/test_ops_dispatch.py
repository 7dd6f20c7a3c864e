"""Who computes a call, what it says when it cannot, and what wrong arguments are told."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from vaelocity import _core, ops  # noqa: E402
from vaelocity.backends import cpu  # noqa: E402
from vaelocity.ops import _dispatch  # noqa: E402

MU = torch.zeros(4, 3)


def test_every_file_is_an_op() -> None:
    assert set(ops.OPS) >= {
        "philox_normal", "reparameterize", "gaussian_kl", "reparameterize_kl",
        "reconstruction_loss", "elbo", "sparsity", "corrupt", "diffuse", "denoising_loss",
    }  # fmt: skip
    for name, module in ops.OPS.items():
        assert getattr(ops, name) is getattr(module, name)
        assert getattr(ops, name).__doc__
        assert module.CASES


@pytest.mark.parametrize("name", sorted(ops.OPS))
def test_a_kernel_of_every_op_and_its_backward(name: str) -> None:
    for operator in ops.OPS[name].OP.names:
        assert cpu.unavailable(operator) is None


class Calls:
    """Counts what reaches the kernels."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.spans: list[tuple[int, int]] = []
        operator = ops.OPS[name].OP.forward
        kernel = getattr(_core.ops, name)

        def counted(*args: Any) -> None:
            self.spans.append(args[-2:])
            kernel(*args)

        monkeypatch.setattr(_core.ops, name, counted)
        monkeypatch.setattr(operator, "_kernels", {})


def test_the_kernel_runs_unless_the_reference_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = Calls(monkeypatch, "gaussian_kl")
    ops.gaussian_kl(MU, MU)
    ops.gaussian_kl(MU, MU, backend="cpu")
    assert calls.spans == [(0, 4)] * 2
    ops.gaussian_kl(MU, MU, backend="reference")
    ops.gaussian_kl(MU.double(), MU.double())
    assert len(calls.spans) == 2


def test_explain() -> None:
    assert ops.explain("gaussian_kl", MU, MU) == {
        "cpu": None,
        "triton": "it takes tensors on CUDA, got one on cpu",
        "reference": None,
    }
    wide = ops.explain(ops.elbo, MU, MU, mu=MU.double(), logvar=MU.double())
    assert wide["cpu"] == "it takes float32, bfloat16 and float16, got torch.float64"
    x = MU.clone().requires_grad_()
    said = ops.explain("reconstruction_loss", x, MU)
    assert said["cpu"] == "only the reference has the gradient of x"
    assert ops.explain("reparameterize", MU, MU, ops.Rng(0))["cpu"] is None
    with pytest.raises(ValueError, match=r"op: expected one of corrupt, .*, got 'kl'"):
        ops.explain("kl", MU)


def test_a_forced_backend_that_cannot_serve_says_why() -> None:
    with pytest.raises(
        RuntimeError, match=r"gaussian_kl: backend 'cpu' was asked for, but it takes float32, .*64"
    ):
        ops.gaussian_kl(MU.double(), MU.double(), backend="cpu")
    with pytest.raises(RuntimeError, match=r"backend 'triton' was asked for, but it takes .* CUDA"):
        ops.gaussian_kl(MU, MU, backend="triton")
    with pytest.raises(ValueError, match="backend: expected one of cpu, triton, reference, got"):
        ops.gaussian_kl(MU, MU, backend="cuda")
    with pytest.raises(RuntimeError, match=r"but transforms of torch\.func go through"):
        torch.func.vmap(lambda m: ops.gaussian_kl(m, m, backend="cpu"))(MU[None])


def test_the_environment_forces_a_backend() -> None:
    code = (
        "import torch; from vaelocity import ops; m = torch.zeros(2, 3, dtype=torch.float64);"
        "ops.gaussian_kl(m.float(), m.float()); ops.gaussian_kl(m, m)"
    )
    environment = {**os.environ, "VAELOCITY_BACKEND": "cpu"}
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert "backend 'cpu' was asked for, but it takes float32" in found.stderr


def test_triton_is_imported_only_where_it_would_serve() -> None:
    code = (
        "import sys, torch; from vaelocity import ops; m = torch.zeros(2, 3);"
        "ops.gaussian_kl(m, m); ops.explain('gaussian_kl', m, m);"
        "assert 'triton' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_backend_that_is_broken_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from vaelocity.backends import triton

    def broken(name: str) -> None:
        raise ImportError("libcuda.so: no such file")

    monkeypatch.setattr(triton, "_find", broken)
    monkeypatch.setattr(triton, "_reasons", {})
    monkeypatch.setattr(triton, "_INTERPRETED", True)
    monkeypatch.setattr(_dispatch, "_on_cuda", lambda args: True)
    monkeypatch.setattr(_dispatch, "_warned", set())
    monkeypatch.setattr(cpu, "reject", lambda names, args: "it takes tensors on the CPU")
    assert ops.explain("gaussian_kl", MU, MU)["triton"] == "ImportError: libcuda.so: no such file"
    with pytest.warns(RuntimeWarning, match="gaussian_kl: .* not to be had: ImportError: libcuda"):
        ops.gaussian_kl(MU, MU)
    ops.gaussian_kl(MU, MU)  # a second warning would be an error


def test_support_table() -> None:
    from vaelocity.ops.__main__ import support

    rows = {(op, dtype): said for op, dtype, said in support()}
    assert rows["elbo", "bfloat16"]["cpu"] is None or torch.cuda.is_available()
    assert rows["elbo", "float64"]["reference"] is None
    assert rows["elbo", "float64"]["cpu"] is not None
    assert {op for op, _ in rows} == set(ops.OPS)
    found = subprocess.run(
        [sys.executable, "-m", "vaelocity.ops"], capture_output=True, text=True, check=True
    )
    assert "denoising_loss" in found.stdout


# ---- Threads


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", sorted(ops.OPS))
def test_threads_do_not_change_a_bit(
    name: str, threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "_SPAN", 64)
    case = next(c for c in ops.OPS[name].CASES if c.name in ("33x59", "33x17-float32"))
    found = {}
    for n in (1, 2, 3, 7):
        threads(n)
        arguments = case.arguments()
        declared = ops.OPS[name].OP
        leaves = []
        for i in declared.gradients.positions if declared.gradients else []:
            key = declared.forward.arguments[i]
            arguments[key] = arguments[key].requires_grad_()
            leaves.append(arguments[key])
        results = getattr(ops, name)(**arguments)
        results = results if isinstance(results, tuple) else (results,)
        floats = [each for each in results if each.is_floating_point()]
        found[n] = [*(each.detach() for each in results)]
        if leaves:
            found[n] += torch.autograd.grad(floats, leaves, [torch.ones_like(f) for f in floats])
    for n in (2, 3, 7):
        for ours, serial in zip(found[n], found[1], strict=True):
            assert torch.equal(ours, serial)


def test_large_calls_are_shared_out(
    threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads(3)
    monkeypatch.setattr(cpu, "_SPAN", 10)
    calls = Calls(monkeypatch, "sparsity")
    ops.sparsity(torch.ones(10, 3))
    assert sorted(calls.spans) == [(0, 4), (4, 8), (8, 10)]
    ops.sparsity(torch.ones(6, 3))
    assert calls.spans[3:] == [(0, 6)]


def test_an_error_in_a_thread_is_raised(
    threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads(2)
    monkeypatch.setattr(cpu, "_SPAN", 1)
    x0, t = torch.zeros(8, 3), torch.full((8,), 5)
    with pytest.raises(ValueError, match="t: expected steps"):
        ops.diffuse(x0, t, torch.ones(5), ops.Rng(0))


# ---- Arguments


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: ops.gaussian_kl(torch.zeros(3, dtype=torch.int64), MU),
            TypeError,
            r"mu: expected a floating tensor \[B, D\], got torch.int64 of shape \(3,\)",
        ),
        (
            lambda: ops.gaussian_kl(torch.zeros(3), torch.zeros(3)),
            ValueError,
            r"mu: expected a floating tensor \[B, D\], got torch.float32 of shape \(3,\)",
        ),
        (
            lambda: ops.gaussian_kl(MU, torch.zeros(4, 2)),
            ValueError,
            r"logvar: expected the shape of mu, \(4, 3\), got \(4, 2\)",
        ),
        (lambda: ops.sparsity([[1.0]]), TypeError, r"z: expected a floating tensor .* got list"),
        (
            lambda: ops.reparameterize(MU, MU, 5),
            TypeError,
            r"rng: expected an ops\.Rng, or an int64 tensor \[2\] .* got int",
        ),
        (
            lambda: ops.philox_normal([2, -1], ops.Rng(0)),
            ValueError,
            r"shape: expected sizes of at least 0, got \(2, -1\)",
        ),
        (
            lambda: ops.philox_normal([2], ops.Rng(0), dtype=torch.int64),
            TypeError,
            r"dtype: expected a floating type, got torch\.int64",
        ),
        (
            lambda: ops.reconstruction_loss(MU, MU, "mse"),
            ValueError,
            r"kind: expected one of squared_error, .*, got 'mse'",
        ),
        (
            lambda: ops.reconstruction_loss(MU, MU, "huber", delta=-1.0),
            ValueError,
            r"delta: expected a finite number from 0, got -1\.0",
        ),
        (
            lambda: ops.reconstruction_loss(MU, MU, "gaussian_nll"),
            ValueError,
            r"y: expected twice the features of x, .*\(4, 6\), got \(4, 3\)",
        ),
        (
            lambda: ops.reconstruction_loss(MU, MU, mask=MU),
            TypeError,
            r"mask: expected a bool tensor, got torch\.float32 of shape \(4, 3\)",
        ),
        (
            lambda: ops.reconstruction_loss(MU, MU, mask=torch.ones(4, dtype=torch.bool)),
            ValueError,
            r"mask: expected the shape of x or of a sample, \(4, 3\) or \(3,\), got \(4,\)",
        ),
        (
            lambda: ops.reconstruction_loss(MU, MU, weight=torch.ones(4)),
            ValueError,
            r"weight: expected the shape of a sample, \(3,\), got \(4,\)",
        ),
        (
            lambda: ops.elbo(MU, MU, MU[:2], MU[:2]),
            ValueError,
            r"mu: expected 4 rows, as x has, got \(2, 3\)",
        ),
        (
            lambda: ops.elbo(MU, MU, MU, MU, beta=float("nan")),
            ValueError,
            r"beta: expected a finite number, got nan",
        ),
        (
            lambda: ops.corrupt(MU, ops.Rng(0), drop=1.5),
            ValueError,
            r"drop: expected a finite number from 0 to 1, got 1\.5",
        ),
        (
            lambda: ops.diffuse(MU, torch.zeros(4), torch.ones(5), ops.Rng(0)),
            TypeError,
            r"t: expected an int64 tensor \[4\], got torch\.float32 of shape \(4,\)",
        ),
        (
            lambda: ops.diffuse(MU, torch.zeros(4).long(), torch.ones(5, 1), ops.Rng(0)),
            TypeError,
            r"alpha_bar: expected a floating tensor \[T\], got torch\.float32 of shape \(5, 1\)",
        ),
        (
            lambda: ops.gaussian_kl(MU, torch.zeros(4, 3, device="meta")),
            ValueError,
            r"logvar: expected a tensor on the device of mu, cpu, got one on meta",
        ),
    ],
)
def test_wrong_arguments_are_named(
    call: Callable[[], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()


def test_a_failed_call_draws_nothing() -> None:
    rng = ops.Rng(1)
    with pytest.raises(ValueError, match="logvar"):
        ops.reparameterize(MU, torch.zeros(4, 2), rng)
    assert rng.state.tolist() == [1, 0]
