"""A model file in other forms: a C++ header, ONNX, QONNX, a repository of the Triton server."""

from vaelocity.export.header import cpp_header
from vaelocity.export.onnx_graph import onnx_model
from vaelocity.export.qonnx import qonnx_model
from vaelocity.export.triton_repository import triton_repository

__all__ = ["cpp_header", "onnx_model", "qonnx_model", "triton_repository"]
