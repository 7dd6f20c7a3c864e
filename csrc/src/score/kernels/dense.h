// One dense layer, twice: rows in the vector (many rows) and outputs in the vector (few rows).
//
// The loops over accumulators carry an unroll pragma: unrolled any later, they would live in memory
// and not in registers (a quarter of the speed of the many-row kernel on Zen 4).
//
// relu, the activation of most networks, is taken along in the registers; the others are a second
// pass over values that are still in L1.
//
// Both follow the one summation order, so they give the same bits for the same row:
//
//   even = bias[j];  for k = 0, 2, 4, ...: even = fma(in[k], weight[j][k], even)
//   odd  = 0;        for k = 1, 3, 5, ...: odd  = fma(in[k], weight[j][k], odd)
//   out[j] = activation(even + odd)
//
// Two chains and not one, because a fma takes four cycles and a narrow layer has too few outputs to
// fill them; not more, because each chain costs the tile of the many-row kernel an accumulator.
#pragma once

#include "score/kernels/activation.h"
#include "score/plan.h"

namespace vael::VAEL_ISA {

/// max(0, x) is written with x second, so that a NaN stays a NaN.
inline Vec finish(Vec sum, bool relu) { return relu ? max(zero(), sum) : sum; }

// ---- Rows in the vector

/// Two vectors of rows: with 6 outputs and 2 chains 24 accumulators of the 32 registers of AVX-512
/// and NEON, with 3 outputs 12 of AVX2's 16.
constexpr int group_vectors = 2;
constexpr int group_rows = group_vectors * Vec::lanes;
#if defined(VAEL_ISA_AVX512) || defined(VAEL_ISA_NEON)
constexpr int block_outputs = 6;
#else
constexpr int block_outputs = 3;
#endif

/// J outputs for one group of rows. in: [width][stride], weights: [width][J], out: [J][stride].
template <int J>
inline void dense_block(const float *in, float *out, ptrdiff_t stride, int width,
                        const float *weights, const float *bias, bool relu) {
  Vec even[J][group_vectors], odd[J][group_vectors];

#pragma GCC unroll 16
  for (int j = 0; j < J; ++j)
#pragma GCC unroll 16
    for (int v = 0; v < group_vectors; ++v) {
      even[j][v] = set(bias[j]);
      odd[j][v] = zero();
    }
  const auto step = [&](int k, Vec(&sum)[J][group_vectors]) {
    Vec x[group_vectors];

#pragma GCC unroll 16
    for (int v = 0; v < group_vectors; ++v)
      x[v] = load(in + k * stride + v * Vec::lanes);

#pragma GCC unroll 16
    for (int j = 0; j < J; ++j) {
      const Vec w = set(weights[k * J + j]);

#pragma GCC unroll 16
      for (int v = 0; v < group_vectors; ++v)
        sum[j][v] = fma(x[v], w, sum[j][v]);
    }
  };
  // The test inside keeps the accumulators in registers; a tail after the loop spills all of
  // them.
  for (int k = 0; k < width; k += 2) {
    step(k, even);
    if (k + 1 < width)
      step(k + 1, odd);
  }

#pragma GCC unroll 16
  for (int j = 0; j < J; ++j)
#pragma GCC unroll 16
    for (int v = 0; v < group_vectors; ++v)
      store(out + j * stride + v * Vec::lanes, finish(even[j][v] + odd[j][v], relu));
}

/// dense_block for a number of outputs known only at run time, 1 .. J.
template <int J>
inline void dense_block_of(int outputs, const float *in, float *out, ptrdiff_t stride, int width,
                           const float *weights, const float *bias, bool relu) {
  if constexpr (J > 1)
    if (outputs < J)
      return dense_block_of<J - 1>(outputs, in, out, stride, width, weights, bias, relu);
  dense_block<J>(in, out, stride, width, weights, bias, relu);
}

/// A tile of rows. in: [layer.in][tile], out: [layer.out][tile]; rows: a multiple of group_rows.
inline void dense_tile(const Layer &layer, const float *in, float *out, int tile, int rows) {
  const float *weights = layer.by_block;
  const bool relu = layer.activation == Activation::relu;
  for (int j = 0; j < layer.out; j += block_outputs) {
    const int outputs = layer.out - j < block_outputs ? layer.out - j : block_outputs;
    for (int r = 0; r < rows; r += group_rows)
      dense_block_of<block_outputs>(outputs, in + r, out + j * tile + r, tile, layer.in, weights,
                                    layer.bias + j, relu);
    for (int o = 0; o < outputs; ++o)
      activate(layer, out + (j + o) * tile, rows);
    weights += layer.in * outputs;
  }
}

// ---- Outputs in the vector

/// R rows, V vectors of outputs. in: [R][in_stride], weights: [width][out_stride], out: [R][...].
template <int R, int V>
inline void dense_outputs(const float *in, ptrdiff_t in_stride, float *out, ptrdiff_t out_stride,
                          int width, const float *weights, ptrdiff_t weight_stride,
                          const float *bias, bool relu) {
  Vec even[R][V], odd[R][V];

#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) {
      even[r][v] = load(bias + v * Vec::lanes);
      odd[r][v] = zero();
    }
  const auto step = [&](int k, Vec(&sum)[R][V]) {
    Vec w[V];

#pragma GCC unroll 16
    for (int v = 0; v < V; ++v)
      w[v] = load(weights + k * weight_stride + v * Vec::lanes);

#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const Vec x = set(in[r * in_stride + k]);

#pragma GCC unroll 16
      for (int v = 0; v < V; ++v)
        sum[r][v] = fma(x, w[v], sum[r][v]);
    }
  };
  // The test inside keeps the accumulators in registers; a tail after the loop spills all of
  // them.
  for (int k = 0; k < width; k += 2) {
    step(k, even);
    if (k + 1 < width)
      step(k + 1, odd);
  }

#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v)
      store(out + r * out_stride + v * Vec::lanes, finish(even[r][v] + odd[r][v], relu));
}

/// The widest vectors first, then halves of them: `outputs` is a multiple of row_padding.
template <int R, int V>
inline void dense_few_from(int j, int outputs, const Layer &layer, const float *in, float *out,
                           ptrdiff_t stride) {
  constexpr int width = V * Vec::lanes;
  for (; j + width <= outputs; j += width)
    dense_outputs<R, V>(in, stride, out + j, stride, layer.in, layer.by_output + j, outputs,
                        layer.bias + j, layer.activation == Activation::relu);
  if constexpr (V > 1)
    dense_few_from<R, V / 2>(j, outputs, layer, in, out, stride);
}

/// R rows, 1, 2 or 4. in and out: [R][stride]; out is written up to padded(layer.out).
template <int R>
inline void dense_few(const Layer &layer, const float *in, float *out, ptrdiff_t stride) {
#if defined(VAEL_ISA_AVX512) || defined(VAEL_ISA_NEON)
  constexpr int vectors = R == 4 ? 2 : 4; // at most 16 accumulators
#else
  constexpr int vectors = 4 / R; // at most 8 accumulators
#endif
  const int outputs = padded(layer.out);
  dense_few_from<R, vectors>(0, outputs, layer, in, out, stride);
  for (int r = 0; r < R; ++r)
    activate(layer, out + r * stride, outputs);
}

} // namespace vael::VAEL_ISA
