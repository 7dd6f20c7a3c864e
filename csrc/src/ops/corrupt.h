// corrupt: x + noise eps with some elements set to 0, the input of a denoising or masked
// autoencoder.
#pragma once

#include "ops/matrix.h"

namespace vael {

/// Element i of the draw is dropped where word i % 4 of Philox block
/// offset + ceil(rows columns / 4) + i / 4 is less than `threshold`, drop * 2^32.
struct Dropping {
  Draw draw;
  size_t rows, columns;
  uint64_t threshold; // 0 (none) .. 2^32 (all)
};

struct Corrupt {
  Input x;
  Dropping dropping;
  float noise;
  Output corrupted;
  uint8_t *kept; // [rows][columns], 1: the value is still there
};
struct CorruptBackward {
  Input grad;
  Dropping dropping;
  Output grad_x;
};
struct CorruptTable {
  void (*forward)(const Corrupt &, Span);
  void (*backward)(const CorruptBackward &, Span);
};

} // namespace vael
