// The arguments (x, y, ..., kind, delta, mask, weight) that reconstruction_loss and elbo share.
#pragma once

#include "ops/reconstruction_loss.h"
#include "ops/tensor.h"

#include <string_view>

namespace vael::bind {

/// What the loss says of y is checked too; loss is the output, or null for a backward.
ReconstructionLoss loss_arguments(py::handle x, py::handle y, std::string_view kind, double delta,
                                  py::handle mask, py::handle weight, Shape *x_shape,
                                  Shape *y_shape);

} // namespace vael::bind
