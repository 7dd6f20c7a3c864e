#include "ops/reparameterize_kl.h"

#include "ops/registry.h"
#include "ops/tensor.h"

VAEL_DECLARE_TABLES(vael::ReparameterizeKlTable, vael_reparameterize_kl_table);

namespace vael::bind {
namespace {

void reparameterize_kl(py::handle mu, py::handle logvar, py::handle rng, py::handle z,
                       py::handle kl, size_t begin, size_t end) {
  Shape shape;
  const Input mu_in = input(mu, "mu", &shape);
  const ReparameterizeKl op{
      mu_in,         input_like(logvar, "logvar", shape), draw(rng),
      shape.columns, output_like(z, "z", shape),          float32_output(kl, "kl", shape.rows)};
  run(VAEL_TABLE(vael_reparameterize_kl_table, isa()).forward, op, span(begin, end, shape.rows),
      shape.columns);
}

void reparameterize_kl_backward(py::handle grad_z, py::handle grad_kl, py::handle mu,
                                py::handle logvar, py::handle rng, py::handle grad_mu,
                                py::handle grad_logvar, size_t begin, size_t end) {
  Shape shape;
  const Input mu_in = input(mu, "mu", &shape);
  const ReparameterizeKlBackward op{input_like(grad_z, "grad_z", shape),
                                    per_row(grad_kl, "grad_kl", shape.rows),
                                    mu_in,
                                    input_like(logvar, "logvar", shape),
                                    draw(rng),
                                    shape.columns,
                                    output_like(grad_mu, "grad_mu", shape),
                                    output_like(grad_logvar, "grad_logvar", shape)};
  run(VAEL_TABLE(vael_reparameterize_kl_table, isa()).backward, op, span(begin, end, shape.rows),
      shape.columns);
}

const Registrar registrar([](py::module_ &m) {
  m.def("reparameterize_kl", reparameterize_kl);
  m.def("reparameterize_kl_backward", reparameterize_kl_backward);
});

} // namespace
} // namespace vael::bind
