"""The C++17 header of a model: the network, its score and its thresholds, depending on nothing.

It computes in the library's summation order, so its scores are the library's bit for bit;
`prelude.hpp` is the part that all headers share. NumPy and safetensors are enough to write one.
"""

from __future__ import annotations

import os
import re
from importlib import resources
from pathlib import Path

from vaelocity._core import Model, __version__
from vaelocity.bundle import parse_bundle
from vaelocity.export.header_network import HeaderNetwork

__all__ = ["cpp_header"]

_HEAD = """\
// {namespace}: anomaly scores of one frozen network, made by vaelocity {version}. Do not edit.
//
//   model     {checksum}
//   score     {kind}; higher is more anomalous
//   features  {n_features}, see {namespace}::feature_names
//
// C++17, needs nothing but the standard library. The scores are those of vaelocity bit for bit if
// every product-sum below stays as it is written and the thread is in the default floating-point
// mode (round to nearest, subnormals kept):
//
//   g++ -std=c++17 -O3 -march=native -ffp-contract=off      (clang++ takes the same flags)
//
// Without a processor with fma (-mfma, -march=haswell or newer, any AArch64) the bits are the same
// but the C library computes each fma: slow. {namespace}::verify() replays rows with known scores.
// score() does not allocate, lock, throw, print or make a system call, and any number of threads
// may call it.
#pragma once

#ifdef __FAST_MATH__
#error "{namespace}: -ffast-math changes the scores and hides NaN"
#endif

#include <cfloat>
#include <cstddef>
#include <cstdint>
#include <cstring>

// Hidden, and with the model's checksum in every symbol: two models in one process, whatever their
// names and however they are loaded, cannot take each other's weights.
#if defined(__GNUC__)
#pragma GCC visibility push(hidden)
#endif
namespace {namespace} {{
inline namespace model_{short} {{

"""

_SCORE = """\
constexpr std::uint8_t flag_nonfinite = 1; // a NaN or inf among the features: the score is NaN
constexpr std::uint8_t flag_saturated = 2; // the score overflowed: it is FLT_MAX
constexpr std::uint8_t flag_missing = 4;   // a missing value was left out or replaced

/// What a score needs beside the row: a thread's own, and nothing is kept in it from call to call.
struct workspace {{
  alignas(64) float memory[{floats}];
}};

/// The score of one row of n_features floats, and if wanted its flags.
inline float score_in(workspace &space, const float *features,
                      std::uint8_t *flags = nullptr) noexcept {{
{body}
  const bool within = value <= FLT_MAX && value >= -FLT_MAX;
  if (flags)
    *flags = !finite ? flag_nonfinite
                     : static_cast<std::uint8_t>((within ? 0 : flag_saturated) |
                                                 (missed ? flag_missing : 0));
  return !finite ? __builtin_nanf("") : within ? value : value < 0.0f ? -FLT_MAX : FLT_MAX;
}}

/// The same with its workspace, of sizeof(workspace) bytes, on the stack.
inline float score(const float *features, std::uint8_t *flags = nullptr) noexcept {{
  workspace space;
  return score_in(space, features, flags);
}}

/// n rows, row i at rows + i * stride (in floats). scores: [n]; flags: [n] or null.
inline void score_rows(const float *rows, std::ptrdiff_t stride, std::size_t n, float *scores,
                       std::uint8_t *flags = nullptr) noexcept {{
  workspace space;
  for (std::size_t i = 0; i < n; ++i)
    scores[i] = score_in(space, rows + static_cast<std::ptrdiff_t>(i) * stride,
                         flags ? flags + i : nullptr);
}}

/// By the rule of vaelocity: a NaN score is anomalous.
inline bool anomalous(float score, float threshold) noexcept {{
  return !__builtin_islessequal(score, threshold);
}}

/// How many of the model's conformance rows do not get their score and flags bit for bit: 0, or
/// the compiler was told to round differently.
inline int verify() noexcept {{
  int wrong = 0;
  for (int i = 0; i < n_conformance; ++i) {{
    std::uint8_t flags = 0;
    const float got = score(conformance_rows + i * n_features, &flags);
    wrong += bits(got) != conformance_scores[i] || flags != conformance_flags[i];
  }}
  return wrong;
}}

}} // namespace model_{short}
}} // namespace {namespace}
#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
"""


def cpp_header(
    path: str | os.PathLike[str], *, kind: str | None = None, namespace: str | None = None
) -> str:
    """The text of a header that scores as the model file `path` does.

    Args:
        path: a .vael file.
        kind: the score; default: the file's own.
        namespace: a C++ identifier; default: the file's name.

    Raises:
        OSError, BundleError: the file cannot be read, is damaged or has no such score.
        ValueError: the namespace is no C++ identifier.
    """
    data = Path(path).read_bytes()
    model = Model.from_bytes(data, kind or "", verify=True)
    metadata, tensors = parse_bundle(data)
    name = namespace or re.sub(r"\W", "_", Path(path).stem, flags=re.ASCII)
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or "__" in name:
        raise ValueError(f"namespace: expected a C++ identifier, got {name!r}")
    short = model.checksum[:12]
    head = _HEAD.format(
        namespace=name,
        version=__version__,
        checksum=model.checksum,
        kind=model.kind,
        n_features=model.n_features,
        short=short,
    )
    network = HeaderNetwork(metadata, tensors, model.kind)
    folder = resources.files("vaelocity.export")
    prelude = "".join(folder.joinpath(each).read_text("utf-8") for each in network.preludes)
    score = _SCORE.format(namespace=name, short=short, floats=network.floats, body=network.body)
    return "\n".join([head + prelude, *network.data, "", score])
