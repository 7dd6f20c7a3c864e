// Layer norm over all features of a row, and the sum of two steps.
//
//   mean = sum_j in[j] / n;  d[j] = in[j] - mean;  variance = sum_j d[j]^2 / n
//   out[j] = activation(fma(d[j] * (1 / sqrt(variance + epsilon)), gain[j], bias[j]))
//
// with sums in the order of simd/terms.h, n a float32, and every operation rounded.
#pragma once

#include "score/kernels/dense.h"
#include "score/plan.h"
#include "simd/terms.h"

namespace vael::VAEL_ISA {

struct PlainTerm {
  static Vec add(Vec x, Vec, Vec sum) { return sum + x; }
};

inline Vec inverse_deviation(Vec square_sum, const Layer &layer) {
  const Vec variance = square_sum / set(static_cast<float>(layer.in));
  return set(1.0f) / sqrt(variance + set(layer.epsilon));
}

/// A tile of rows. in and out: [layer.in][tile].
inline void layer_norm_tile(const Layer &layer, const float *in, float *out, int tile, int rows) {
  const bool relu = layer.activation == Activation::relu;
  const int n = layer.in;
  for (int r = 0; r < rows; r += Vec::lanes) {
    const float *x = in + r;
    float *y = out + r;
    const Vec mean = sum_rows<PlainTerm>(x, x, tile, n) / set(static_cast<float>(n));
    for (int j = 0; j < n; ++j)
      store(y + j * tile, load(x + j * tile) - mean);
    const Vec inverse = inverse_deviation(sum_rows<Mu2Term>(y, y, tile, n), layer);
    for (int j = 0; j < n; ++j)
      store(y + j * tile,
            finish(fma(load(y + j * tile) * inverse, set(layer.by_output[j]), set(layer.bias[j])),
                   relu));
  }
  for (int j = 0; j < n; ++j)
    activate(layer, out + static_cast<ptrdiff_t>(j) * tile, rows);
}

/// One row. in and out: [padded(layer.in)].
inline void layer_norm_one(const Layer &layer, const float *in, float *out) {
  const bool relu = layer.activation == Activation::relu;
  const int n = layer.in, width = padded(n);
  const Vec mean = set(sum_one<PlainTerm>(in, in, n)) / set(static_cast<float>(n));
  for (int j = 0; j < width; j += Vec::lanes)
    store(out + j, load(in + j) - mean);
  const Vec inverse = inverse_deviation(set(sum_one<Mu2Term>(out, out, n)), layer);
  for (int j = 0; j < width; j += Vec::lanes)
    store(out + j,
          finish(fma(load(out + j) * inverse, load(layer.by_output + j), load(layer.bias + j)),
                 relu));
  activate(layer, out, width);
}

/// out = activation(in + other), n values of any layout; n: a multiple of Vec::lanes.
inline void residual_values(const Layer &layer, const float *in, const float *other, float *out,
                            int n) {
  const bool relu = layer.activation == Activation::relu;
  for (int i = 0; i < n; i += Vec::lanes)
    store(out + i, finish(load(in + i) + load(other + i), relu));
  activate(layer, out, n);
}

} // namespace vael::VAEL_ISA
