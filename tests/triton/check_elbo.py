"""elbo: the total, its parts, gradients."""

from __future__ import annotations

import losses
import pytest
import torch
from checking import (
    assert_elements,
    assert_sums,
    call,
    dtypes,
    exact,
    laid_out,
    normal,
    row_gradient,
)
from losses import DELTA, LARGEST, example, mask_of, weight_of

from vaelocity.kernels.elbo import elbo, elbo_backward
from vaelocity.kernels.gaussian_kl import gaussian_kl
from vaelocity.kernels.reconstruction_loss import KINDS, reconstruction_loss

INF, NAN = torch.inf, torch.nan
BETA = 0.6
# [B, D], latent variables: wider features, wider latent, no features, no rows.
SIZES = [(21, 57, 5), (70, 16, 16), (3, 4, 1500), (5, 0, 3), (5, 3, 0), (0, 4, 2)]


def divergence(mu, logvar):
    return 0.5 * (mu**2 + torch.expm1(logvar) - logvar).sum(1)


def check(x, y, mu, logvar, kind, mask, weight):
    (b, d), latents = x.shape, mu.shape[1]
    args = x, y, mu, logvar, BETA, kind, DELTA, mask, weight
    total, reconstruction, kl = call(elbo, *args, outputs=[([b], torch.float32)] * 3)
    target, *inputs = exact(x), exact(y), exact(mu), exact(logvar)
    want_reconstruction = losses.formula(target, inputs[0], kind, mask, weight)
    want_kl = divergence(*inputs[1:])
    want_total = want_reconstruction + BETA * want_kl
    assert_sums(reconstruction, want_reconstruction, d)
    assert_sums(kl, want_kl, latents)
    assert_sums(total, want_total, d + latents)

    grads = row_gradient(b), row_gradient(b).flip(0), 0.5 * row_gradient(b)
    outputs = [(each.shape, each.dtype) for each in (y, mu, logvar)]
    got = call(elbo_backward, *grads, *args, outputs=outputs)
    whole = sum(
        (grad.cpu().double() * want).sum()
        for grad, want in zip(grads, (want_total, want_reconstruction, want_kl), strict=True)
    )
    wants = torch.autograd.grad(whole, inputs, allow_unused=True)
    for g, w, each in zip(got, wants, inputs, strict=True):
        assert_elements(g, torch.zeros_like(each) if w is None else w, 8.0)


@pytest.mark.parametrize(("b", "d", "latents"), SIZES)
@dtypes
def test_sizes(b, d, latents, dtype):
    x, y = example("squared_error", b, d, dtype, "gaps")
    mu, logvar = normal(b, latents, dtype, "gaps"), normal(b, latents, dtype, "gaps", scale=1.5)
    check(x, y, mu, logvar, "squared_error", None, None)


@pytest.mark.parametrize("kind", KINDS)
def test_kinds(kind):
    x, y = example(kind, 9, 20, torch.float32, "dense")
    mu, logvar = normal(9, 4, torch.float16), normal(9, 4, torch.float32)
    check(x, y, mu, logvar, kind, mask_of(9, 20), weight_of(20))


def test_the_parts_are_those_of_the_single_ops():
    x, y = example("squared_error", 70, 16, torch.float32, "dense")
    mu, logvar = normal(70, 16, torch.float32), normal(70, 16, torch.float32, scale=1.5)
    options = "squared_error", DELTA, None, None
    sums = [([70], torch.float32)]
    _, reconstruction, kl = call(elbo, x, y, mu, logvar, BETA, *options, outputs=sums * 3)
    assert torch.equal(reconstruction, *call(reconstruction_loss, x, y, *options, outputs=sums))
    assert torch.equal(kl, *call(gaussian_kl, mu, logvar, outputs=sums))


def test_what_is_not_finite():
    """A NaN goes into the parts that it belongs to; the total saturates as its parts do."""
    x = laid_out([[0, 0], [NAN, 0], [0, 0], [2e38, 0], [0, 0]], torch.float32)
    mu = laid_out([[0], [0], [INF], [0], [1e30]], torch.float32)
    options = "squared_error", DELTA, None, None
    args = x, torch.zeros_like(x), mu, torch.zeros_like(mu), 4.0, *options
    total, reconstruction, kl = call(elbo, *args, outputs=[([5], torch.float32)] * 3)
    for got, want in (
        (total, [0, NAN, NAN, LARGEST, LARGEST]),
        (reconstruction, [0, NAN, 0, LARGEST, 0]),
        (kl, [0, 0, NAN, 0, LARGEST]),
    ):
        assert_sums(got, torch.tensor(want, dtype=torch.float64), 2)
