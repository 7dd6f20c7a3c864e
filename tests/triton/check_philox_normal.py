"""The noise: words against known answers and NumPy, normals against float64."""

from __future__ import annotations

import noise
import pytest
import torch
import triton
import triton.language as tl
from checking import DEVICE, INTERPRETED, assert_close, call, draw, dtypes

from vaelocity.kernels.philox import philox_words
from vaelocity.kernels.philox_normal import philox_normal

# Random123, tests/kat_vectors: counter, key, words.
ONES = 0xFFFFFFFF
KNOWN = [
    ([0, 0, 0, 0], [0, 0], [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([ONES] * 4, [ONES] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]
DRAWS = [(0, 0), (1, 0), (-1, -5), (2**33 + 5, 2**32 - 3), (2**63 - 1, 2**63 - 2)]


@triton.jit
def known_answer_kernel(seed_ptr, counter_ptr, out_ptr):
    counter = counter_ptr + tl.arange(0, 4)
    c = tl.load(counter).to(tl.uint32)
    lanes = tl.arange(0, 4)
    c0 = tl.sum(tl.where(lanes == 0, c, 0)).to(tl.uint32)
    c1 = tl.sum(tl.where(lanes == 1, c, 0)).to(tl.uint32)
    c2 = tl.sum(tl.where(lanes == 2, c, 0)).to(tl.uint32)
    c3 = tl.sum(tl.where(lanes == 3, c, 0)).to(tl.uint32)
    a, b, d, e = tl.philox(tl.load(seed_ptr), c0, c1, c2, c3)
    tl.store(out_ptr, a.to(tl.int64))
    tl.store(out_ptr + 1, b.to(tl.int64))
    tl.store(out_ptr + 2, d.to(tl.int64))
    tl.store(out_ptr + 3, e.to(tl.int64))


@triton.jit
def words_kernel(rng_ptr, out_ptr, BLOCKS: tl.constexpr):
    block = tl.arange(0, BLOCKS)
    a, b, c, d = philox_words(rng_ptr, block.to(tl.int64))
    tl.store(out_ptr + 4 * block, a.to(tl.int64))
    tl.store(out_ptr + 4 * block + 1, b.to(tl.int64))
    tl.store(out_ptr + 4 * block + 2, c.to(tl.int64))
    tl.store(out_ptr + 4 * block + 3, d.to(tl.int64))


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN, ids=["zeros", "ones", "pi"])
def test_tritons_philox_gives_the_known_answers(counter, key, answer):
    seed = key[0] | key[1] << 32
    seed -= 2**64 * (seed >= 2**63)
    out = torch.zeros(4, dtype=torch.int64, device=DEVICE)
    counters = torch.tensor(counter, device=DEVICE)
    known_answer_kernel[(1,)](torch.tensor([seed], device=DEVICE), counters, out)
    assert out.tolist() == answer


def test_numpys_philox_gives_the_known_answers():
    for counter, key, answer in KNOWN:
        assert noise.philox(counter, tuple(key)).tolist() == answer


@pytest.mark.parametrize(("seed", "offset"), DRAWS)
def test_words_are_numpys(seed, offset):
    out = torch.zeros(256, dtype=torch.int64, device=DEVICE)
    words_kernel[(1,)](draw(seed, offset), out, BLOCKS=64)
    assert out.tolist() == noise.words(draw(seed, offset), 256).tolist()


@pytest.mark.parametrize(("seed", "offset"), DRAWS)
def test_normals(seed, offset):
    rng = draw(seed, offset)
    (eps,) = call(philox_normal, [2500], rng, torch.float32, outputs=[([2500], torch.float32)])
    assert_close(eps, noise.normals(rng, 1, 2500)[0], 1e-6)


@dtypes
@pytest.mark.parametrize("shape", [[], [0], [1], [3], [4], [5], [3, 5, 7], [1024], [1025]])
def test_every_length(shape, dtype):
    (eps,) = call(philox_normal, shape, draw(), dtype, outputs=[(shape, dtype)])
    want = noise.normals(draw(), 1, eps.numel()).reshape(shape)
    assert_close(eps, want, 1e-6)


@pytest.mark.skipif(INTERPRETED, reason="the interpreter's fma is not fused")
@pytest.mark.parametrize(("seed", "offset"), DRAWS)
def test_normals_are_the_contracts_bit_for_bit(seed, offset):
    n, rng = 2**20, draw(seed, offset)
    (eps,) = call(philox_normal, [n], rng, torch.float32, outputs=[([n], torch.float32)])
    want = noise.contract_normals(rng, n)
    assert torch.equal(eps.view(torch.int32), want.view(torch.int32))


def test_the_contract_is_close_to_float64():
    got, want = noise.contract_normals(draw(), 2**14), noise.normals(draw(), 1, 2**14)[0]
    assert_close(got, want, 6e-7)
