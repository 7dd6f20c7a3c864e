"""What a header holds of one network: its arrays, and the body of the function that scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity._core import BundleError
from vaelocity.export.header_body import Body, Value
from vaelocity.export.header_steps import Part
from vaelocity.export.literals import floats, integers, number, strings
from vaelocity.preprocess import COLUMNS, columns_of, leaves_out

__all__ = ["HeaderNetwork"]

_PRUNED_LATENT = ("reconstruction", "mu2")  # kinds that do not look at logvar
_DECODED = ("reconstruction", "elbo", "latent_reconstruction")


class HeaderNetwork:
    """Of one network and kind. preludes: the files that are needed; data: arrays and constants, as
    C++; body: that of score_in(), whose workspace has `floats` floats."""

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
        self._body = Body()
        self._x = self._body.value("x", len(metadata["features"]))
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
        self.floats = self._body.lay_out()
        self.body = self._body.text()

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
            self._body.add(
                "  const bool finite = standardize<n_features>(features, mean, inverse_scale, x);"
            )
            self._body.add("  const bool missed = false;")
            return
        self.preludes.append("prelude_columns.hpp")
        self.data += [floats(f"column_{name}", each) for name, each in self.columns.items()]
        names = [f"column_{name}" if name in self.columns else "nullptr" for name in COLUMNS]
        self.data.append(f"inline constexpr columns prepared = {{{', '.join(names)}}};")
        self._body.add(
            "  float keep[n_features];\n"
            "  bool missed;\n"
            "  const bool finite = "
            "prepare<n_features>(features, prepared, mean, inverse_scale, x, keep, &missed);"
        )

    def _error(self, size: str, x: str, y: str) -> str:
        """The loss of y, before its scale."""
        if self.loss == "squared_error" and self.keep == "nullptr":
            return f"sum_terms<squared_error, {size}>({x}, {y})"
        delta = np.float32(self.metadata["score"].get("delta", 1.0))
        loss = f"{self.loss}{{{number(delta) if self.loss == 'huber' else ''}}}"
        return f"sum_loss<{size}>({loss}, {x}, {y}, {self.keep})"

    def _layers(self) -> None:
        z = self._run("encoder", self._x)
        latent = {"kl": "kl_term", "elbo": "kl_term", "mu2": "mu2_term", "rz": "rz_term"}
        if term := latent.get(self.kind):
            logvar = z.name if self.kind == "mu2" else f"{z.name} + {self.latent}"
            terms = f"sum_terms<{term}, {self.latent}>({z.name}, {logvar})"
            self._body.add(f"  const float latent = {terms};", z)
        if self.kind in _DECODED:
            y = self._run("decoder", z._replace(size=self.latent, floats=self.latent))
            size, x = "n_features", self._x
            if self.kind == "latent_reconstruction":
                size, x = str(self.latent), z
            error = self._error(size, x.name, y.name)
            self._body.add(f"  const float reconstruction = {error};", x, y)
        scaled = ("0.5f * " if self.loss == "squared_error" else "") + "reconstruction"
        value = {
            "reconstruction": scaled,
            "latent_reconstruction": scaled,
            "output": f"{z.name}[0]",
            "kl": "0.5f * latent",
            "mu2": "latent",
            "rz": "latent",
            "elbo": f"fma({_beta(self.metadata)}, 0.5f * latent, {scaled})",
        }[self.kind]
        self._body.add(f"  const float value = {value};", *([z] if self.kind == "output" else ()))

    def _run(self, part: str, source: Value) -> Value:
        """Appends the steps of a part."""
        steps, tensors = self.metadata[part], dict(self.tensors)
        last = steps[-1]
        if part == "encoder" and last["op"] == "dense" and self.kind in _PRUNED_LATENT:
            for name in (last["weight"], last["bias"]):
                tensors[name] = tensors[name][: self.latent]
        made = Part(part, tensors, self._body, self.data, self.preludes)
        return made.run(steps, source)

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


def _beta(metadata: Mapping[str, Any]) -> str:
    return number(np.float32(metadata["score"].get("beta", 1.0)))
