"""Networks of others as .vael files: torch modules, ONNX graphs, PyOD detectors, pythae models.

    vaelocity.freeze(module, example, "mine.vael")
    vaelocity.importing.onnx_file("model.onnx", "mine.vael")
    vaelocity.importing.pyod_detector(fitted, rows, "mine.vael")
    vaelocity.importing.pythae_state(state_dict, example, "mine.vael")

A network goes through three hands: its nodes become values (`torch_nodes`, `onnx_nodes`: a table
with one function a node), the values become steps of the file (`chain`, `network`), the steps are
scored beside the original and written (`write`).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vaelocity.importing.chain import UnsupportedNode

if TYPE_CHECKING:
    from vaelocity.importing.onnx_graph import onnx_file
    from vaelocity.importing.pyod import pyod_detector
    from vaelocity.importing.pythae import pythae_state
    from vaelocity.importing.torch_module import freeze

__all__ = ["UnsupportedNode", "freeze", "onnx_file", "pyod_detector", "pythae_state"]

_LAZY = {
    "freeze": "torch_module",
    "onnx_file": "onnx_graph",
    "pyod_detector": "pyod",
    "pythae_state": "pythae",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"vaelocity.importing.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'vaelocity.importing' has no attribute {name!r}")
