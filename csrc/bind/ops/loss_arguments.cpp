#include "ops/loss_arguments.h"

#include <string>

namespace vael::bind {
namespace {

LossKind loss_kind(std::string_view name) {
  constexpr std::string_view names[] = {"squared_error", "absolute_error", "huber",
                                        "bce_with_logits", "gaussian_nll"};
  for (int i = 0; i < 5; ++i)
    if (name == names[i])
      return static_cast<LossKind>(i);
  throw py::value_error("kind: expected squared_error, absolute_error, huber, bce_with_logits or "
                        "gaussian_nll, got " +
                        std::string(name));
}

} // namespace

ReconstructionLoss loss_arguments(py::handle x, py::handle y, std::string_view kind, double delta,
                                  py::handle mask, py::handle weight, Shape *x_shape,
                                  Shape *y_shape) {
  ReconstructionLoss op{};
  op.x = input(x, "x", x_shape);
  op.kind = loss_kind(kind);
  op.columns = x_shape->columns;
  *y_shape = {x_shape->rows, op.columns * (op.kind == LossKind::gaussian_nll ? 2 : 1)};
  op.y = input_like(y, "y", *y_shape);
  op.delta = static_cast<float>(delta);
  if (!mask.is_none())
    op.mask = element_mask(mask, "mask", *x_shape);
  if (!weight.is_none())
    op.weight = float32_vector(weight, "weight", op.columns);
  return op;
}

} // namespace vael::bind
