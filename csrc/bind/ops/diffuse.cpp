#include "ops/diffuse.h"

#include "ops/registry.h"
#include "ops/tensor.h"

#include <string>

VAEL_DECLARE_TABLES(vael::DiffuseTable, vael_diffuse_table);

namespace vael::bind {
namespace {

Schedule schedule(py::handle t, py::handle alpha_bar, Span rows, size_t n) {
  size_t steps;
  Schedule s{};
  s.t = int64_vector(t, "t", n, &s.t_stride);
  s.alpha_bar = float32_vector(alpha_bar, "alpha_bar", &steps);
  for (size_t row = rows.begin; row < rows.end; ++row) {
    const int64_t step = s.t[static_cast<ptrdiff_t>(row) * s.t_stride];
    if (step < 0 || static_cast<size_t>(step) >= steps)
      throw py::value_error("t: expected steps 0 .. " + std::to_string(steps) + " - 1, got " +
                            std::to_string(step) + " at row " + std::to_string(row));
  }
  return s;
}

void diffuse(py::handle x0, py::handle t, py::handle alpha_bar, py::handle rng, py::handle x_t,
             size_t begin, size_t end) {
  Shape shape;
  const Input x0_in = input(x0, "x0", &shape);
  const Span rows = span(begin, end, shape.rows);
  const Diffuse op{x0_in, schedule(t, alpha_bar, rows, shape.rows), draw(rng), shape.columns,
                   output_like(x_t, "x_t", shape)};
  run(VAEL_TABLE(vael_diffuse_table, isa()).forward, op, rows, shape.columns);
}

void diffuse_backward(py::handle grad, py::handle t, py::handle alpha_bar, py::handle grad_x0,
                      size_t begin, size_t end) {
  Shape shape;
  const Input grad_in = input(grad, "grad", &shape);
  const Span rows = span(begin, end, shape.rows);
  const DiffuseBackward op{grad_in, schedule(t, alpha_bar, rows, shape.rows), shape.columns,
                           output_like(grad_x0, "grad_x0", shape)};
  run(VAEL_TABLE(vael_diffuse_table, isa()).backward, op, rows, shape.columns);
}

const Registrar registrar([](py::module_ &m) {
  m.def("diffuse", diffuse);
  m.def("diffuse_backward", diffuse_backward);
});

} // namespace
} // namespace vael::bind
