#include "ops/loss_arguments.h"
#include "ops/registry.h"

VAEL_DECLARE_TABLES(vael::ReconstructionLossTable, vael_reconstruction_loss_table);

namespace vael::bind {
namespace {

void reconstruction_loss(py::handle x, py::handle y, std::string_view kind, double delta,
                         py::handle mask, py::handle weight, py::handle loss, size_t begin,
                         size_t end) {
  Shape shape, y_shape;
  ReconstructionLoss op = loss_arguments(x, y, kind, delta, mask, weight, &shape, &y_shape);
  op.loss = float32_output(loss, "loss", shape.rows);
  run(VAEL_TABLE(vael_reconstruction_loss_table, isa()).forward, op, span(begin, end, shape.rows),
      shape.columns);
}

void reconstruction_loss_backward(py::handle grad_loss, py::handle x, py::handle y,
                                  std::string_view kind, double delta, py::handle mask,
                                  py::handle weight, py::handle grad_y, size_t begin, size_t end) {
  Shape shape, y_shape;
  const ReconstructionLoss loss = loss_arguments(x, y, kind, delta, mask, weight, &shape, &y_shape);
  const ReconstructionLossBackward op{per_row(grad_loss, "grad_loss", shape.rows),
                                      {},
                                      loss,
                                      output_like(grad_y, "grad_y", y_shape)};
  run(VAEL_TABLE(vael_reconstruction_loss_table, isa()).backward, op, span(begin, end, shape.rows),
      shape.columns);
}

const Registrar registrar([](py::module_ &m) {
  m.def("reconstruction_loss", reconstruction_loss);
  m.def("reconstruction_loss_backward", reconstruction_loss_backward);
});

} // namespace
} // namespace vael::bind
