// sparsity: the sum of |z| of each row.
#pragma once

#include "ops/matrix.h"

namespace vael {

struct Sparsity {
  Input z;
  size_t columns;
  float *sum; // [rows]
};
struct SparsityBackward {
  PerRow grad;
  Input z;
  size_t columns;
  Output grad_z;
};
struct SparsityTable {
  void (*forward)(const Sparsity &, Span);
  void (*backward)(const SparsityBackward &, Span);
};

} // namespace vael
