#include "ops/denoising_loss.h"

#include "ops/registry.h"
#include "ops/tensor.h"

VAEL_DECLARE_TABLES(vael::DenoisingLossTable, vael_denoising_loss_table);

namespace vael::bind {
namespace {

void denoising_loss(py::handle prediction, py::handle rng, py::handle loss, size_t begin,
                    size_t end) {
  Shape shape;
  const Input prediction_in = input(prediction, "prediction", &shape);
  const DenoisingLoss op{prediction_in, draw(rng), shape.columns,
                         float32_output(loss, "loss", shape.rows)};
  run(VAEL_TABLE(vael_denoising_loss_table, isa()).forward, op, span(begin, end, shape.rows),
      shape.columns);
}

void denoising_loss_backward(py::handle grad, py::handle prediction, py::handle rng,
                             py::handle grad_prediction, size_t begin, size_t end) {
  Shape shape;
  const Input prediction_in = input(prediction, "prediction", &shape);
  const DenoisingLossBackward op{per_row(grad, "grad", shape.rows), prediction_in, draw(rng),
                                 shape.columns,
                                 output_like(grad_prediction, "grad_prediction", shape)};
  run(VAEL_TABLE(vael_denoising_loss_table, isa()).backward, op, span(begin, end, shape.rows),
      shape.columns);
}

const Registrar registrar([](py::module_ &m) {
  m.def("denoising_loss", denoising_loss);
  m.def("denoising_loss_backward", denoising_loss_backward);
});

} // namespace
} // namespace vael::bind
