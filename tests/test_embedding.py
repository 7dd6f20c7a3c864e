"""What a trigger needs of the library besides the score: silence, isolation, decisions, and a way
to find and link it."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import image_networks
import numpy as np
import pytest
from building import ROOT, build, clang, run, sanitized_library, tool

import vaelocity
from vaelocity.bundle import read_bundle, write_bundle


def with_thresholds(path: Path, *thresholds: tuple[str, str, float]) -> Path:
    """The bundle with thresholds (name, kind, value) in it."""
    metadata, tensors = read_bundle(path)
    entries = [
        vaelocity.Threshold(n, k, float(np.float32(v)), 0.01, 0.01, (0.005, 0.02), 1000).to_dict()
        for n, k, v in thresholds
    ]
    write_bundle(path, {**metadata, "thresholds": entries}, tensors)
    return path


# ---- Silence


def test_scoring_allocates_nothing_calls_nothing_and_traps_nothing(
    plain: Path, make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    """10^6 calls for each instruction set but generic: see tests/cpp/test_quiet.cpp."""
    bundles = [
        with_thresholds(make_bundle([20, 12, 4]), ("t", "reconstruction", 9.0)),
        make_bundle([9, 8, 2], gaussian=True, activation="gelu"),
        make_bundle([9, 8, 2], gaussian=True, activation="silu"),
        tmp_path / "images.vael",
    ]
    write_bundle(bundles[-1], *image_networks.small().content())
    out = run(plain / "tests" / "cpp" / "test_quiet", *bundles)
    assert "4 bundles, 0 failures, allocations counted" in out


def test_64_threads_share_a_model(plain: Path, bundles: list[Path]) -> None:
    assert "8 bundles, 0 failures" in run(plain / "tests" / "cpp" / "test_threads", *bundles)


def test_64_threads_share_a_model_without_a_race(
    tmp_path: Path, make_bundle: Callable[..., Path]
) -> None:
    folder = sanitized_library(tmp_path / "tsan", "thread", targets=("test_threads",))
    bundles = [make_bundle([20, 12, 4]), make_bundle([9, 8, 2], gaussian=True, activation="tanh")]
    # Without address randomisation: GCC 12's thread sanitizer does not know today's memory maps.
    program = [tool("setarch"), "-R", folder / "tests" / "cpp" / "test_threads"]
    assert "2 bundles, 0 failures" in run(*program, *bundles)


def test_clangs_realtime_sanitizer_finds_nothing(
    plain: Path, tmp_path: Path, make_bundle: Callable[..., Path]
) -> None:
    program = tmp_path / "test_realtime"
    source = ROOT / "tests" / "cpp" / "test_realtime.cpp"
    command = [clang(), "-std=c++20", "-O1", "-fsanitize=realtime", f"-I{ROOT}/csrc/include"]
    command += [str(source), str(plain / "libvaelocity.a"), "-o", str(program)]
    made = subprocess.run(command, check=False, capture_output=True, text=True)
    if made.returncode:
        assert "realtime" in made.stderr, made.stderr
        pytest.skip(f"{command[0]} has no -fsanitize=realtime: Clang 20 has, with libclang-rt")
    bundle = make_bundle([59, 64, 32, 16])
    assert run(program, bundle) == "quiet\n"
    loading = subprocess.run([program, bundle, "load"], check=False, capture_output=True, text=True)
    assert loading.returncode != 0
    assert "RealtimeSanitizer: unsafe-library-call" in loading.stderr


# ---- Isolation


def test_the_shared_library_exports_nothing_but_its_c_functions(plain: Path) -> None:
    header = (ROOT / "csrc" / "include" / "vaelocity" / "vaelocity.h").read_text()
    symbols = run("nm", "-D", "--defined-only", plain / "libvaelocity.so").splitlines()
    names = [line.split()[2] for line in symbols]
    assert names
    assert all(name.startswith("vael_") and f"{name}(" in header for name in names), names


def test_twenty_models_in_one_process_score_as_alone(
    plain: Path, tmp_path: Path, make_bundle: Callable[..., Path]
) -> None:
    """cms-sw/cmssw#44435: a trigger fired on every event because two model libraries shared the
    symbols of their weights."""
    program = plain / "tests" / "cpp" / "test_together"
    row = (0.25 * (np.arange(8) % 7) - 0.5).astype(np.float32)[None]
    loads, expected = [], []
    for i in range(20):
        copy = tmp_path / f"lib{i}.so"
        shutil.copy(plain / "libvaelocity.so", copy)
        bundle = make_bundle([8, 6, 3], seed=i)
        loads.append(f"{copy}:{bundle}")
        expected.append(vaelocity.load(bundle).score(row)[0])
    for scopes in ("l" * 20, "g" * 20, "lg" * 10, "gl" * 10):
        for step in (1, -1):
            arguments = [f"{scope}:{load}" for scope, load in zip(scopes, loads, strict=True)]
            scores = [float.fromhex(line) for line in run(program, *arguments[::step]).split()]
            assert scores == expected[::step], (scopes, step)


# ---- Decisions, through the C ABI as another language sees it


class FirstOptions(ctypes.Structure):
    """vael_load_options of version 1."""

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("abi_version", ctypes.c_uint32),
        ("skip_verify", ctypes.c_uint32),
        ("kind", ctypes.c_char_p),
        ("isa", ctypes.c_char_p),
    ]


class Threshold(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("name", ctypes.c_char_p),
        ("value", ctypes.c_float),
    ]


@pytest.fixture
def abi(plain: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(plain / "libvaelocity.so"))
    library.vael_version.restype = ctypes.c_char_p
    library.vael_threshold_count.restype = ctypes.c_size_t
    library.vael_workspace_size.restype = ctypes.c_size_t
    return library


def load_memory(
    abi: ctypes.CDLL, data: bytes, options: ctypes.Structure | None = None
) -> tuple[int, ctypes.c_void_p, str]:
    model, why = ctypes.c_void_p(), ctypes.create_string_buffer(256)
    size, room = ctypes.c_size_t(len(data)), ctypes.c_size_t(256)
    given = None if options is None else ctypes.byref(options)
    status = abi.vael_load_memory(data, size, given, ctypes.byref(model), why, room)
    return status, model, why.value.decode()


def test_version_of_the_library(abi: ctypes.CDLL) -> None:
    assert abi.vael_version().decode() == vaelocity.__version__
    assert abi.vael_abi_version() == 2


def test_a_program_of_the_first_version_loads(
    abi: ctypes.CDLL, make_bundle: Callable[..., Path]
) -> None:
    """Its options are as long as they were; what they say is heeded."""
    data = make_bundle([9, 8, 2], gaussian=True).read_bytes()
    size = ctypes.sizeof(FirstOptions)
    status, model, why = load_memory(abi, data, FirstOptions(size, 1, 0, b"kl", b"generic"))
    assert (status, why) == (0, "")
    abi.vael_free(model)
    status, _, why = load_memory(abi, data, FirstOptions(size, 1, 0, b"nonsense", None))
    assert status != 0
    assert "nonsense" in why
    status, _, why = load_memory(abi, data, FirstOptions(size, 2, 0, None, None))
    assert status != 0
    assert why.startswith("options: struct_size 32")


def test_decisions_against_the_thresholds_in_the_file(
    abi: ctypes.CDLL, make_bundle: Callable[..., Path]
) -> None:
    path = make_bundle([9, 8, 2], gaussian=True)
    rows = np.random.default_rng(5).normal(size=(50, 9)).astype(np.float32)
    rows[7, 3] = np.nan
    scores = vaelocity.load(path).score(rows)
    median = np.sort(scores[np.isfinite(scores)])[20]
    with_thresholds(
        path,
        ("fpr=0.5", "reconstruction", median),
        ("fpr=0.5", "kl", 3.0),
        ("none", "reconstruction", 3e38),
    )
    status, model, why = load_memory(abi, path.read_bytes())
    assert (status, why) == (0, "")
    try:
        assert abi.vael_threshold_count(model) == 2
        threshold = Threshold(ctypes.sizeof(Threshold))
        names = []
        for i in range(2):
            assert abi.vael_threshold_at(model, ctypes.c_size_t(i), ctypes.byref(threshold)) == 0
            names.append((threshold.name, np.float32(threshold.value)))
        assert names == [(b"fpr=0.5", median), (b"none", np.float32(3e38))]
        missing = abi.vael_threshold_at(model, ctypes.c_size_t(2), ctypes.byref(threshold))
        assert missing == 9

        workspace = ctypes.create_string_buffer(abi.vael_workspace_size(model))
        got, flags, decided = np.zeros(50, np.float32), np.zeros(50, np.uint8), np.zeros(50, "u1")

        def decide(index: int) -> int:
            size, pointer = ctypes.c_size_t, ctypes.c_void_p
            arrays = [a.ctypes.data_as(pointer) for a in (got, flags, decided)]
            data = rows.ctypes.data_as(pointer)
            status: int = abi.vael_decide_rows(
                model, size(index), data, ctypes.c_ssize_t(9), size(50), workspace, *arrays
            )
            return status

        assert decide(0) == 0
        assert np.array_equal(got.view("u4"), scores.view("u4"))
        assert np.array_equal(decided, ~(scores <= median))
        assert decided[7] == 1
        assert flags[7] == 1
        assert decide(1) == 0
        assert decided.sum() == 1  # only the NaN, which is never silent
        assert decide(2) == 9
    finally:
        abi.vael_free(model)


def test_a_threshold_that_is_no_float32_is_refused(
    abi: ctypes.CDLL, make_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_bundle([4, 2])
    metadata, tensors = read_bundle(path)
    entry = {"name": "odd", "kind": "reconstruction", "value": 0.1}
    monkeypatch.setattr("vaelocity.bundle.check_structure", lambda *_: None)
    write_bundle(path, {**metadata, "thresholds": [entry]}, tensors)
    status, model, why = load_memory(abi, path.read_bytes())
    assert status == 3
    assert not model
    assert why == "thresholds: the value of odd is no finite float32"


# ---- Finding and linking


@pytest.fixture(scope="module")
def prefix(plain: Path) -> Path:
    """Where the library is installed."""
    run(tool("cmake"), "--install", plain)
    cache = (plain / "CMakeCache.txt").read_text().splitlines()
    return Path(
        next(line for line in cache if line.startswith("CMAKE_INSTALL_PREFIX")).split("=")[1]
    )


def check_consumer(program: Path, bundle: Path) -> None:
    expected = vaelocity.load(bundle).score(np.zeros((1, 59), np.float32))[0]
    score, flags = run(program, bundle).split()
    assert np.float32(float.fromhex(score)) == expected
    assert flags == "0"
    failed = subprocess.run([program, "/dev/null"], check=False, capture_output=True, text=True)
    assert failed.returncode == 1
    assert "not a .vael file" in failed.stderr


def test_find_package_from_a_prefix_static_and_shared(
    prefix: Path, tmp_path: Path, make_bundle: Callable[..., Path]
) -> None:
    consumer = build(
        tmp_path / "consumer", ROOT / "tests" / "consumer", f"-Dvaelocity_ROOT={prefix}"
    )
    bundle = make_bundle([59, 64, 32, 16])
    for name in ("consumer_c", "consumer_cpp", "consumer_shared"):
        check_consumer(consumer / name, bundle)
    linked = run("ldd", consumer / "consumer_shared")
    assert "libvaelocity.so" in linked
    assert "libvaelocity.so" not in run("ldd", consumer / "consumer_cpp")


def test_find_package_from_the_wheel(tmp_path: Path, make_bundle: Callable[..., Path]) -> None:
    package = Path(vaelocity.__file__).parent
    consumer = build(
        tmp_path / "consumer", ROOT / "tests" / "consumer", f"-Dvaelocity_ROOT={package}"
    )
    for name in ("consumer_c", "consumer_cpp"):
        check_consumer(consumer / name, make_bundle([59, 64, 32, 16]))


@pytest.mark.parametrize("linking", [("--static",), ()])
def test_pkg_config(
    prefix: Path, tmp_path: Path, make_bundle: Callable[..., Path], linking: tuple[str, ...]
) -> None:
    """The installed folder is moved first: what pkg-config says does not depend on where it was."""
    moved = tmp_path / "moved"
    shutil.copytree(prefix, moved, symlinks=True)
    where = f"--with-path={moved / 'lib' / 'pkgconfig'}"
    tool("pkg-config", package="pkg-config")
    flags = run("pkg-config", where, "--cflags", "--libs", *linking, "vaelocity").split()
    version = run("pkg-config", where, "--modversion", "vaelocity").strip()
    assert version == vaelocity.__version__
    if linking:
        (moved / "lib" / "libvaelocity.so").unlink()
    program = tmp_path / "consumer"
    source = ROOT / "tests" / "consumer" / "main.c"
    run("gcc", "-std=c11", source, *flags, f"-Wl,-rpath,{moved / 'lib'}", "-o", program)
    check_consumer(program, make_bundle([59, 64, 32, 16]))
