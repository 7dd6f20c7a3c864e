"""The C++17 header of a model: the network, its score and its thresholds, depending on nothing.

It computes in the library's summation order, so its scores are the library's bit for bit;
`prelude.hpp` is the part that all headers share. NumPy and safetensors are enough to write one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity._core import BundleError, Model, __version__
from vaelocity.bundle import parse_bundle
from vaelocity.steps import require_dense

__all__ = ["cpp_header"]

BLOCK = 32  # `block` in prelude.hpp

Array = npt.NDArray[np.float32]
Step = Mapping[str, Any]

_PRUNED_LATENT = ("reconstruction", "mu2")  # kinds that do not look at logvar
_DECODED = ("reconstruction", "elbo")

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

/// The score of one row of n_features floats, and if wanted its flags.
inline float score(const float *features, std::uint8_t *flags = nullptr) noexcept {{
  alignas(64) float x[padded(n_features)], a[{width}], b[{width}];
  const bool finite = standardize<n_features>(features, mean, inverse_scale, x);
{body}
  if (flags)
    *flags = !finite ? flag_nonfinite : value <= FLT_MAX ? std::uint8_t{{0}} : flag_saturated;
  return !finite ? __builtin_nanf("") : value <= FLT_MAX ? value : FLT_MAX;
}}

/// n rows, row i at rows + i * stride (in floats). scores: [n]; flags: [n] or null.
inline void score_rows(const float *rows, std::ptrdiff_t stride, std::size_t n, float *scores,
                       std::uint8_t *flags = nullptr) noexcept {{
  for (std::size_t i = 0; i < n; ++i)
    scores[i] = score(rows + static_cast<std::ptrdiff_t>(i) * stride, flags ? flags + i : nullptr);
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
        OSError, BundleError: the file cannot be read, is damaged, has no such score, or has steps
            other than dense.
        ValueError: the namespace is no C++ identifier.
    """
    data = Path(path).read_bytes()
    model = Model.from_bytes(data, kind or "", verify=True)
    metadata, tensors = parse_bundle(data)
    require_dense(metadata, "the C++ header")
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
    prelude = resources.files("vaelocity.export").joinpath("prelude.hpp").read_text("utf-8")
    network = _Network(metadata, tensors, model.kind)
    score = _SCORE.format(
        namespace=name, short=short, width=network.width, body="\n".join(network.body)
    )
    return "\n".join([head + prelude, *network.data, "", score])


