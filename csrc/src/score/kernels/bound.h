// Columns held within a range:
//
//   out[j] = activation(bound[j] > 0 ? fma(bound[j], tanh(in[j]), center[j]) : in[j])
#pragma once

#include "score/kernels/dense.h"
#include "score/plan.h"
#include "simd/math.h"

namespace vael::VAEL_ISA {

inline Vec bounded(Vec x, Vec bound, Vec center) {
  return select(less(zero(), bound), fma(bound, tanh(x), center), x);
}

/// A tile of rows. in and out: [layer.in][tile].
inline void bound_tile(const Layer &layer, const float *in, float *out, int tile, int rows) {
  const bool relu = layer.activation == Activation::relu;
  for (int j = 0; j < layer.in; ++j) {
    const Vec bound = set(layer.by_output[j]), center = set(layer.bias[j]);
    const ptrdiff_t at = static_cast<ptrdiff_t>(j) * tile;
    for (int r = 0; r < rows; r += Vec::lanes)
      store(out + at + r, finish(bounded(load(in + at + r), bound, center), relu));
    activate(layer, out + at, rows);
  }
}

/// One row. in and out: [padded(layer.in)].
inline void bound_one(const Layer &layer, const float *in, float *out) {
  const bool relu = layer.activation == Activation::relu;
  for (int j = 0; j < layer.in; j += Vec::lanes) {
    const Vec bound = load(layer.by_output + j), center = load(layer.bias + j);
    store(out + j, finish(bounded(load(in + j), bound, center), relu));
  }
  activate(layer, out, padded(layer.in));
}

} // namespace vael::VAEL_ISA
