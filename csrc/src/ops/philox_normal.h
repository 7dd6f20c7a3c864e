// philox_normal: the noise itself.
#pragma once

#include "ops/matrix.h"

namespace vael {

struct PhiloxNormal {
  Draw draw;
  void *normals; // contiguous
  DType dtype;
};

/// Elements begin .. end - 1 of the draw; begin is a multiple of 4.
struct PhiloxNormalTable {
  void (*forward)(const PhiloxNormal &, Span elements);
};

} // namespace vael
