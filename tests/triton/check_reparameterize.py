"""reparameterize and reparameterize_kl: values, gradients, what is not finite."""

from __future__ import annotations

import noise
import torch
from checking import (
    DEVICE,
    assert_elements,
    assert_sums,
    call,
    cases,
    draw,
    exact,
    gradients,
    laid_out,
    normal,
    row_gradient,
)

from vaelocity.kernels.gaussian_kl import gaussian_kl
from vaelocity.kernels.reparameterize import reparameterize, reparameterize_backward
from vaelocity.kernels.reparameterize_kl import reparameterize_kl, reparameterize_kl_backward

INF, NAN, LARGEST = torch.inf, torch.nan, torch.finfo(torch.float32).max


def sample(mu, logvar, eps):
    return mu + torch.exp(0.5 * logvar) * eps


def divergence(mu, logvar):
    return 0.5 * (mu**2 + torch.expm1(logvar) - logvar).sum(1)


def normal_pair(b, d, dtype, layout):
    return normal(b, d, dtype, layout), normal(b, d, dtype, layout, scale=1.5)


@cases
def test_reparameterize(b, d, layout, dtype):
    mu, logvar = normal_pair(b, d, dtype, layout)
    eps = noise.normals(draw(), b, d)
    (z,) = call(reparameterize, mu, logvar, draw(), outputs=[([b, d], dtype)])
    inputs = exact(mu), exact(logvar)
    want = sample(*inputs, eps)
    sigma = torch.exp(0.5 * inputs[1])
    assert_elements(z, want, sigma)

    grad = normal(b, d, dtype, layout, scale=0.5)
    (got,) = call(reparameterize_backward, grad, logvar, draw(), outputs=[([b, d], dtype)])
    assert_elements(got, gradients(want, grad, *inputs)[1], sigma)


@cases
def test_reparameterize_kl(b, d, layout, dtype):
    mu, logvar = normal_pair(b, d, dtype, layout)
    eps = noise.normals(draw(), b, d)
    outputs = [([b, d], dtype), ([b], torch.float32)]
    z, kl = call(reparameterize_kl, mu, logvar, draw(), outputs=outputs)
    inputs = exact(mu), exact(logvar)
    want_z, want_kl = sample(*inputs, eps), divergence(*inputs)
    sigma = torch.exp(0.5 * inputs[1])
    assert_elements(z, want_z, sigma)
    assert_sums(kl, want_kl, d)

    grad_z, grad_kl = normal(b, d, dtype, layout, scale=0.5), row_gradient(b)
    args = grad_z, grad_kl, mu, logvar, draw()
    got = call(reparameterize_kl_backward, *args, outputs=[([b, d], dtype)] * 2)
    of_z, of_kl = gradients(want_z, grad_z, *inputs), gradients(want_kl, grad_kl, *inputs)
    for g, w_z, w_kl in zip(got, of_z, of_kl, strict=True):
        assert_elements(g, w_z + w_kl, sigma + w_z.abs() + w_kl.abs())


def test_the_sample_and_the_divergence_are_those_of_the_single_ops():
    mu, logvar = normal_pair(70, 16, torch.float32, "dense")
    outputs = [([70, 16], torch.float32), ([70], torch.float32)]
    z, kl = call(reparameterize_kl, mu, logvar, draw(), outputs=outputs)
    (same_z,) = call(reparameterize, mu, logvar, draw(), outputs=outputs[:1])
    (same_kl,) = call(gaussian_kl, mu, logvar, outputs=outputs[1:])
    assert torch.equal(z, same_z)
    assert torch.equal(kl, same_kl)


def test_gradients_may_be_expanded():
    mu, logvar = normal_pair(6, 10, torch.float32, "dense")
    grad_z = normal(1, 10, torch.float32).expand(6, 10)
    grad_kl = torch.tensor(0.7, device=DEVICE).expand(6)
    args = mu, logvar, draw()
    outputs = [([6, 10], torch.float32)]
    expanded = call(reparameterize_kl_backward, grad_z, grad_kl, *args, outputs=outputs * 2)
    dense = call(
        reparameterize_kl_backward, grad_z.contiguous(), grad_kl.contiguous(), *args,
        outputs=outputs * 2,
    )  # fmt: skip
    assert all(torch.equal(e, f) for e, f in zip(expanded, dense, strict=True))
    (expanded,) = call(reparameterize_backward, grad_z, logvar, draw(), outputs=outputs)
    (dense,) = call(reparameterize_backward, grad_z.contiguous(), logvar, draw(), outputs=outputs)
    assert torch.equal(expanded, dense)


def test_what_is_not_finite():
    mu = laid_out([[NAN], [INF], [0], [0], [0], [0]], torch.float32)
    logvar = laid_out([[0], [0], [NAN], [INF], [-INF], [100]], torch.float32)
    outputs = [([6, 1], torch.float32), ([6], torch.float32)]
    z, kl = call(reparameterize_kl, mu, logvar, draw(), outputs=outputs)
    eps = noise.normals(draw(), 6, 1)
    want = sample(mu.cpu().double(), logvar.cpu().double(), eps)
    assert_elements(z, want, want.abs().nan_to_num(0, 0))
    assert_sums(kl, torch.tensor([NAN] * 5 + [LARGEST], dtype=torch.float64), 1)
