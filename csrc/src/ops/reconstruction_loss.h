// reconstruction_loss: loss[b] = sum_j weight_j f(x_j, y_j) over the features that the mask keeps.
#pragma once

#include "ops/matrix.h"

namespace vael {

enum class LossKind { squared_error, absolute_error, huber, bce_with_logits, gaussian_nll };

struct ReconstructionLoss {
  Input x, y; // y: [rows][columns]; gaussian_nll: [rows][2 columns], the means, then the logvars
  size_t columns;
  LossKind kind;
  float delta; // huber only
  ElementMask mask;
  const float *weight; // [columns] or null: all 1
  float *loss;         // [rows]; not used by the backward
};
struct ReconstructionLossBackward {
  PerRow grad_loss;
  PerRow grad_total; // added to it where an elbo holds the loss, else its data are null
  ReconstructionLoss loss;
  Output grad_y;
};
struct ReconstructionLossTable {
  void (*forward)(const ReconstructionLoss &, Span);
  void (*backward)(const ReconstructionLossBackward &, Span);
};

} // namespace vael
