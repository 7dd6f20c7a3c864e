"""gaussian_kl: values, gradients, what is not finite."""

from __future__ import annotations

import torch
from checking import (
    DEVICE,
    assert_elements,
    assert_sums,
    call,
    cases,
    exact,
    gradients,
    laid_out,
    normal,
    row_gradient,
)

from vaelocity.kernels.gaussian_kl import gaussian_kl, gaussian_kl_backward

INF, NAN, LARGEST = torch.inf, torch.nan, torch.finfo(torch.float32).max


def formula(mu, logvar):
    return 0.5 * (mu**2 + torch.expm1(logvar) - logvar).sum(1)


@cases
def test_values_and_gradients(b, d, dtype, layout):
    mu, logvar = normal(b, d, dtype, layout), normal(b, d, dtype, layout, scale=1.5)
    (kl,) = call(gaussian_kl, mu, logvar, outputs=[([b], torch.float32)])
    inputs = exact(mu), exact(logvar)
    want = formula(*inputs)
    assert_sums(kl, want, d)

    grad = row_gradient(b)
    got = call(gaussian_kl_backward, grad, mu, logvar, outputs=[([b, d], dtype)] * 2)
    for g, w in zip(got, gradients(want, grad, *inputs), strict=True):
        assert_elements(g, w)


def test_types_may_differ_and_the_gradient_be_expanded():
    mu, logvar = normal(6, 10, torch.float32), normal(6, 10, torch.float16)
    (kl,) = call(gaussian_kl, mu, logvar, outputs=[([6], torch.float32)])
    inputs = exact(mu), exact(logvar)
    want = formula(*inputs)
    assert_sums(kl, want, 10)
    grad = torch.tensor(0.7, device=DEVICE).expand(6)
    outputs = [([6, 10], torch.float32), ([6, 10], torch.float16)]
    got = call(gaussian_kl_backward, grad, mu, logvar, outputs=outputs)
    for g, w in zip(got, gradients(want, grad, *inputs), strict=True):
        assert_elements(g, w)


def test_small_logvars_do_not_cancel():
    logvar = laid_out([[1e-3], [-1e-4], [3e-6]], torch.float32)
    (kl,) = call(gaussian_kl, torch.zeros_like(logvar), logvar, outputs=[([3], torch.float32)])
    want = formula(torch.zeros(3, 1), exact(logvar))
    # The term is logvar^2 / 4, made from numbers of the size of logvar.
    allowed = 2**-23 * logvar[:, 0].abs().cpu().double()
    assert ((kl.double() - want).abs() <= allowed).all()


def test_what_is_not_finite():
    mu = [[0, 1], [NAN, 0], [-INF, 0], [0, 0], [0, 0], [0, 0], [1e30, 0], [0, 0], [3e38, 3e38]]
    logvar = [[0, 0], [0, 0], [0, 0], [NAN, 0], [INF, 0], [-INF, 0], [0, 0], [100, 0], [-3e38, 0]]
    args = laid_out(mu, torch.float32), laid_out(logvar, torch.float32)
    (kl,) = call(gaussian_kl, *args, outputs=[([9], torch.float32)])
    want = [0.5, NAN, NAN, NAN, NAN, NAN, LARGEST, LARGEST, LARGEST]
    assert_sums(kl, torch.tensor(want, dtype=torch.float64), 2)
