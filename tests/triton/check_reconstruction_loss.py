"""reconstruction_loss: every kind, masks and weights, gradients, what is not finite."""

from __future__ import annotations

import losses
import pytest
import torch
from checking import (
    assert_elements,
    assert_sums,
    call,
    cases,
    dtypes,
    exact,
    gradients,
    laid_out,
    row_gradient,
)
from losses import DELTA, LARGEST, example, mask_of, weight_of

from vaelocity.kernels.reconstruction_loss import (
    KINDS,
    reconstruction_loss,
    reconstruction_loss_backward,
)

INF, NAN = torch.inf, torch.nan
kinds = pytest.mark.parametrize("kind", KINDS)


def check(x, y, kind, mask, weight):
    b, d = x.shape
    args = x, y, kind, DELTA, mask, weight
    (loss,) = call(reconstruction_loss, *args, outputs=[([b], torch.float32)])
    target, prediction = exact(x), exact(y)
    want = losses.formula(target, prediction, kind, mask, weight)
    assert_sums(loss, want, d)

    grad = row_gradient(b)
    (got,) = call(reconstruction_loss_backward, grad, *args, outputs=[(y.shape, y.dtype)])
    (want_y,) = gradients(want, grad, prediction)
    assert_elements(got, want_y, 4.0)


@cases
def test_squared_error(b, d, layout, dtype):
    check(*example("squared_error", b, d, dtype, layout), "squared_error", None, None)


@kinds
@dtypes
@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_kinds(kind, dtype, masked, weighted):
    x, y = example(kind, 21, 19, dtype, "gaps")
    mask, weight = mask_of(21, 19) if masked else None, weight_of(19) if weighted else None
    check(x, y, kind, mask, weight)


@kinds
def test_rows_in_several_parts(kind):
    x, y = example(kind, 2, 4101, torch.float32, "dense")
    check(x, y, kind, mask_of(1, 4101).expand(2, 4101), weight_of(4101))


@kinds
def test_types_may_differ(kind):
    x, _ = example(kind, 7, 20, torch.float32, "dense")
    _, y = example(kind, 7, 20, torch.float16, "dense")
    check(x, y, kind, None, None)


@kinds
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_a_value_that_is_not_finite_counts_or_is_masked(kind, value):
    x, y = example(kind, 4, 6, torch.float32, "dense")
    x[0, 1] = y[1, 2] = y[2, -1] = value
    mask = torch.ones(4, 6, dtype=torch.bool, device=x.device)
    (loss,) = call(reconstruction_loss, x, y, kind, DELTA, mask, None, outputs=[([4], x.dtype)])
    assert loss.isnan().tolist() == [True, True, True, False]
    mask[0, 1] = mask[1, 2] = mask[2, -1] = False
    check(x, y, kind, mask, weight_of(6))


@kinds
def test_sums_that_overflow_saturate(kind):
    x, y = losses.overflowing(kind)
    args = x, y, kind, DELTA, None, None
    (loss,) = call(reconstruction_loss, *args, outputs=[([2], torch.float32)])
    assert loss.tolist() == [LARGEST, LARGEST]
    weight = torch.zeros(2, device=x.device)
    (loss,) = call(reconstruction_loss, *args[:5], weight, outputs=[([2], torch.float32)])
    assert loss.tolist() == [0.0, 0.0]


def test_a_weight_that_is_not_finite_counts():
    x, y = example("squared_error", 3, 2, torch.float32, "dense")
    weight = torch.tensor([1.0, NAN], device=x.device)
    args = x, y, "squared_error", DELTA, None, weight
    (loss,) = call(reconstruction_loss, *args, outputs=[([3], torch.float32)])
    assert loss.isnan().all()


def test_a_weight_that_is_masked_out_does_not_count():
    x, y = example("squared_error", 3, 2, torch.float32, "dense")
    weight = torch.tensor([1.0, NAN], device=x.device)
    mask = torch.tensor([[True, False]], device=x.device).expand(3, 2)
    args = x, y, "squared_error", DELTA, mask, weight
    (loss,) = call(reconstruction_loss, *args, outputs=[([3], torch.float32)])
    assert_sums(loss, losses.formula(exact(x), exact(y), "squared_error", mask, weight), 2)


def test_a_sharp_normal_far_away_is_no_nan():
    """(x - mean)^2 overflows and exp(-logvar) is 0, their product is neither."""
    x, y = laid_out([[1e20]], torch.float32), laid_out([[0, 180]], torch.float32)
    args = x, y, "gaussian_nll", DELTA, None, None
    (loss,) = call(reconstruction_loss, *args, outputs=[([1], torch.float32)])
    assert_sums(loss, losses.formula(exact(x), exact(y), "gaussian_nll"), 1)


def test_gradients_where_the_loss_has_a_corner():
    x = laid_out([[0, 0, 0, 0, NAN]], torch.float32)
    y = laid_out([[0, DELTA, -DELTA, 3, 0]], torch.float32)
    grad = torch.ones(1, device=x.device)
    expected = {
        "absolute_error": [0, 1, -1, 1, NAN],
        "huber": [0, DELTA, -DELTA, DELTA, NAN],
    }
    for kind, want in expected.items():
        args = grad, x, y, kind, DELTA, None, None
        (got,) = call(reconstruction_loss_backward, *args, outputs=[([1, 5], torch.float32)])
        assert_elements(got, torch.tensor([want], dtype=torch.float64))
