"""diffuse: values and gradients, and a step outside the schedule."""

from __future__ import annotations

import noise
import torch
from checking import (
    DEVICE,
    assert_elements,
    call,
    cases,
    draw,
    exact,
    gradients,
    normal,
)

from vaelocity.kernels.diffuse import diffuse, diffuse_backward

ALPHA_BAR = torch.linspace(1.0, 0.0, 12, device=DEVICE)


@cases
def test_values_and_gradients(b, d, layout, dtype):
    x0, t = normal(b, d, dtype, layout), 5 * torch.arange(b, device=DEVICE) % 12
    (x_t,) = call(diffuse, x0, t, ALPHA_BAR, draw(), outputs=[([b, d], dtype)])
    values, kept = exact(x0), ALPHA_BAR.cpu().double()[t.cpu(), None]
    want = kept.sqrt() * values + (1 - kept).sqrt() * noise.normals(draw(), b, d)
    assert_elements(x_t, want)

    grad = normal(b, d, dtype, layout)
    (got,) = call(diffuse_backward, grad, t, ALPHA_BAR, outputs=[([b, d], dtype)])
    assert_elements(got, *gradients(want, grad, values))


def test_a_step_outside_the_schedule_gives_nan():
    x0, t = normal(4, 3, torch.float32), torch.tensor([0, 12, -1, 11], device=DEVICE)
    outputs = [([4, 3], torch.float32)]
    for got in (
        *call(diffuse, x0, t, ALPHA_BAR, draw(), outputs=outputs),
        *call(diffuse_backward, x0, t, ALPHA_BAR, outputs=outputs),
    ):
        assert got.isnan().all(1).tolist() == [False, True, True, False]
