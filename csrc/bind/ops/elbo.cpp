#include "ops/elbo.h"

#include "ops/loss_arguments.h"
#include "ops/registry.h"

VAEL_DECLARE_TABLES(vael::ElboTable, vael_elbo_table);

namespace vael::bind {
namespace {

/// mu: as many rows as x.
Input latent_input(py::handle mu, size_t rows, Shape *shape) {
  const Input in = input(mu, "mu", shape);
  return shape->rows == rows ? in : input_like(mu, "mu", {rows, shape->columns});
}

void elbo(py::handle x, py::handle y, py::handle mu, py::handle logvar, double beta,
          std::string_view kind, double delta, py::handle mask, py::handle weight, py::handle total,
          py::handle reconstruction, py::handle kl, size_t begin, size_t end) {
  Shape shape, y_shape, latent;
  ReconstructionLoss loss = loss_arguments(x, y, kind, delta, mask, weight, &shape, &y_shape);
  loss.loss = float32_output(reconstruction, "reconstruction", shape.rows);
  const Input mu_in = latent_input(mu, shape.rows, &latent);
  const Elbo op{loss,
                {mu_in, input_like(logvar, "logvar", latent), latent.columns,
                 float32_output(kl, "kl", shape.rows)},
                static_cast<float>(beta),
                float32_output(total, "total", shape.rows)};
  run(VAEL_TABLE(vael_elbo_table, isa()).forward, op, span(begin, end, shape.rows),
      shape.columns + latent.columns);
}

void elbo_backward(py::handle grad_total, py::handle grad_reconstruction, py::handle grad_kl,
                   py::handle x, py::handle y, py::handle mu, py::handle logvar, double beta,
                   std::string_view kind, double delta, py::handle mask, py::handle weight,
                   py::handle grad_y, py::handle grad_mu, py::handle grad_logvar, size_t begin,
                   size_t end) {
  Shape shape, y_shape, latent;
  const ReconstructionLoss loss = loss_arguments(x, y, kind, delta, mask, weight, &shape, &y_shape);
  const Input mu_in = latent_input(mu, shape.rows, &latent);
  const PerRow of_total = per_row(grad_total, "grad_total", shape.rows);
  const ElboBackward op{{per_row(grad_reconstruction, "grad_reconstruction", shape.rows), of_total,
                         loss, output_like(grad_y, "grad_y", y_shape)},
                        {per_row(grad_kl, "grad_kl", shape.rows), of_total,
                         static_cast<float>(beta), mu_in, input_like(logvar, "logvar", latent),
                         latent.columns, output_like(grad_mu, "grad_mu", latent),
                         output_like(grad_logvar, "grad_logvar", latent)}};
  run(VAEL_TABLE(vael_elbo_table, isa()).backward, op, span(begin, end, shape.rows),
      shape.columns + latent.columns);
}

const Registrar registrar([](py::module_ &m) {
  m.def("elbo", elbo);
  m.def("elbo_backward", elbo_backward);
});

} // namespace
} // namespace vael::bind
