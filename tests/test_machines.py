"""Machines that this one is not: NEON under qemu-user, AVX-512 on an emulation of its intrinsics.
The bits must be those of the instruction sets that run here natively."""

from __future__ import annotations

from pathlib import Path

import pytest
from building import ROOT, library, run, tool

from vaelocity import _core


@pytest.fixture(scope="session")
def qemu() -> list[str]:
    return [tool("qemu-aarch64", package="qemu-user"), "-L", "/usr/aarch64-linux-gnu"]


@pytest.fixture(scope="session")
def arm(tmp_path_factory: pytest.TempPathFactory, qemu: list[str]) -> Path:
    """The build folder of the library and its tests for 64-bit ARM."""
    tool("aarch64-linux-gnu-g++", package="g++-aarch64-linux-gnu")
    return library(
        tmp_path_factory.mktemp("arm"),
        f"-DCMAKE_TOOLCHAIN_FILE={ROOT / 'tests' / 'cpp' / 'aarch64.cmake'}",
    )


def hash_of(output: str) -> str:
    return output.rsplit("hash ", 1)[1].strip()


@pytest.mark.parametrize("isa", ["neon", "generic"])
def test_vector_maths_has_the_same_bits_on_arm(arm: Path, qemu: list[str], isa: str) -> None:
    run(*qemu, arm / "tests" / "cpp" / f"test_math_{isa}")


def test_neon_scores_as_this_machine(
    arm: Path, qemu: list[str], plain: Path, few_bundles: list[Path]
) -> None:
    """Loading replays the conformance rows, whose scores were made on this machine."""
    there = run(*qemu, arm / "tests" / "cpp" / "test_score", *few_bundles)
    here = run(plain / "tests" / "cpp" / "test_score", *few_bundles)
    assert "on generic neon: 0 failures" in there
    assert hash_of(there) == hash_of(here)


def test_bfloat16_weights_score_on_neon_as_their_float32(
    arm: Path, qemu: list[str], narrow_pairs: list[tuple[Path, Path]]
) -> None:
    program = arm / "tests" / "cpp" / "test_score"
    narrow, rounded = (run(*qemu, program, *paths) for paths in zip(*narrow_pairs, strict=True))
    assert hash_of(narrow) == hash_of(rounded)


def test_neon_computes_the_ops_as_this_machine(arm: Path, qemu: list[str], plain: Path) -> None:
    there = run(*qemu, arm / "tests" / "cpp" / "test_ops")
    assert "0 failures" in there
    assert hash_of(there) == hash_of(run(plain / "tests" / "cpp" / "test_ops"))


@pytest.fixture
def avx512(sanitized: Path) -> Path:
    """A build whose AVX-512 unit runs here, on the processor or on an emulation."""
    cache = (sanitized / "CMakeCache.txt").read_text()
    emulated = "VAELOCITY_EMULATE_AVX512:BOOL=ON" in cache
    if not emulated and "avx512" not in _core.available_isas():
        pytest.skip("no AVX-512 here and no SIMDe: apt-get install libsimde-dev")
    return sanitized


def test_avx512_has_the_same_bits_and_reads_no_byte_too_many(
    avx512: Path, plain: Path, few_bundles: list[Path]
) -> None:
    run(avx512 / "tests" / "cpp" / "test_math_avx512")
    there = run(avx512 / "tests" / "cpp" / "test_score", *few_bundles)
    here = run(plain / "tests" / "cpp" / "test_score", *few_bundles)
    assert "avx512: 0 failures" in there
    assert hash_of(there) == hash_of(here)


def test_bfloat16_weights_score_with_avx512_as_their_float32(
    avx512: Path, narrow_pairs: list[tuple[Path, Path]]
) -> None:
    program = avx512 / "tests" / "cpp" / "test_score"
    narrow, rounded = (run(program, *paths) for paths in zip(*narrow_pairs, strict=True))
    assert "avx512: 0 failures" in narrow
    assert hash_of(narrow) == hash_of(rounded)
