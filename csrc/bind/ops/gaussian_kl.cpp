#include "ops/gaussian_kl.h"

#include "ops/registry.h"
#include "ops/tensor.h"

VAEL_DECLARE_TABLES(vael::GaussianKlTable, vael_gaussian_kl_table);

namespace vael::bind {
namespace {

void gaussian_kl(py::handle mu, py::handle logvar, py::handle kl, size_t begin, size_t end) {
  Shape shape;
  const Input mu_in = input(mu, "mu", &shape);
  const GaussianKl op{mu_in, input_like(logvar, "logvar", shape), shape.columns,
                      float32_output(kl, "kl", shape.rows)};
  run(VAEL_TABLE(vael_gaussian_kl_table, isa()).forward, op, span(begin, end, shape.rows),
      shape.columns);
}

void gaussian_kl_backward(py::handle grad_kl, py::handle mu, py::handle logvar, py::handle grad_mu,
                          py::handle grad_logvar, size_t begin, size_t end) {
  Shape shape;
  const Input mu_in = input(mu, "mu", &shape);
  const GaussianKlBackward op{per_row(grad_kl, "grad_kl", shape.rows),
                              {},
                              0.0f,
                              mu_in,
                              input_like(logvar, "logvar", shape),
                              shape.columns,
                              output_like(grad_mu, "grad_mu", shape),
                              output_like(grad_logvar, "grad_logvar", shape)};
  run(VAEL_TABLE(vael_gaussian_kl_table, isa()).backward, op, span(begin, end, shape.rows),
      shape.columns);
}

const Registrar registrar([](py::module_ &m) {
  m.def("gaussian_kl", gaussian_kl);
  m.def("gaussian_kl_backward", gaussian_kl_backward);
});

} // namespace
} // namespace vael::bind
