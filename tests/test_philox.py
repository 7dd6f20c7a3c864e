"""The noise contract: philox_normal against NumPy code written from DESIGN section 3 alone, with an
exact fused multiply-add, bit for bit on every instruction set."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch

from vaelocity import _core

Words = npt.NDArray[np.uint32]
Floats = npt.NDArray[np.float32]

LOG = (
    "0x1.555554p-2 -0x1.fffff2p-3 0x1.999d52p-3 -0x1.555ed8p-3 0x1.23d65ep-3 "
    "-0x1.fc5afep-4 0x1.ddacf6p-4 -0x1.d9f82p-4 0x1.24d1fep-4"
)
SIN = "0x1.921fb6p+0 -0x1.4abbbap-1 0x1.465ec4p-4 -0x1.2d9b7cp-8"
COS = "0x1p+0 -0x1.3bd3ccp+0 0x1.03c1dcp-2 -0x1.55c57ap-6 0x1.d9c326p-11"


def fma(a: npt.ArrayLike, b: npt.ArrayLike, c: npt.ArrayLike) -> Floats:
    """a * b + c rounded once to float32: the sum in float64 is rounded to odd before the cast."""
    product = np.float64(np.float32(a)) * np.float64(np.float32(b))
    addend = np.float64(np.float32(c))
    total = np.atleast_1d(product + addend)
    back = total - product
    error = (product - (total - back)) + (addend - back)
    even = (total.view(np.int64) & 1) == 0
    fixed = np.where((error != 0) & even, np.nextafter(total, np.copysign(np.inf, error)), total)
    return fixed.astype(np.float32).reshape(np.broadcast(a, b, c).shape)


def horner(coefficients: str, x: Floats) -> Floats:
    """Lowest order first."""
    *rest, value = (np.float32(float.fromhex(c)) for c in coefficients.split())
    result = np.full_like(x, value)
    for coefficient in reversed(rest):
        result = fma(result, x, coefficient)
    return result


def philox(counter: Sequence[npt.ArrayLike], key: tuple[int, int]) -> list[Words]:
    """Philox4x32-10: four words for each counter (c0, c1, c2, c3)."""
    c = [np.asarray(word, np.uint64) for word in counter]
    k0, k1 = key
    for _ in range(10):
        a, b = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        low, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
        c = [
            (b >> shift) ^ c[1] ^ np.uint64(k0),
            b & low,
            (a >> shift) ^ c[3] ^ np.uint64(k1),
            a & low,
        ]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return [word.astype(np.uint32) for word in c]


def words(n: int, seed: int, offset: int) -> Words:
    """The words [n] of a draw: word i of block offset + i // 4, rounded up to whole blocks."""
    block = (np.arange(-(-n // 4), dtype=np.uint64) + np.uint64(offset % 2**64)).astype(np.uint64)
    seed %= 2**64
    zeros = np.zeros_like(block)
    counter = (block & np.uint64(0xFFFFFFFF), block >> np.uint64(32), zeros, zeros)
    return np.stack(philox(counter, (seed & 0xFFFFFFFF, seed >> 32)), axis=1).ravel()[:n]


def log_unit(u: Floats) -> Floats:
    bits = u.view(np.int32)
    exponent = (bits - np.int32(0x3F3504F3)) >> 23
    e = exponent.astype(np.float32)
    f = (bits - (exponent << 23)).view(np.float32) - np.float32(1)
    f2 = f * f
    tail = fma(e, np.float32(-2.12194440e-4), np.float32(-0.5) * f2)
    return fma(e, np.float32(0.693359375), fma(f2 * f, horner(LOG, f), tail) + f)


def normals(n: int, seed: int, offset: int) -> Floats:
    """The first n normals of the draw (seed, offset), any Python ints of 64 bits."""
    r = words(4 * -(-n // 4), seed, offset).reshape(-1, 2)
    u = fma(r[:, 0].astype(np.float32), np.float32(2**-32), np.float32(2**-33))
    radius = np.sqrt(np.float32(-2) * log_unit(u))
    quarter = (r[:, 1] + np.uint32(1 << 29)) >> np.uint32(30)
    t = (r[:, 1] - (quarter << np.uint32(30))).view(np.int32).astype(np.float32)
    t = t * np.float32(2**-30)
    sin, cos = horner(SIN, t * t) * t, horner(COS, t * t)
    odd = (quarter & 1) == 1
    sin, cos = np.where(odd, cos, sin), np.where(odd, sin, cos)
    cos = np.where((quarter + 1) & 2, -cos, cos)
    sin = np.where(quarter & 2, -sin, sin)
    return np.stack([radius * cos, radius * sin], axis=1).ravel()[:n]


DRAWS = {
    "zeros": (0, 0),
    "small": (1, 5),
    "carry into the high word": (2**63 + 12345, 2**32 - 1000),
    "the counter wraps around": (-1, -3),
    "all of a seed matters": (2**33 + 5, 2**40),
}


def draw(
    n: int, seed: int, offset: int, dtype: torch.dtype = torch.float32, begin: int = 0
) -> torch.Tensor:
    """Elements begin .. n of a draw by the kernel; the others are left at NaN."""
    name = np.array([seed % 2**64, offset % 2**64], np.uint64).view(np.int64)
    out = torch.full((n,), torch.nan, dtype=dtype)
    _core.ops.philox_normal([n], torch.from_numpy(name), dtype, out, begin, n)
    return out


def bits(x: torch.Tensor) -> npt.NDArray[np.int32]:
    return x.numpy().view(np.int32)


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0,) * 4, (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((2**32 - 1,) * 4, (2**32 - 1,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_the_reference_gives_the_known_answers(
    counter: tuple[int, ...], key: tuple[int, int], expected: str
) -> None:
    got = philox([np.array([word]) for word in counter], key)
    assert " ".join(f"{int(word[0]):08x}" for word in got) == expected


def test_the_reference_fma_rounds_once() -> None:
    """A float64 multiply-add and a cast would round 1 + 2^-24 + 2^-60 to even, that is, down."""
    a = np.float32(1 + 2**-12)
    assert fma(np.float32(2**-30), np.float32(2**-30), np.float32(1)) == 1
    double = np.float64(np.float32(1 + 2**-23)) * np.float64(np.float32(2**-24))
    assert fma(np.float32(1 + 2**-23), np.float32(2**-24), np.float32(1)) == np.float32(1 + 2**-23)
    assert np.float32(np.float64(1) + double) in (np.float32(1), np.float32(1 + 2**-23))
    exact = int(a * 2**12) ** 2 + 1  # (1 + 2^-12)^2 + 2^-24, in units of 2^-24
    assert fma(a, a, np.float32(2**-24)) == np.float32(exact / 2**24)


@pytest.mark.parametrize("name", DRAWS)
def test_noise_is_bit_for_bit_that_of_the_contract(name: str) -> None:
    n = 2**20 if name == "carry into the high word" else 2**14 + 3
    seed, offset = DRAWS[name]
    np.testing.assert_array_equal(bits(draw(n, seed, offset)), normals(n, seed, offset).view("i4"))


def test_noise_is_within_5e7_of_float64() -> None:
    n = 2**16
    r = words(n, 3, 0).reshape(-1, 2)
    u = np.float64(fma(r[:, 0].astype(np.float32), np.float32(2**-32), np.float32(2**-33)))
    radius, angle = np.sqrt(-2 * np.log(u)), 2 * np.pi * np.float64(r[:, 1]) / 2**32
    exact = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).ravel()
    assert np.abs(draw(n, 3, 0).numpy() - exact).max() <= 5e-7
    assert abs(exact.mean()) < 0.02
    assert abs(exact.std() - 1) < 0.02


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 63, 64, 65, 127, 128, 129, 1000])
def test_every_element_is_written_and_no_other(n: int) -> None:
    padded = torch.full((n + 8,), torch.nan)
    name = torch.tensor([7, 11])
    _core.ops.philox_normal([n], name, torch.float32, padded[:n], 0, n)
    assert padded[n:].isnan().all()
    np.testing.assert_array_equal(bits(padded[:n]), normals(n, 7, 11).view("i4"))


@pytest.mark.parametrize("begin", [4, 8, 60, 64, 68, 996])
def test_a_span_gives_the_same_bits(begin: int) -> None:
    part = draw(1000, 7, 11, begin=begin)
    assert part[:begin].isnan().all()
    assert torch.equal(part[begin:], draw(1000, 7, 11)[begin:])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_the_float32_noise_rounded_once(dtype: torch.dtype) -> None:
    assert torch.equal(draw(1003, 7, 11, dtype), draw(1003, 7, 11).to(dtype))


@pytest.mark.parametrize("drop", [0.0, 0.25, 0.5, 0.999, 1.0])
def test_what_is_dropped_is_decided_by_the_words_after_the_noise(drop: float) -> None:
    b, d, seed, offset = 37, 59, 5, 2**32 - 300
    kept, x = torch.zeros(b, d, dtype=torch.bool), torch.ones(b, d)
    name, corrupted = torch.tensor([seed, offset]), torch.full((b, d), torch.nan)
    _core.ops.corrupt(x, name, 0.5, drop, corrupted, kept, 0, b)
    word = words(b * d, seed, offset + -(-b * d // 4)).astype(np.int64).reshape(b, d)
    np.testing.assert_array_equal(kept.numpy(), word >= int(drop * 2**32))
    eps = normals(b * d, seed, offset).reshape(b, d)
    expected = np.where(kept, fma(np.float32(0.5), eps, np.float32(1)), np.float32(0))
    np.testing.assert_array_equal(corrupted.numpy(), expected)


def test_bad_arguments_are_named() -> None:
    name, out = torch.tensor([1, 2]), torch.zeros(8)
    call = _core.ops.philox_normal
    with pytest.raises(ValueError, match=r"rng: expected .* int64 tensor \[2\], got torch.float32"):
        call([8], name.float(), None, out, 0, 8)
    with pytest.raises(ValueError, match=r"normals: expected .*, got torch.int64 of shape \(8,\)"):
        call([8], name, None, out.long(), 0, 8)
    with pytest.raises(ValueError, match=r"normals: expected a contiguous"):
        call([4], name, None, out[::2], 0, 4)
    with pytest.raises(ValueError, match=r"begin, end: expected a span within 0 .. 8, got 0 .. 9"):
        call([8], name, None, out, 0, 9)
    with pytest.raises(ValueError, match=r"begin: expected a multiple of 4, got 2"):
        call([8], name, None, out, 2, 8)
    with pytest.raises(ValueError, match=r"normals: expected a torch tensor, got list"):
        call([8], name, None, [0.0], 0, 8)


PROGRAM = """
import hashlib, numpy, torch
from vaelocity import _core
out = torch.empty(2**17 + 5)
_core.ops.philox_normal([], torch.tensor([-9, 2**32 - 100]), None, out, 0, len(out))
print(hashlib.sha256(out.numpy()).hexdigest())
"""


@pytest.mark.parametrize("isa", _core.available_isas())
def test_every_instruction_set_makes_the_same_noise(isa: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "VAELOCITY_ISA": isa},
        capture_output=True,
        text=True,
        check=True,
    )
    expected = draw(2**17 + 5, -9, 2**32 - 100).numpy()
    assert done.stdout.strip() == hashlib.sha256(expected).hexdigest()


def test_an_instruction_set_that_does_not_run_is_an_error() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "VAELOCITY_ISA": "sse9"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "VAELOCITY_ISA: this machine or this build does not run" in done.stderr
