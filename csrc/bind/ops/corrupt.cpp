#include "ops/corrupt.h"

#include "ops/registry.h"
#include "ops/tensor.h"

#include <string>

VAEL_DECLARE_TABLES(vael::CorruptTable, vael_corrupt_table);

namespace vael::bind {
namespace {

Dropping dropping(py::handle rng, double drop, Shape shape) {
  if (!(drop >= 0 && drop <= 1))
    throw py::value_error("drop: expected a probability 0 .. 1, got " + std::to_string(drop));
  return {draw(rng), shape.rows, shape.columns, static_cast<uint64_t>(drop * 0x1p32)};
}

void corrupt(py::handle x, py::handle rng, double noise, double drop, py::handle corrupted,
             py::handle kept, size_t begin, size_t end) {
  Shape shape;
  const Input x_in = input(x, "x", &shape);
  const Corrupt op{x_in, dropping(rng, drop, shape), static_cast<float>(noise),
                   output_like(corrupted, "corrupted", shape), mask_output(kept, "kept", shape)};
  run(VAEL_TABLE(vael_corrupt_table, isa()).forward, op, span(begin, end, shape.rows),
      shape.columns);
}

void corrupt_backward(py::handle grad, py::handle rng, double drop, py::handle grad_x, size_t begin,
                      size_t end) {
  Shape shape;
  const Input grad_in = input(grad, "grad", &shape);
  const CorruptBackward op{grad_in, dropping(rng, drop, shape),
                           output_like(grad_x, "grad_x", shape)};
  run(VAEL_TABLE(vael_corrupt_table, isa()).backward, op, span(begin, end, shape.rows),
      shape.columns);
}

const Registrar registrar([](py::module_ &m) {
  m.def("corrupt", corrupt);
  m.def("corrupt_backward", corrupt_backward);
});

} // namespace
} // namespace vael::bind
