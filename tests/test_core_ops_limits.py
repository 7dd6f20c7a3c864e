"""The fused C++ kernels at their limits: what is not finite, what overflows, the order of a sum,
and arguments that are refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vaelocity import _core

OPS = _core.ops
MAX = torch.finfo(torch.float32).max
NAN, INF = torch.nan, torch.inf
RNG = torch.tensor([5, 9])


def sums(b: int) -> Tensor:
    return torch.full((b,), NAN)


def loss(
    x: Tensor,
    y: Tensor,
    kind: str = "squared_error",
    mask: Tensor | None = None,
    weight: Tensor | None = None,
) -> Tensor:
    out = sums(len(x))
    OPS.reconstruction_loss(x, y, kind, 1.0, mask, weight, out, 0, len(x))
    return out


def kl(mu: Tensor, logvar: Tensor) -> Tensor:
    out = sums(len(mu))
    OPS.gaussian_kl(mu, logvar, out, 0, len(mu))
    return out


def assert_same(got: Tensor, expected: list[float]) -> None:
    torch.testing.assert_close(got, torch.tensor(expected), rtol=0, atol=0, equal_nan=True)


def ordered_sum(terms: np.ndarray) -> np.float32:
    """Term j is added to partial sum j mod 16; then i and i + 8, i + 4, i + 2, i + 1."""
    partial = np.zeros(16, np.float32)
    for j, term in enumerate(terms):
        partial[j % 16] += term
    for half in (8, 4, 2, 1):
        partial[:half] += partial[half : 2 * half]
    return partial[0]


@pytest.mark.parametrize("d", [1, 15, 16, 17, 31, 59, 255, 256, 257, 600])
def test_a_sum_follows_the_one_order(d: int) -> None:
    z = torch.randn(3, d) * 10 ** torch.randn(3, d)
    out = sums(3)
    OPS.sparsity(z, out, 0, 3)
    assert_same(out, [float(ordered_sum(row)) for row in z.abs().numpy()])


def test_the_divergence_is_the_same_bits_wherever_it_is_made() -> None:
    mu, logvar, x = torch.randn(9, 21), torch.randn(9, 21), torch.randn(9, 33)
    z, of_pass, total, of_x, of_elbo = torch.empty(9, 21), sums(9), sums(9), sums(9), sums(9)
    OPS.reparameterize_kl(mu, logvar, RNG, z, of_pass, 0, 9)
    OPS.elbo(x, x, mu, logvar, 0.5, "huber", 1.0, None, None, total, of_x, of_elbo, 0, 9)
    assert torch.equal(of_pass, kl(mu, logvar))
    assert torch.equal(of_elbo, kl(mu, logvar))
    assert torch.equal(total, 0.5 * of_elbo)
    alone = torch.empty(9, 21)
    OPS.reparameterize(mu, logvar, RNG, alone, 0, 9)
    assert torch.equal(alone, z)


def test_weights_of_one_and_a_full_mask_change_no_bit() -> None:
    x, y = torch.rand(5, 59), torch.randn(5, 118)
    ones, full = torch.ones(59), torch.ones(5, 59, dtype=torch.bool)
    for kind in ("squared_error", "absolute_error", "huber", "bce_with_logits", "gaussian_nll"):
        of = y if kind == "gaussian_nll" else y[:, :59]
        assert torch.equal(loss(x, of, kind), loss(x, of, kind, full, ones)), kind


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("at", [0, 16, 18])
@pytest.mark.parametrize(
    "kind", ["squared_error", "absolute_error", "huber", "bce_with_logits", "gaussian_nll"]
)
def test_a_row_that_is_not_finite_is_nan_unless_masked(kind: str, at: int, bad: float) -> None:
    d = 19
    x, y = torch.rand(2, d), torch.randn(2, 2 * d if kind == "gaussian_nll" else d)
    mask = torch.ones(2, d, dtype=torch.bool)
    mask[:, at] = False
    for tensor in (x, y):
        spoilt = tensor.clone()
        spoilt[0, at] = bad
        pair = (spoilt, y) if tensor is x else (x, spoilt)
        got, known = loss(*pair, kind), loss(x, y, kind)
        assert_same(got, [NAN, float(known[1])])
        assert torch.equal(loss(*pair, kind, mask), loss(x, y, kind, mask))
    if kind == "gaussian_nll":
        y[0, d + at] = bad
        assert loss(x, y, kind).isnan().tolist() == [True, False]


def test_finite_inputs_saturate() -> None:
    zeros, x = torch.zeros(1, 3), torch.zeros(1, 3)
    assert_same(loss(x, torch.full((1, 3), 1e30)), [MAX])
    assert_same(loss(x, torch.full((1, 3), 3e38), "absolute_error"), [MAX])
    assert_same(loss(x, torch.full((1, 3), 3e38), "huber"), [MAX])
    assert_same(loss(x - 1, torch.full((1, 3), 3e38), "bce_with_logits"), [MAX])
    assert_same(loss(x + 5, torch.full((1, 3), 3e38), "bce_with_logits"), [-MAX])
    nll = torch.tensor([[0.0, 0, 0, -200, -200, -200]])
    assert_same(loss(x + 1, nll, "gaussian_nll"), [MAX])
    assert_same(loss(x, nll, "gaussian_nll"), [-300.0])
    assert_same(kl(zeros, torch.full((1, 3), 89.0)), [MAX])
    assert_same(kl(torch.full((1, 3), 1e20), zeros), [MAX])
    assert_same(kl(zeros, torch.full((1, 3), -3e38)), [MAX])


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_a_latent_that_is_not_finite_is_nan(bad: float) -> None:
    good = torch.zeros(2, 5)
    spoilt = good.clone()
    spoilt[1, 4] = bad
    assert_same(kl(spoilt, good), [0.0, NAN])
    assert_same(kl(good, spoilt), [0.0, NAN])
    out = sums(2)
    OPS.sparsity(spoilt, out, 0, 2)
    assert_same(out, [0.0, NAN])
    OPS.denoising_loss(spoilt, RNG, out, 0, 2)
    assert out.isnan().tolist() == [False, True]


@pytest.mark.parametrize(
    ("x", "mu", "beta", "expected"),
    [
        (0.0, 1e30, 0.0, (0.0, 0.0, MAX)),
        (0.0, 1e30, 0.5, (0.5 * MAX, 0.0, MAX)),
        (1e30, 1e30, 1.0, (MAX, MAX, MAX)),
        (NAN, 1.0, 1.0, (NAN, NAN, 0.5)),
        (1e30, INF, 1.0, (NAN, MAX, NAN)),
        (0.0, NAN, 0.0, (NAN, 0.0, NAN)),
    ],
)
def test_an_elbo_is_made_of_what_its_parts_show(
    x: float, mu: float, beta: float, expected: tuple[float, float, float]
) -> None:
    zeros, parts = torch.zeros(1, 1), [sums(1), sums(1), sums(1)]
    args = [torch.tensor([[x]]), zeros, torch.tensor([[mu]]), zeros, beta, "squared_error", 1.0]
    OPS.elbo(*args, None, None, *parts, 0, 1)
    assert_same(torch.cat(parts), list(expected))


def test_gradients_are_those_of_the_formula_where_nothing_is_finite() -> None:
    y = torch.tensor([[NAN, INF, -INF, 1e30, 0.0]])
    for kind, expected in {
        "squared_error": [NAN, INF, -INF, 1e30, 0.0],
        "absolute_error": [NAN, 1.0, -1.0, 1.0, 0.0],
        "huber": [NAN, 1.0, -1.0, 1.0, 0.0],
        "bce_with_logits": [NAN, 1.0, 0.0, 1.0, 0.5],
    }.items():
        grad = torch.full((1, 5), 7.0)
        args = [torch.ones(1), torch.zeros(1, 5), y, kind, 1.0, None, None]
        OPS.reconstruction_loss_backward(*args, grad, 0, 1)
        assert_same(grad[0], expected)


def test_masked_gradients_are_zero_even_of_nan() -> None:
    y, mask = torch.tensor([[NAN, 2.0]]), torch.tensor([[False, True]])
    grad = torch.full((1, 2), NAN)
    args = [torch.ones(1), torch.zeros(1, 2), y, "squared_error", 1.0, mask, None]
    OPS.reconstruction_loss_backward(*args, grad, 0, 1)
    assert_same(grad[0], [0.0, 2.0])


def test_dropping_leaves_an_exact_zero() -> None:
    x, out, kept = torch.full((2, 3), NAN), torch.full((2, 3), 7.0), torch.ones(2, 3).bool()
    OPS.corrupt(x, RNG, 0.1, 1.0, out, kept, 0, 2)
    assert_same(out.flatten(), [0.0] * 6)
    assert not kept.any()


def test_subnormals_survive_a_thread_that_flushes_them() -> None:
    z, out = torch.full((1, 3), 1e-40), sums(1)
    expected = float(np.float32(1e-40) * 3)
    assert torch.set_flush_denormal(True)
    try:
        OPS.sparsity(z, out, 0, 1)
    finally:
        torch.set_flush_denormal(False)
    assert out.view(torch.int32).item() == np.float32(expected).view(np.int32)


F32 = torch.zeros(4, 3)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            (F32.long(), F32, sums(4)),
            r"mu: expected a float.* \[B, D\], got torch.int64",
        ),
        ((F32[0], F32, sums(4)), r"mu: .* got torch.float32 of shape \(3,\)"),
        ((F32, F32[:2], sums(4)), r"logvar: expected shape \[4, 3\], got .* of shape \(2, 3\)"),
        ((F32, torch.zeros(3, 4).T, sums(4)), r"logvar: expected neighbouring columns"),
        ((F32, F32, sums(3)), r"kl: expected a contiguous float32 tensor \[4\], got .* \(3,\)"),
        ((F32, F32, sums(8)[::2]), r"kl: expected a contiguous float32 tensor \[4\]"),
        ((F32, F32, sums(4).double()), r"kl: expected a .*, got torch.float64"),
        ((F32, "logvar", sums(4)), r"logvar: expected a torch tensor, got str"),
        ((F32, F32.to("meta"), sums(4)), r"logvar: expected a tensor on the CPU"),
    ],
)
def test_arguments_that_could_crash_are_refused_by_name(
    args: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        OPS.gaussian_kl(*args, 0, 4)


def test_other_arguments_are_refused_by_name() -> None:
    x, out = torch.zeros(4, 3), sums(4)
    with pytest.raises(ValueError, match=r"kind: expected squared_error, .*, got square"):
        loss(x, x, "square")
    with pytest.raises(ValueError, match=r"y: expected shape \[4, 6\], got .* \(4, 3\)"):
        loss(x, x, "gaussian_nll")
    with pytest.raises(
        ValueError, match=r"mask: expected a bool tensor \[4, 3\] .*, got torch.float32"
    ):
        loss(x, x, mask=x)
    with pytest.raises(ValueError, match=r"weight: expected a contiguous float32 tensor \[3\]"):
        loss(x, x, weight=torch.zeros(4))
    with pytest.raises(ValueError, match=r"z: expected rows that do not overlap"):
        OPS.reparameterize(x, x, RNG, torch.zeros(1, 3).expand(4, 3), 0, 4)
    with pytest.raises(ValueError, match=r"begin, end: expected a span within 0 .. 4, got 3 .. 5"):
        OPS.gaussian_kl(x, x, out, 3, 5)
    with pytest.raises(ValueError, match=r"drop: expected a probability 0 .. 1, got 1.5"):
        OPS.corrupt(x, RNG, 0.0, 1.5, x, x.bool(), 0, 4)
    steps, alpha_bar = torch.tensor([0, 1, 2, -1]), torch.ones(3)
    with pytest.raises(ValueError, match=r"t: expected steps 0 .. 3 - 1, got -1 at row 3"):
        OPS.diffuse(x, steps, alpha_bar, RNG, torch.empty(4, 3), 0, 4)


class OldTensor:
    """What a torch without the DLPack exchange interface shows of a tensor."""

    def __init__(self, tensor: Tensor) -> None:
        self.is_cpu, self.dtype, self.shape = tensor.is_cpu, tensor.dtype, tensor.shape
        self.stride, self.data_ptr = tensor.stride, tensor.data_ptr


def test_a_tensor_read_by_its_attributes_is_the_same() -> None:
    mu, logvar, kl_old, kl_new = (
        torch.randn(5, 9)[:, 2:],
        torch.randn(5, 7).half(),
        sums(5),
        sums(5),
    )
    OPS.gaussian_kl(mu, logvar, kl_new, 0, 5)
    OPS.gaussian_kl(*map(OldTensor, (mu, logvar, kl_old)), 0, 5)
    assert torch.equal(kl_old, kl_new)
    with pytest.raises(ValueError, match=r"kl: expected .*, got torch.float32 of shape \(5, 7\)"):
        OPS.gaussian_kl(mu, logvar, OldTensor(mu), 0, 5)
