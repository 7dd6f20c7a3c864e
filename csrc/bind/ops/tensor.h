// torch CPU tensors as the kernels take them, read by duck typing: the extension links no torch.
//
// Everything that could make a kernel read or write where it must not is checked here, with an
// error that names the argument.
#pragma once

#include "isa.h"
#include "ops/matrix.h"

#include <pybind11/pybind11.h>

#include <stddef.h>

namespace vael::bind {

namespace py = pybind11;

/// Matrices with B rows: what the first one has, the others must have.
struct Shape {
  size_t rows, columns;
};

/// A floating tensor [B, D] with neighbouring columns side by side.
Input input(py::handle tensor, const char *name, Shape *shape);
/// The same, of a shape that is known.
Input input_like(py::handle tensor, const char *name, Shape shape);
Output output_like(py::handle tensor, const char *name, Shape shape);
/// A contiguous floating tensor of any shape, as [elements].
Output flat_output(py::handle tensor, const char *name, size_t *elements);

/// A contiguous float32 tensor [n]; with a pointer, n is what it has.
const float *float32_vector(py::handle tensor, const char *name, size_t n);
const float *float32_vector(py::handle tensor, const char *name, size_t *n);
float *float32_output(py::handle tensor, const char *name, size_t n);
/// A float32 tensor [rows] of any stride.
PerRow per_row(py::handle tensor, const char *name, size_t rows);
/// A bool tensor [B, D] with neighbouring columns side by side.
ElementMask element_mask(py::handle tensor, const char *name, Shape shape);
/// A contiguous one to be written.
uint8_t *mask_output(py::handle tensor, const char *name, Shape shape);
/// An int64 tensor [n] of any stride.
const int64_t *int64_vector(py::handle tensor, const char *name, size_t n, ptrdiff_t *stride);
/// An int64 tensor [2]: seed and offset.
Draw draw(py::handle tensor);

/// begin .. end, checked against the number of rows.
Span span(size_t begin, size_t end, size_t rows);

/// The instruction set of the ops: the best this machine has, or VAELOCITY_ISA.
Isa isa();

/// Calls the kernel, without the interpreter lock if the work is worth letting it go.
template <class Op>
void run(void (*kernel)(const Op &, Span), const Op &op, Span rows, size_t columns) {
  constexpr size_t large = 1 << 14;
  if ((rows.end - rows.begin) * (columns ? columns : 1) < large)
    return kernel(op, rows);
  const py::gil_scoped_release released;
  kernel(op, rows);
}

} // namespace vael::bind
