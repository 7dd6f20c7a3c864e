#include "ops/sparsity.h"

#include "ops/registry.h"
#include "ops/tensor.h"

VAEL_DECLARE_TABLES(vael::SparsityTable, vael_sparsity_table);

namespace vael::bind {
namespace {

void sparsity(py::handle z, py::handle sum, size_t begin, size_t end) {
  Shape shape;
  const Input z_in = input(z, "z", &shape);
  const Sparsity op{z_in, shape.columns, float32_output(sum, "sum", shape.rows)};
  run(VAEL_TABLE(vael_sparsity_table, isa()).forward, op, span(begin, end, shape.rows),
      shape.columns);
}

void sparsity_backward(py::handle grad, py::handle z, py::handle grad_z, size_t begin, size_t end) {
  Shape shape;
  const Input z_in = input(z, "z", &shape);
  const SparsityBackward op{per_row(grad, "grad", shape.rows), z_in, shape.columns,
                            output_like(grad_z, "grad_z", shape)};
  run(VAEL_TABLE(vael_sparsity_table, isa()).backward, op, span(begin, end, shape.rows),
      shape.columns);
}

const Registrar registrar([](py::module_ &m) {
  m.def("sparsity", sparsity);
  m.def("sparsity_backward", sparsity_backward);
});

} // namespace
} // namespace vael::bind
