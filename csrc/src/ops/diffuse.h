// diffuse: x_t = sqrt(alpha_bar[t]) x0 + sqrt(1 - alpha_bar[t]) eps, a step t for each row.
#pragma once

#include "ops/matrix.h"

namespace vael {

/// The schedule at each row's step.
struct Schedule {
  const int64_t *t; // [rows], each 0 .. steps - 1: whoever fills this has checked it
  ptrdiff_t t_stride;
  const float *alpha_bar; // [steps]
  float at(size_t row) const { return alpha_bar[t[static_cast<ptrdiff_t>(row) * t_stride]]; }
};

struct Diffuse {
  Input x0;
  Schedule schedule;
  Draw draw;
  size_t columns;
  Output x_t;
};
struct DiffuseBackward {
  Input grad;
  Schedule schedule;
  size_t columns;
  Output grad_x0;
};
struct DiffuseTable {
  void (*forward)(const Diffuse &, Span);
  void (*backward)(const DiffuseBackward &, Span);
};

} // namespace vael
