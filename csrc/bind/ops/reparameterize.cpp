#include "ops/reparameterize.h"

#include "ops/registry.h"
#include "ops/tensor.h"

VAEL_DECLARE_TABLES(vael::ReparameterizeTable, vael_reparameterize_table);

namespace vael::bind {
namespace {

void reparameterize(py::handle mu, py::handle logvar, py::handle rng, py::handle z, size_t begin,
                    size_t end) {
  Shape shape;
  const Input mu_in = input(mu, "mu", &shape);
  const Reparameterize op{mu_in, input_like(logvar, "logvar", shape), draw(rng), shape.columns,
                          output_like(z, "z", shape)};
  run(VAEL_TABLE(vael_reparameterize_table, isa()).forward, op, span(begin, end, shape.rows),
      shape.columns);
}

void reparameterize_backward(py::handle grad_z, py::handle logvar, py::handle rng,
                             py::handle grad_logvar, size_t begin, size_t end) {
  Shape shape;
  const Input grad_in = input(grad_z, "grad_z", &shape);
  const ReparameterizeBackward op{grad_in, input_like(logvar, "logvar", shape), draw(rng),
                                  shape.columns, output_like(grad_logvar, "grad_logvar", shape)};
  run(VAEL_TABLE(vael_reparameterize_table, isa()).backward, op, span(begin, end, shape.rows),
      shape.columns);
}

const Registrar registrar([](py::module_ &m) {
  m.def("reparameterize", reparameterize);
  m.def("reparameterize_backward", reparameterize_backward);
});

} // namespace
} // namespace vael::bind
