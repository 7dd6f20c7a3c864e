"""sparsity: values, gradients, what is not finite."""

from __future__ import annotations

import torch
from checking import (
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

from vaelocity.kernels.sparsity import sparsity, sparsity_backward

INF, NAN, LARGEST = torch.inf, torch.nan, torch.finfo(torch.float32).max


@cases
def test_values_and_gradients(b, d, layout, dtype):
    z = normal(b, d, dtype, layout)
    (total,) = call(sparsity, z, outputs=[([b], torch.float32)])
    values = exact(z)
    want = values.abs().sum(1)
    assert_sums(total, want, d)

    grad = row_gradient(b)
    (got,) = call(sparsity_backward, grad, z, outputs=[([b, d], dtype)])
    assert_elements(got, *gradients(want, grad, values))


def test_edges():
    z = laid_out([[0, -0.0], [NAN, 1], [-INF, 1], [3e38, -3e38], [-2, 3]], torch.float32)
    (total,) = call(sparsity, z, outputs=[([5], torch.float32)])
    assert_sums(total, torch.tensor([0, NAN, NAN, LARGEST, 5], dtype=torch.float64), 2)
    grad = torch.ones(5, device=z.device)
    (got,) = call(sparsity_backward, grad, z, outputs=[([5, 2], torch.float32)])
    want = torch.tensor([[0, 0], [NAN, 1], [-1, 1], [1, -1], [-1, 1]], dtype=torch.float64)
    assert_elements(got, want)