class _Network:
    """The data and the body of score() of one network and kind."""

    def __init__(
        self, metadata: dict[str, Any], tensors: Mapping[str, npt.NDArray[Any]], kind: str
    ) -> None:
        self.kind, self.metadata, self.tensors = kind, metadata, tensors
        self.latent = metadata["latent"]["size"]
        self.width = BLOCK
        self.body: list[str] = []
        self.data = [
            "// ---- The model",
            "",
            f"constexpr int n_features = {len(metadata['features'])};",
            _strings("feature_names", metadata["features"]),
        ]
        self._thresholds()
        step = metadata["preprocess"][-1]
        self.data.append(_floats("mean", tensors[step["mean"]]))
        with np.errstate(over="ignore"):
            inverse = np.float32(1) / tensors[step["scale"]]
        self.data.append(_floats("inverse_scale", inverse))
        self._layers()
        self._conformance()

    def _thresholds(self) -> None:
        entries = [t for t in self.metadata.get("thresholds", ()) if t["kind"] == self.kind]
        self.data.append(f"constexpr int n_thresholds = {len(entries)};")
        if entries:
            self.data.append(_strings("threshold_names", [t["name"] for t in entries]))
            values = np.array([t["value"] for t in entries], np.float32)
            self.data.append(_floats("thresholds", values))

    def _layers(self) -> None:
        z = self._run("encoder", "x")
        latent = {"kl": "kl_term", "elbo": "kl_term", "mu2": "mu2_term", "rz": "rz_term"}
        if term := latent.get(self.kind):
            logvar = z if self.kind == "mu2" else f"{z} + {self.latent}"
            terms = f"sum_terms<{term}, {self.latent}>({z}, {logvar})"
            self.body.append(f"  const float latent = {terms};")
        if self.kind in _DECODED:
            y = self._run("decoder", z)
            error = f"sum_terms<squared_error, n_features>(x, {y})"
            self.body.append(f"  const float reconstruction = {error};")
        value = {
            "reconstruction": "0.5f * reconstruction",
            "kl": "0.5f * latent",
            "mu2": "latent",
            "rz": "latent",
            "elbo": f"fma({_beta(self.metadata)}, 0.5f * latent, 0.5f * reconstruction)",
        }[self.kind]
        self.body.append(f"  const float value = {value};")

    def _run(self, part: str, source: str) -> str:
        """Appends the layers of a part; returns the buffer its result is in."""
        steps = self.metadata[part]
        for i, step in enumerate(steps):
            weight, bias = self.tensors[step["weight"]], self.tensors[step["bias"]]
            if part == "encoder" and i == len(steps) - 1 and self.kind in _PRUNED_LATENT:
                weight, bias = weight[: self.latent], bias[: self.latent]
            n_out, n_in = weight.shape
            name = f"{part}_{i}"
            self.data += [
                _floats(f"{name}_weight", _blocked(weight)),
                _floats(f"{name}_bias", np.pad(bias, (0, -n_out % BLOCK))),
            ]
            target = "b" if source == "a" else "a"
            self.body.append(
                f"  dense<{n_in}, {n_out}>({source}, {target}, {name}_weight, {name}_bias, "
                f"{_activation(step)});"
            )
            self.width = max(self.width, n_out + -n_out % BLOCK)
            source = target
        return source

    def _conformance(self) -> None:
        names = self.metadata.get("conformance")
        if not names or self.kind not in names["scores"]:
            raise BundleError(f"conformance: no rows for {self.kind!r} to put into the header")
        scores = self.tensors[names["scores"][self.kind]]
        self.data += [
            f"constexpr int n_conformance = {len(scores)};",
            _floats("conformance_rows", self.tensors[names["rows"]]),
            _integers("std::uint32_t", "conformance_scores", scores.view(np.uint32)),
            _integers("std::uint8_t", "conformance_flags", self.tensors[names["flags"][self.kind]]),
        ]


def _blocked(weight: Array) -> Array:
    """[out][in] as [out / BLOCK][in][BLOCK], with zeros for the outputs that are not there."""
    n_out, n_in = weight.shape
    whole = np.pad(weight, ((0, -n_out % BLOCK), (0, 0)))
    return whole.reshape(-1, BLOCK, n_in).transpose(0, 2, 1)


def _activation(step: Step) -> str:
    name: str = step.get("activation", "identity")
    if name == "leaky_relu":
        return f"leaky_relu{{{_float(np.float32(step.get('slope', 0.01)))}}}"
    return f"{name}{{}}"


def _beta(metadata: Mapping[str, Any]) -> str:
    return _float(np.float32(metadata["score"].get("beta", 1.0)))


def _float(x: np.float32) -> str:
    if np.isnan(x):
        return '__builtin_nanf("")'
    if np.isinf(x):
        return "__builtin_inff()" if x > 0 else "-__builtin_inff()"
    return f"{float(x).hex()}f"


def _floats(name: str, values: npt.NDArray[Any]) -> str:
    flat = values.astype(np.float32).ravel()
    return _array("float", name, [_float(x) for x in flat])


def _integers(kind: str, name: str, values: npt.NDArray[Any]) -> str:
    return _array(kind, name, [f"{int(x)}u" for x in values])


def _strings(name: str, values: list[str]) -> str:
    return _array("const char *", name, [_string(value) for value in values])


def _string(text: str) -> str:
    """A C string literal of the UTF-8 bytes; the quotes after an escape end it."""
    out = []
    for byte in text.encode():
        plain = 32 <= byte < 127 and chr(byte) not in '"\\?'
        out.append(chr(byte) if plain else f'\\x{byte:02x}""')
    return '"' + "".join(out) + '"'


def _array(kind: str, name: str, items: list[str]) -> str:
    lines, line = [], "   "
    for item in items:
        if len(line) + len(item) > 98:
            lines.append(line)
            line = "   "
        line += f" {item},"
    body = "\n".join([*lines, line])
    const = "const char *const" if kind == "const char *" else kind
    return f"alignas(64) inline constexpr {const} {name}[{len(items)}] = {{\n{body}\n}};"
