"""Triton kernels, one file an op. Importing this package imports no triton."""
