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
from vaelocity.export.literals import floats, integers, number, strings
from vaelocity.preprocess import COLUMNS, columns_of, leaves_out
from vaelocity.steps import require_dense

__all__ = ["cpp_header"]

BLOCK = 32  # `block` in prelude.hpp

Array = npt.NDArray[np.float32]
Step = Mapping[str, Any]

_PRUNED_LATENT = ("reconstruction", "mu2")  # kinds that do not look at logvar
_DECODED = ("reconstruction", "elbo", "latent_reconstruction")

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

/// The score of one row of n_features floats, and if wanted its flags.
inline float score(const float *features, std::uint8_t *flags = nullptr) noexcept {{
  alignas(64) float x[padded(n_features)], a[{width}], b[{width}];
{body}
  const bool within = value <= FLT_MAX && value >= -FLT_MAX;
  if (flags)
    *flags = !finite ? flag_nonfinite
                     : static_cast<std::uint8_t>((within ? 0 : flag_saturated) |
                                                 (missed ? flag_missing : 0));
  return !finite ? __builtin_nanf("") : within ? value : value < 0.0f ? -FLT_MAX : FLT_MAX;
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
    network = _Network(metadata, tensors, model.kind)
    folder = resources.files("vaelocity.export")
    prelude = "".join(folder.joinpath(each).read_text("utf-8") for each in network.preludes)
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
        self.columns = columns_of(metadata)
        self.loss = metadata["score"].get("loss", "squared_error")
        of_features = kind != "latent_reconstruction"
        self.keep = "keep" if of_features and leaves_out(metadata) else "nullptr"
        self.preludes = ["prelude.hpp"]
        if self.loss != "squared_error" or self.keep != "nullptr":
            self.preludes.append("prelude_losses.hpp")
        self.latent = metadata["latent"]["size"]
        self.width = BLOCK
        self.body: list[str] = []
        self.data = [
            "// ---- The model",
            "",
            f"constexpr int n_features = {len(metadata['features'])};",
            strings("feature_names", metadata["features"]),
        ]
        self._thresholds()
        step = metadata["preprocess"][-1]
        self.data.append(floats("mean", tensors[step["mean"]]))
        with np.errstate(over="ignore"):
            inverse = np.float32(1) / tensors[step["scale"]]
        self.data.append(floats("inverse_scale", inverse))
        self._columns()
        self._layers()
        self._conformance()

    def _thresholds(self) -> None:
        entries = [t for t in self.metadata.get("thresholds", ()) if t["kind"] == self.kind]
        self.data.append(f"constexpr int n_thresholds = {len(entries)};")
        if entries:
            self.data.append(strings("threshold_names", [t["name"] for t in entries]))
            values = np.array([t["value"] for t in entries], np.float32)
            self.data.append(floats("thresholds", values))

    def _columns(self) -> None:
        """How a row becomes x."""
        if not self.columns:
            self.body += [
                "  const bool finite = standardize<n_features>(features, mean, inverse_scale, x);",
                "  const bool missed = false;",
            ]
            return
        self.preludes.append("prelude_columns.hpp")
        self.data += [floats(f"column_{name}", each) for name, each in self.columns.items()]
        names = [f"column_{name}" if name in self.columns else "nullptr" for name in COLUMNS]
        self.data.append(f"inline constexpr columns prepared = {{{', '.join(names)}}};")
        self.body += [
            "  float keep[n_features];",
            "  bool missed;",
            "  const bool finite = "
            "prepare<n_features>(features, prepared, mean, inverse_scale, x, keep, &missed);",
        ]

    def _error(self, size: str, x: str, y: str) -> str:
        """The loss of y, before its scale."""
        if self.loss == "squared_error" and self.keep == "nullptr":
            return f"sum_terms<squared_error, {size}>({x}, {y})"
        delta = np.float32(self.metadata["score"].get("delta", 1.0))
        loss = f"{self.loss}{{{number(delta) if self.loss == 'huber' else ''}}}"
        return f"sum_loss<{size}>({loss}, {x}, {y}, {self.keep})"

    def _layers(self) -> None:
        z = self._run("encoder", "x")
        latent = {"kl": "kl_term", "elbo": "kl_term", "mu2": "mu2_term", "rz": "rz_term"}
        if term := latent.get(self.kind):
            logvar = z if self.kind == "mu2" else f"{z} + {self.latent}"
            terms = f"sum_terms<{term}, {self.latent}>({z}, {logvar})"
            self.body.append(f"  const float latent = {terms};")
        size, x = "n_features", "x"
        if self.kind == "latent_reconstruction":
            # The decoder writes over the embedding, with which its end is compared.
            size, x = str(self.latent), "embedding"
            self.body += [
                f"  float embedding[{size}];",
                f"  std::memcpy(embedding, {z}, sizeof(embedding));",
            ]
        if self.kind in _DECODED:
            y = self._run("decoder", z)
            self.body.append(f"  const float reconstruction = {self._error(size, x, y)};")
        scaled = ("0.5f * " if self.loss == "squared_error" else "") + "reconstruction"
        value = {
            "reconstruction": scaled,
            "latent_reconstruction": scaled,
            "output": f"{z}[0]",
            "kl": "0.5f * latent",
            "mu2": "latent",
            "rz": "latent",
            "elbo": f"fma({_beta(self.metadata)}, 0.5f * latent, {scaled})",
        }[self.kind]
        self.body.append(f"  const float value = {value};")

    def _run(self, part: str, source: str) -> str:
        """Appends the layers of a part; returns the buffer its result is in."""
        steps = self.metadata[part]
        for i, step in enumerate(steps):
            weight, bias = self.tensors[step["weight"]], self.tensors[step["bias"]]
            last = part == "encoder" and i == len(steps) - 1
            if last and self.kind in _PRUNED_LATENT:
                weight, bias = weight[: self.latent], bias[: self.latent]
            n_out, n_in = weight.shape
            name = f"{part}_{i}"
            self.data += [
                floats(f"{name}_weight", _blocked(weight)),
                floats(f"{name}_bias", np.pad(bias, (0, -n_out % BLOCK))),
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
            floats("conformance_rows", self.tensors[names["rows"]]),
            integers("std::uint32_t", "conformance_scores", scores.view(np.uint32)),
            integers("std::uint8_t", "conformance_flags", self.tensors[names["flags"][self.kind]]),
        ]


def _blocked(weight: Array) -> Array:
    """[out][in] as [out / BLOCK][in][BLOCK], with zeros for the outputs that are not there."""
    n_out, n_in = weight.shape
    whole = np.pad(weight, ((0, -n_out % BLOCK), (0, 0)))
    return whole.reshape(-1, BLOCK, n_in).transpose(0, 2, 1)


def _activation(step: Step) -> str:
    name: str = step.get("activation", "identity")
    if name == "leaky_relu":
        return f"leaky_relu{{{number(np.float32(step.get('slope', 0.01)))}}}"
    return f"{name}{{}}"


def _beta(metadata: Mapping[str, Any]) -> str:
    return number(np.float32(metadata["score"].get("beta", 1.0)))
