"""denoising_loss: values and gradients against the same draw's noise."""

from __future__ import annotations

import noise
import torch
from checking import (
    assert_close,
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

from vaelocity.kernels.denoising_loss import denoising_loss, denoising_loss_backward

INF, NAN, LARGEST = torch.inf, torch.nan, torch.finfo(torch.float32).max


@cases
def test_values_and_gradients(b, d, layout, dtype):
    prediction = normal(b, d, dtype, layout)
    (loss,) = call(denoising_loss, prediction, draw(), outputs=[([b], torch.float32)])
    values, eps = exact(prediction), noise.normals(draw(), b, d)
    want = 0.5 * ((values - eps) ** 2).sum(1)
    # An error of 1e-6 in eps is one of |prediction - eps| times that in a term.
    assert_sums(loss, want, int((values - eps).abs().sum(1).max(0).values) + d if b * d else d)

    grad = row_gradient(b)
    (got,) = call(denoising_loss_backward, grad, prediction, draw(), outputs=[([b, d], dtype)])
    assert_elements(got, *gradients(want, grad, values))


def test_what_is_not_finite():
    prediction = laid_out([[NAN, 0], [-INF, 0], [1e30, 0]], torch.float32)
    (loss,) = call(denoising_loss, prediction, draw(), outputs=[([3], torch.float32)])
    assert_sums(loss, torch.tensor([NAN, NAN, LARGEST], dtype=torch.float64), 2)


def test_a_row_that_ends_behind_its_last_part():
    """4095 columns fit in one part of 4096, but not where the row begins inside a Philox block."""
    prediction = normal(2, 4095, torch.float32)
    (loss,) = call(denoising_loss, prediction, draw(), outputs=[([2], torch.float32)])
    d = prediction.cpu().double() - noise.normals(draw(), 2, 4095)
    # Within the last element's term, which is what would be missing.
    assert (0.5 * d[1, -3:] ** 2).sum() > 0.01
    assert_close(loss, 0.5 * (d**2).sum(1), 0.005)
