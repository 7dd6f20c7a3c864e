"""A model file as source code: one C++ header with the weights inside, and no library."""

from vaelocity.export.header import cpp_header

__all__ = ["cpp_header"]
