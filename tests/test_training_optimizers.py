"""AdamW of parameters in line, beside torch's own."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vaelocity import models
from vaelocity.training_optimizers import InLine, apart

SHAPES = ((5, 3), (16,), (7, 9), (1,))
SETTINGS = {"lr": 0.05, "weight_decay": 0.1, "fused": True}


def parameters(seed: int = 0) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def step(optimizer: torch.optim.Optimizer, trained: list[nn.Parameter], seed: int) -> None:
    optimizer.zero_grad()
    drawn = parameters(seed)
    sum((a * b.detach()).sum() for a, b in zip(trained, drawn, strict=True)).backward()
    optimizer.step()


def close(found: list[Tensor], expected: list[Tensor]) -> None:
    """Numbers at the end of a tensor may be computed without vectors by torch: an ulp."""
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_it_takes_the_steps_of_adamw() -> None:
    ours, theirs = parameters(), parameters()
    in_line, apart_ = InLine(ours, **SETTINGS), torch.optim.AdamW(theirs, **SETTINGS)
    for seed in range(1, 6):
        step(in_line, ours, seed)
        step(apart_, theirs, seed)
    close([*ours], [*theirs])
    assert [each.untyped_storage().data_ptr() for each in ours] == 4 * [
        ours[0].untyped_storage().data_ptr()
    ]
    assert all(each.data_ptr() % 64 == ours[0].data_ptr() % 64 for each in ours)


def test_its_state_goes_to_adamw_and_back() -> None:
    """Three steps by one, two by the other: as five by either."""
    whole = parameters()
    optimizer = InLine(whole, **SETTINGS)
    for seed in range(1, 6):
        step(optimizer, whole, seed)
    for first, second in ((InLine, torch.optim.AdamW), (torch.optim.AdamW, InLine)):
        trained = parameters()
        optimizer = first(trained, **SETTINGS)
        for seed in range(1, 4):
            step(optimizer, trained, seed)
        state = copy.deepcopy(optimizer.state_dict()["state"])
        assert sorted(state) == [0, 1, 2, 3]
        assert [tuple(state[i]["exp_avg"].shape) for i in range(4)] == list(SHAPES)
        trained = [nn.Parameter(each.detach().clone()) for each in trained]
        optimizer = second(trained, **SETTINGS)
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        for seed in range(4, 6):
            step(optimizer, trained, seed)
        close([*trained], [*whole])


def test_a_parameter_with_other_memory_is_an_error() -> None:
    trained = parameters()
    optimizer = InLine(trained, **SETTINGS)
    optimizer.check()
    trained[2].grad = None
    with pytest.raises(RuntimeError, match=r"parameter 2 of shape \(7, 9\).* in place"):
        optimizer.check()
    trained[2].data = trained[2].data.clone()
    with pytest.raises(RuntimeError, match="parameter 2"):
        optimizer.check()


def test_a_trained_model_has_parameters_with_memory_of_their_own() -> None:
    rows = np.random.default_rng(0).normal(size=(64, 5)).astype(np.float32)
    model = models.Autoencoder(5, latent=2, hidden=(3,)).fit(rows, epochs=2, progress=False)
    for each in model.parameters():
        assert each.untyped_storage().nbytes() == each.nbytes
        assert each.grad is None
    InLine(list(model.parameters()), **SETTINGS)
    apart(model)
    assert all(each.untyped_storage().nbytes() == each.nbytes for each in model.parameters())
