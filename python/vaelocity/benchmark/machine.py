"""What the machine is, and the most that one of its cores can do."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

_PEAK_C = r"""
#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
typedef float vec __attribute__((vector_size(BYTES)));
/* independent chains, to cover the latency of an fma; 12 and two constants fit in 16 registers */
#define EACH(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)
int flop_per_step(void) { return 2 * 12 * BYTES / 4; }
int vector_bits(void) { return 8 * BYTES; }
float run(long steps, float scale, float shift) {
  const vec a = scale - (vec){0}, b = shift - (vec){0};
#define START(c) vec acc##c = b + (float)c;
#define STEP(c) acc##c = acc##c * a + b;
#define SUM(c) sum += acc##c;
  EACH(START)
  for (long i = 0; i < steps; ++i) { EACH(STEP) }
  vec sum = {0};
  EACH(SUM)
  return sum[0];
}
/* reads n floats, a multiple of 12 vectors, once */
float read_all(const float *data, long n) {
  const vec *at = (const vec *)data, *end = (const vec *)(data + n);
#define ZERO(c) vec acc##c = {0};
#define ADD(c) acc##c += at[c];
  EACH(ZERO)
  for (; at < end; at += 12) { EACH(ADD) }
  vec sum = {0};
  EACH(SUM)
  return sum[0];
}
"""

_BANDWIDTH_BYTES = 12 * 64 * (1 << 19)  # 403 MB: more than the caches of the machines there are


@dataclass(frozen=True)
class Peak:
    """A loop of nothing but fused multiply-adds in registers: its time is the peak.

    call       runs it once; None where it could not be built
    flop       floating-point operations of a call (2 an fma)
    why        how it was built, or why it was not
    bandwidth  bytes/s that one core reads from memory; 0 where not measured
    """

    call: Callable[[], object] | None
    flop: float
    why: str
    bandwidth: float = 0.0


NO_PEAK = Peak(None, 0.0, "not asked for")
"""For races in which nothing is measured against the peak."""


def fma_peak(flop: float = 2e8, *, bandwidth: bool = False) -> Peak:
    """The loop, compiled for this machine by the C compiler found here.

    bandwidth: measure that, too; it takes 0.4 GB of memory for half a second.
    """
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        return Peak(None, 0.0, "no C compiler found")
    flags = ["-O3", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC"]
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "peak.c"), Path(folder, "peak.so")
        source.write_text(_PEAK_C)
        built = subprocess.run(
            [compiler, *flags, "-o", library, source], capture_output=True, text=True, check=False
        )
        if built.returncode:
            return Peak(None, 0.0, f"{compiler}: {built.stderr.strip().splitlines()[-1]}")
        loop = ctypes.CDLL(str(library))  # stays mapped when the file is gone
    loop.run.restype = ctypes.c_float
    loop.run.argtypes = [ctypes.c_long, ctypes.c_float, ctypes.c_float]
    per_step = int(loop.flop_per_step())
    steps = max(1, round(flop / per_step))
    why = f"{loop.vector_bits()}-bit fma, {Path(compiler).name} {' '.join(flags[:3])}"
    found = _bandwidth(loop) if bandwidth else 0.0
    return Peak(lambda: loop.run(steps, 0.999, 0.001), float(steps * per_step), why, found)


def _bandwidth(loop: ctypes.CDLL) -> float:
    """Bytes/s of reading memory once, the best of five: what disturbs it only makes it less."""
    raw = np.ones(_BANDWIDTH_BYTES // 4 + 16, np.float32)
    data = raw[(-raw.ctypes.data % 64) // 4 :][: _BANDWIDTH_BYTES // 4]
    loop.read_all.restype = ctypes.c_float
    loop.read_all.argtypes = [ctypes.c_void_p, ctypes.c_long]
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        loop.read_all(data.ctypes.data, len(data))
        seconds.append(time.perf_counter() - start)
    return _BANDWIDTH_BYTES / min(seconds)


def fingerprint(packages: tuple[str, ...], source: Path | None = None) -> dict[str, Any]:
    """What a reader must know to judge the numbers; JSON. source: a folder in the git repository
    that is measured."""
    return {
        "cpu": cpu_model(),
        "cpus": os.cpu_count(),
        "flags": _cpu_flags(),
        "load_average": list(os.getloadavg()),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in packages},
        "commit": None if source is None else _commit(source),
    }


def folder_name() -> str:
    """A name for this kind of machine, fit for a folder: amd-epyc-family25-model17-avx512."""
    info = _cpuinfo()
    parts = [cpu_model()]
    if "cpu family" in info:
        parts.append(f"family{info['cpu family']}-model{info['model']}")
    flags = _cpu_flags()
    parts.extend(flag for flag in flags[:1] if flag in ("avx512f", "avx2"))
    return re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")


def cpu_model() -> str:
    """The processor's own name for itself."""
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def _cpuinfo() -> dict[str, str]:
    """The first processor's lines of /proc/cpuinfo."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _cpu_flags() -> list[str]:
    """The instruction sets that matter here, widest first."""
    have = set(_cpuinfo().get("flags", "").split())
    known = ("avx512f", "avx512_bf16", "avx512_vnni", "amx_tile", "avx2", "fma")
    return [flag for flag in known if flag in have]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit(source: Path) -> str | None:
    if shutil.which("git") is None:
        return None
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=source, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return found.stdout.strip() or None
