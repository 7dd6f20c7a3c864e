"""The noise: the reference in torch is the C++ kernel bit for bit, and a stream names its draws."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from vaelocity import ops  # noqa: E402
from vaelocity.ops import _noise  # noqa: E402


def bits(values: torch.Tensor) -> torch.Tensor:
    return values.view(torch.int32)


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ([0] * 4, [0] * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_known_answers_of_random123(counter: list[int], key: list[int], expected: str) -> None:
    found = _noise.philox([torch.tensor(c) for c in counter], [torch.tensor(k) for k in key])
    assert " ".join(f"{int(word):08x}" for word in found) == expected


@pytest.mark.parametrize(
    ("seed", "offset"),
    [(0, 0), (2**64 - 1, 2**32 - (1 << 17)), (0x0123_4567_89AB_CDEF, 2**64 - 4)],
    ids=["zero", "carry into the high word", "the last blocks"],
)
def test_the_reference_is_the_kernel_bit_for_bit(seed: int, offset: int) -> None:
    n = 1 << 20 if offset == 2**32 - (1 << 17) else 4099
    draw = ops.Rng(seed, offset).draw(n)
    kernel = ops.philox_normal([n], draw, backend="cpu")
    reference = ops.philox_normal([n], draw, backend="reference")
    assert torch.equal(bits(kernel), bits(reference))


@pytest.mark.gpu
def test_cuda_draws_the_same_bits() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    n = 1 << 20
    draw = ops.Rng(3, 2**32 - (1 << 17)).draw(n)
    cuda = ops.philox_normal([n], draw, device="cuda")
    assert torch.equal(bits(cuda.cpu()), bits(ops.philox_normal([n], draw)))


def test_every_op_draws_the_noise_of_philox_normal() -> None:
    shape = (37, 11)
    draw = ops.Rng(1).draw(37 * 11)
    eps = ops.philox_normal(shape, draw)
    zero, one = torch.zeros(shape), torch.ones(1)
    assert torch.equal(ops.reparameterize(zero, zero, draw), eps)
    assert torch.equal(ops.reparameterize_kl(zero, zero, draw)[0], eps)
    assert torch.equal(ops.corrupt(zero, draw, noise=1.0)[0], eps)
    steps = torch.zeros(37, dtype=torch.int64)
    assert torch.equal(ops.diffuse(zero, steps, 0 * one, draw), eps)
    assert torch.equal(ops.denoising_loss(eps, draw), torch.zeros(37))


def test_normals_are_normal() -> None:
    n = 1 << 16
    eps = ops.philox_normal([n], ops.Rng(5)).double()
    assert abs(eps.mean()) < 5 / math.sqrt(n)
    assert abs(eps.var() - 1) < 5 * math.sqrt(2 / n)
    assert abs((eps**3).mean()) < 5 * math.sqrt(15 / n)
    assert abs((eps**4).mean() - 3) < 5 * math.sqrt(96 / n)
    assert abs((eps[1:] * eps[:-1]).mean()) < 5 / math.sqrt(n)


def test_drop_drops_the_share_asked_for() -> None:
    n = 1 << 16
    _, kept = ops.corrupt(torch.zeros(256, 256), ops.Rng(2), drop=0.3)
    assert abs(kept.double().mean() - 0.7) < 5 * math.sqrt(0.21 / n)


class TestRng:
    def test_draws_follow_each_other_without_overlap(self) -> None:
        rng = ops.Rng(9)
        parts = [ops.philox_normal([n], rng) for n in (8, 5, 4)]
        whole = ops.philox_normal([20], ops.Rng(9))
        assert torch.equal(torch.cat(parts), torch.cat([whole[:13], whole[16:20]]))

    def test_corrupt_advances_by_two_draws(self) -> None:
        rng = ops.Rng(9)
        ops.corrupt(torch.zeros(3, 3), rng, drop=0.5)
        assert rng.state.tolist() == [9, 6]

    def test_a_name_stays_what_it_was(self) -> None:
        rng = ops.Rng(9)
        name = rng.draw(8)
        first = ops.philox_normal([8], name)
        rng.draw(100)
        assert torch.equal(ops.philox_normal([8], name), first)

    def test_torch_seeds_it(self) -> None:
        torch.manual_seed(4)
        first, second = ops.Rng().state, ops.Rng().state
        torch.manual_seed(4)
        assert torch.equal(ops.Rng().state, first)
        assert not torch.equal(first, second)

    def test_goes_back_to_a_kept_state(self) -> None:
        rng = ops.Rng(1, offset=7)
        kept = rng.state
        first = ops.philox_normal([9], rng)
        rng.state = kept
        assert torch.equal(ops.philox_normal([9], rng), first)
        assert kept.tolist() == [1, 7]

    def test_serves_training_after_inference(self) -> None:
        with torch.inference_mode():
            rng = ops.Rng(1)
            ops.philox_normal([3], rng)
        mu = torch.zeros(2, 3, requires_grad=True)
        ops.reparameterize(mu, mu, rng).sum().backward()
        assert mu.grad is not None

    def test_the_whole_range_of_a_seed(self) -> None:
        assert repr(ops.Rng(2**64 - 1, 2**64 - 2)) == (
            "Rng(seed=18446744073709551615, offset=18446744073709551614, device='cpu')"
        )

    @pytest.mark.parametrize("seed", [-1, 2**64, 1.5, True])
    def test_refuses_a_seed_out_of_range(self, seed: int) -> None:
        with pytest.raises(ValueError, match=r"seed: expected an integer from 0 to 2\^64 - 1"):
            ops.Rng(seed)

    def test_refuses_another_state(self) -> None:
        with pytest.raises(ValueError, match="state: expected int64"):
            ops.Rng(1).state = torch.zeros(2)
