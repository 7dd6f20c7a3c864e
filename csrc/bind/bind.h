#pragma once

#include <pybind11/pybind11.h>

void bind_arrow(pybind11::module_ &m);
void bind_fixed(pybind11::module_ &m);
void bind_histogram(pybind11::module_ &m);
void bind_model(pybind11::module_ &m);
/// vaelocity._core.ops, with every op that csrc/bind/ops holds.
void bind_ops(pybind11::module_ &m);
