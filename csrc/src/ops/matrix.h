// What the ops are called with: plain structs, filled by csrc/bind/ops, read by the kernels.
//
// A matrix is [rows][columns] with neighbouring columns side by side; rows lie row_stride elements
// apart (0: all rows are the same one). Included by units that are compiled once per instruction
// set, hence C headers only.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace vael {

enum class DType { float32, bfloat16, float16 };

struct Input {
  const void *data;
  ptrdiff_t row_stride;
  DType dtype;
};
struct Output {
  void *data;
  ptrdiff_t row_stride;
  DType dtype;
};

/// One float32 a row: the gradient of a per-sample sum.
struct PerRow {
  const float *data;
  ptrdiff_t stride;
  float operator[](size_t row) const { return data[static_cast<ptrdiff_t>(row) * stride]; }
};

/// One byte an element, 0: this element does not count. data may be null: all do.
struct ElementMask {
  const uint8_t *data;
  ptrdiff_t row_stride;
};

/// Rows begin .. end - 1; a call works on no others, so that several threads may share a matrix.
struct Span {
  size_t begin, end;
};

/// The name of a draw of noise: the same name is the same numbers, everywhere.
struct Draw {
  uint64_t seed, offset;
};

} // namespace vael
