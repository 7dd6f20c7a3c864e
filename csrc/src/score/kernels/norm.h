// Layer norm over all features of a row, or over each of `groups` equal pieces of it (group norm),
// and the sum of two steps. Of a piece of n features:
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
  const Vec variance = square_sum / set(static_cast<float>(layer.in / layer.groups));
  return set(1.0f) / sqrt(variance + set(layer.epsilon));
}

/// A piece of n features from `first` on, of Vec::lanes rows. x, y: [layer.in][tile].
inline void norm_rows(const Layer &layer, int first, int n, const float *x, float *y, int tile) {
  const bool relu = layer.activation == Activation::relu;
  x += static_cast<ptrdiff_t>(first) * tile;
  y += static_cast<ptrdiff_t>(first) * tile;
  const Vec mean = sum_rows<PlainTerm>(x, x, tile, n) / set(static_cast<float>(n));
  for (int j = 0; j < n; ++j)
    store(y + j * tile, load(x + j * tile) - mean);
  const Vec inverse = inverse_deviation(sum_rows<Mu2Term>(y, y, tile, n), layer);
  for (int j = 0; j < n; ++j) {
    const Vec gain = set(layer.by_output[first + j]), bias = set(layer.bias[first + j]);
    store(y + j * tile, finish(fma(load(y + j * tile) * inverse, gain, bias), relu));
  }
}

/// A tile of rows. in and out: [layer.in][tile].
inline void layer_norm_tile(const Layer &layer, const float *in, float *out, int tile, int rows) {
  const int n = layer.in / layer.groups;
  for (int first = 0; first < layer.in; first += n)
    for (int r = 0; r < rows; r += Vec::lanes)
      norm_rows(layer, first, n, in + r, out + r, tile);
  for (int j = 0; j < layer.in; ++j)
    activate(layer, out + static_cast<ptrdiff_t>(j) * tile, rows);
}

/// One row. in and out: [layer.in], readable and writable up to 16 floats beyond. A piece writes
/// beyond its end what the next one writes again.
inline void layer_norm_one(const Layer &layer, const float *in, float *out) {
  const bool relu = layer.activation == Activation::relu;
  const int n = layer.in / layer.groups;
  for (int first = 0; first < layer.in; first += n) {
    const float *x = in + first;
    float *y = out + first;
    const Vec mean = set(sum_one<PlainTerm>(x, x, n)) / set(static_cast<float>(n));
    for (int j = 0; j < n; j += Vec::lanes)
      store(y + j, load(x + j) - mean);
    const Vec inverse = inverse_deviation(set(sum_one<Mu2Term>(y, y, n)), layer);
    for (int j = 0; j < n; j += Vec::lanes) {
      const Vec gain = load(layer.by_output + first + j), bias = load(layer.bias + first + j);
      store(y + j, finish(fma(load(y + j) * inverse, gain, bias), relu));
    }
  }
  activate(layer, out, padded(layer.in));
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
