// denoising_loss: 1/2 sum (prediction - eps)^2 of each row, eps made again from its name.
#pragma once

#include "ops/matrix.h"

namespace vael {

struct DenoisingLoss {
  Input prediction;
  Draw draw;
  size_t columns;
  float *loss; // [rows]
};
struct DenoisingLossBackward {
  PerRow grad;
  Input prediction;
  Draw draw;
  size_t columns;
  Output grad_prediction;
};
struct DenoisingLossTable {
  void (*forward)(const DenoisingLoss &, Span);
  void (*backward)(const DenoisingLossBackward &, Span);
};

} // namespace vael
