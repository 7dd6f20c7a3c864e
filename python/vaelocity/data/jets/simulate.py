"""Simulates the sample of jets; this is how sample.npz was made.

    python -m vaelocity.data.jets.simulate --seed 1 --per-class 2500 --quarks 14000 -o out.npz

Needs Pythia 8 and FastJet: pip install --only-binary :all: "vaelocity[jets]". A core makes about
30 jets a second. The same seed and numbers give the same rows on the same machine and the same
versions, whatever --jobs is: each class is simulated in parts of 500 jets, each with random
numbers derived from (seed, class, part), and the rows are then shuffled by the seed.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vaelocity.data.jets import generator
from vaelocity.data.jets.clustering import MISSING
from vaelocity.data.jets.features import FEATURES, R0
from vaelocity.data.jets.sample import CLASS_NAMES, MANTISSA_BITS, round_mantissa, write_sample
from vaelocity.data.table import Table

_JETS_A_PART = 500


class Part(NamedTuple):
    """A share of one class: `n_jets` jets from random numbers of their own."""

    class_name: str
    number: int
    n_jets: int


Simulated = dict[Part, tuple[npt.NDArray[np.float32], int]]


def parts(counts: dict[str, int]) -> list[Part]:
    """The work for these numbers of jets, in the order in which rows are put together."""
    return [
        Part(name, start // _JETS_A_PART, min(_JETS_A_PART, n - start))
        for name, n in counts.items()
        for start in range(0, n, _JETS_A_PART)
    ]


def run(work: list[Part], seed: int, jobs: int) -> Iterator[tuple[Part, Any]]:
    """Each part with its rows and number of events, in the order in which they get done."""
    if jobs == 1:
        for part in work:
            yield part, generator.simulate(part.class_name, part.n_jets, seed, part.number)
        return
    # Workers have one core each; BLAS must not start threads of its own beside them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = {
            pool.submit(generator.simulate, part.class_name, part.n_jets, seed, part.number): part
            for part in work
        }
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def table_of(done: Simulated, work: list[Part], seed: int) -> Table:
    """The rows of all parts, rounded and shuffled by the seed, with the class as label."""
    rows = np.concatenate([done[part][0] for part in work])
    codes = [CLASS_NAMES.index(part.class_name) for part in work]
    labels = np.repeat(np.array(codes, np.int64), [part.n_jets for part in work])
    order = np.random.default_rng(seed).permutation(len(rows))
    return Table(
        rows=round_mantissa(rows)[order],
        feature_names=[feature.name for feature in FEATURES],
        labels=labels[order],
        class_names=list(CLASS_NAMES),
    )


def provenance(done: Simulated, seed: int, counts: dict[str, int], table: Table) -> dict[str, Any]:
    """What made the sample: versions, settings, seed, the code's hash and the rows' hash."""
    events = {
        name: sum(n_events for part, (_, n_events) in done.items() if part.class_name == name)
        for name in counts
    }
    return {
        "command": "python -m vaelocity.data.jets.simulate "
        f"--seed {seed} --per-class {counts['gluon']} --quarks {counts['quark']}",
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seed": seed,
        "jets": counts,
        "events": events,
        "versions": {
            "vaelocity": metadata.version("vaelocity"),
            "pythia8mc": metadata.version("pythia8mc"),
            "fastjet": metadata.version("fastjet"),
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "platform": f"{platform.system()} {platform.machine()} {' '.join(platform.libc_ver())}",
        "pythia_settings": {"all": generator.COMMON, **generator.PROCESSES},
        "selection": {"algorithm": "anti-kT", "R": R0, **asdict(generator.SELECTION)},
        "mantissa_bits": MANTISSA_BITS,
        "code_sha256": code_sha256(),
        "rows_sha256": table.sha256(),
    }


def code_sha256() -> str:
    """Hex digest of this folder's source files but __init__.py, in the order of their names."""
    digest = hashlib.sha256()
    paths = sorted(Path(__file__).parent.glob("*.py"))
    for path in (path for path in paths if path.name != "__init__.py"):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(
        prog="python -m vaelocity.data.jets.simulate",
        description="Simulate quark, gluon, W, Z and top jets with Pythia 8 and FastJet.",
    )
    parser.add_argument("--seed", type=int, default=1, help="of the whole run (default 1)")
    parser.add_argument(
        "--per-class", type=int, default=2500, help="jets of each class (default 2500)"
    )
    parser.add_argument("--quarks", type=int, help="quark jets, where not --per-class")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("-o", "--output", type=Path, required=True, help="npz file to write")
    options = parser.parse_args(argv)
    options.quarks = options.per_class if options.quarks is None else options.quarks
    if options.seed < 0:
        parser.error(f"--seed: expected 0 or more, got {options.seed}")
    for name in ("per_class", "quarks", "jobs"):
        if getattr(options, name) < 1:
            flag = name.replace("_", "-")
            parser.error(f"--{flag}: expected 1 or more, got {getattr(options, name)}")
    if not options.output.parent.is_dir():
        parser.error(f"--output: no folder {options.output.parent}")
    missing = [name for name in ("pythia8mc", "fastjet") if find_spec(name) is None]
    if missing:
        parser.exit(1, f"{' and '.join(missing)} not installed; {MISSING}\n")
    return options


def main(argv: list[str] | None = None) -> int:
    """Simulates, writes the file, and reports progress on standard error."""
    options = arguments(argv)
    counts = dict.fromkeys(CLASS_NAMES, options.per_class) | {"quark": options.quarks}
    work, done = parts(counts), Simulated()
    total, started = sum(counts.values()), time.monotonic()
    for part, result in run(work, options.seed, options.jobs):
        done[part] = result
        made = sum(finished.n_jets for finished in done)
        elapsed = time.monotonic() - started
        left = elapsed * (total - made) / made
        print(f"{made:6d} of {total} jets, {elapsed:.0f} s, {left:.0f} s left", file=sys.stderr)
    table = table_of(done, work, options.seed)
    write_sample(options.output, table, provenance(done, options.seed, counts, table))
    size = options.output.stat().st_size
    print(f"{options.output}: {len(table)} jets, {size:,} bytes", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
