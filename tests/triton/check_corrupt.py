"""corrupt: what is dropped, word for word; noise on the rest; gradients."""

from __future__ import annotations

import noise
import pytest
import torch
from checking import assert_elements, call, cases, draw, laid_out, normal

from vaelocity.kernels.corrupt import corrupt, corrupt_backward


def kept_of(b, d, drop):
    n = b * d
    words = noise.words(draw(), n, skip=-(-n // 4))
    return torch.from_numpy(words >= int(drop * 2**32)).reshape(b, d)


@cases
def test_values_and_gradients(b, d, layout, dtype):
    x = normal(b, d, dtype, layout)
    outputs = [([b, d], dtype), ([b, d], torch.bool)]
    corrupted, kept = call(corrupt, x, draw(), 0.3, 0.4, outputs=outputs)
    want_kept = kept_of(b, d, 0.4)
    assert torch.equal(kept, want_kept)
    noisy = x.cpu().double() + 0.3 * noise.normals(draw(), b, d)
    assert_elements(corrupted, torch.where(want_kept, noisy, 0))

    grad = normal(b, d, dtype, layout)
    (got,) = call(corrupt_backward, grad, draw(), 0.4, outputs=outputs[:1])
    assert torch.equal(got, torch.where(want_kept, grad.cpu(), 0))


@pytest.mark.parametrize("deviation", [0.0, 0.3])
@pytest.mark.parametrize("drop", [0.0, 2**-32, 0.5, 1 - 2**-32, 1.0])
def test_probabilities(deviation, drop):
    x = laid_out(torch.full((3, 500), 2.0), torch.float32)
    outputs = [([3, 500], torch.float32), ([3, 500], torch.bool)]
    corrupted, kept = call(corrupt, x, draw(), deviation, drop, outputs=outputs)
    want_kept = kept_of(3, 500, drop)
    assert torch.equal(kept, want_kept)
    noisy = 2.0 + deviation * noise.normals(draw(), 3, 500)
    assert_elements(corrupted, torch.where(want_kept, noisy, 0))
    (got,) = call(corrupt_backward, x, draw(), drop, outputs=outputs[:1])
    assert torch.equal(got, torch.where(want_kept, 2.0, 0.0))


def test_what_is_dropped_is_0_whatever_it_was():
    x = laid_out(
        torch.tensor([[torch.nan, torch.inf, -torch.inf, 1.0]]).repeat(8, 1), torch.float32
    )
    outputs = [([8, 4], torch.float32), ([8, 4], torch.bool)]
    corrupted, kept = call(corrupt, x, draw(), 0.5, 0.5, outputs=outputs)
    assert (corrupted[~kept] == 0).all()
    assert (corrupted.isfinite() == (~kept | x.cpu().isfinite())).all()
