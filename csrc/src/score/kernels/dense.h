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
//
// bfloat16 weights are widened where they are read, by few rows, or when they are packed, for many:
// the bits are those of float32 weights of the same values. Many rows read a weight once for all of
// them and are bound by their products, to which widening it there would add.
// In fast mode (fast.h) a product is the dot product of two neighbouring inputs, and k in the lines
// above counts pairs of them.
#pragma once

#include "score/kernels/activation.h"
#include "score/kernels/ahead.h"
#include "score/kernels/weights.h"
#include "score/plan.h"
#include "simd/repeat.h"

namespace vael::VAEL_ISA {

/// max(0, x) is written with x second, so that a NaN stays a NaN.
inline Vec finish(Vec sum, bool relu) { return relu ? max(zero(), sum) : sum; }

// ---- Rows in the vector

/// Two vectors of rows: with 6 outputs and 2 chains 24 accumulators of the 32 registers of AVX-512
/// and NEON. Of 16 registers 12 hold both chains of 3 outputs, or one chain of 6.
constexpr int group_vectors = 2;
constexpr int group_rows = group_vectors * Vec::lanes;
constexpr int block_outputs = 6;
#if defined(VAEL_ISA_AVX512) || defined(VAEL_ISA_NEON)
constexpr int outputs_with_both_chains = 6;
#else
constexpr int outputs_with_both_chains = 3;
#endif

/// J outputs for one group of rows. in: [width][stride], weights: W's rows of J, out: [J][stride].
template <class W, int J>
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
  const auto step = [&]<bool second>(Second<second>, int k,
                                     Vec(&sum)[J][group_vectors]) VAEL_INLINE {
    Vec x[group_vectors];

#pragma GCC unroll 16
    for (int v = 0; v < group_vectors; ++v)
      x[v] = load(in + k * stride + v * Vec::lanes);

#pragma GCC unroll 16
    for (int j = 0; j < J; ++j) {
      const Vec w = W::template widened<second>(set(weights[W::row(k) * J + j]));

#pragma GCC unroll 16
      for (int v = 0; v < group_vectors; ++v)
        sum[j][v] = W::add_product(x[v], w, sum[j][v]);
    }
  };
  // The test inside keeps the accumulators in registers; a tail after the loop spills all of
  // them.
  for (int k = 0; k < width; k += 2) {
    step(Second<false>{}, k, even);
    if (k + 1 < width)
      step(Second<true>{}, k + 1, odd);
  }

#pragma GCC unroll 16
  for (int j = 0; j < J; ++j)
#pragma GCC unroll 16
    for (int v = 0; v < group_vectors; ++v)
      store(out + j * stride + v * Vec::lanes, finish(even[j][v] + odd[j][v], relu));
}

/// dense_block with one chain after the other: twice as many outputs share the loads of an input, 8
/// loads for 12 products and not 10. The sums of the first chain wait in memory.
template <class W, int J>
inline void dense_block_by_chain(const float *in, float *out, ptrdiff_t stride, int width,
                                 const float *weights, const float *bias, bool relu) {
  constexpr int V = group_vectors;
  Vec even[J * V], sum[J * V], x[V];
  const auto step = [&](int k) VAEL_INLINE {
    const float *at = in + k * stride;
    repeat<V>([&](auto v) VAEL_INLINE { x[v.value] = load(at + v.value * Vec::lanes); });
    repeat<J>([&](auto j) VAEL_INLINE {
      const Vec w = set(weights[W::row(k) * J + j.value]);
      repeat<V>([&](auto v) VAEL_INLINE {
        Vec &s = sum[decltype(j)::value * V + v.value];
        s = W::add_product(x[v.value], w, s);
      });
    });
  };
  // As in dense_block the test inside, not a tail after the loop.
  const auto chain = [&](int first) VAEL_INLINE {
    for (int k = first; k < width; k += 4) {
      step(k);
      if (k + 2 < width)
        step(k + 2);
    }
  };
  repeat<J * V>([&](auto i) VAEL_INLINE { sum[i.value] = set(bias[i.value / V]); });
  chain(0);
  repeat<J * V>([&](auto i) VAEL_INLINE {
    even[i.value] = sum[i.value];
    sum[i.value] = zero();
  });
  chain(1);
  repeat<J * V>([&](auto i) VAEL_INLINE {
    store(out + i.value / V * stride + i.value % V * Vec::lanes,
          finish(even[i.value] + sum[i.value], relu));
  });
}

/// A block of a number of outputs known only at run time, 1 .. J.
template <class W, int J>
inline void dense_block_of(int outputs, const float *in, float *out, ptrdiff_t stride, int width,
                           const float *weights, const float *bias, bool relu) {
  if constexpr (J > 1)
    if (outputs < J)
      return dense_block_of<W, J - 1>(outputs, in, out, stride, width, weights, bias, relu);
  if constexpr (J > outputs_with_both_chains)
    dense_block_by_chain<W, J>(in, out, stride, width, weights, bias, relu);
  else
    dense_block<W, J>(in, out, stride, width, weights, bias, relu);
}

/// A tile of rows. in: [width][tile], out: [layer.out][tile]; rows: a multiple of group_rows.
template <class W>
inline void dense_tile_with(const Layer &layer, const float *in, int width, float *out, int tile,
                            int rows, Ahead &ahead) {
  const bool relu = layer.activation == Activation::relu;
  const int blocks = (layer.out + block_outputs - 1) / block_outputs;
  for (int b = 0; b < blocks; ++b) {
    const int j = block_start(layer.out, blocks, b);
    const int outputs = block_start(layer.out, blocks, b + 1) - j;
    const float *weights = layer.by_block + W::rows(width) * j;
    for (int r = 0; r < rows; r += group_rows) {
      dense_block_of<W, block_outputs>(outputs, in + r, out + j * tile + r, tile, width, weights,
                                       layer.bias + j, relu);
      ahead.done(layer.in * outputs * group_rows);
    }
    if (!relu && layer.activation != Activation::identity)
      for (int o = 0; o < outputs; ++o)
        activate(layer, out + (j + o) * tile, rows);
  }
}

// ---- Outputs in the vector

/// R rows, V vectors of outputs from j on. in, out: [R][stride].
template <class W, int R, int V>
inline void dense_outputs(int j, const Layer &layer, const float *in, int width, float *out,
                          ptrdiff_t stride) {
  const float *weights = layer.by_output + panel_at(j, W::rows(width)), *bias = layer.bias + j;
  const bool relu = layer.activation == Activation::relu;
  Vec even[R][V], odd[R][V];
  constexpr int panels = (V * Vec::lanes + row_padding - 1) / row_padding;
  const float *panel[panels];

#pragma GCC unroll 16
  for (int p = 0; p < panels; ++p)
    panel[p] = weights + p * row_padding * W::rows(width);

#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) {
      even[r][v] = load(bias + v * Vec::lanes);
      odd[r][v] = zero();
    }
  const auto step = [&]<bool second>(Second<second>, int k, Vec(&sum)[R][V]) VAEL_INLINE {
    Vec w[V];

#pragma GCC unroll 16
    for (int v = 0; v < V; ++v)
      w[v] =
          W::template widened<second>(load(panel[v * Vec::lanes / row_padding] +
                                           W::row(k) * row_padding + v * Vec::lanes % row_padding));

#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const Vec x = set(in[r * stride + k]);

#pragma GCC unroll 16
      for (int v = 0; v < V; ++v)
        sum[r][v] = W::add_product(x, w[v], sum[r][v]);
    }
  };
  // As in dense_block the test inside, not a tail after the loop.
  for (int k = 0; k < width; k += 2) {
    step(Second<false>{}, k, even);
    if (k + 1 < width)
      step(Second<true>{}, k + 1, odd);
  }

#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v)
      store(out + r * stride + j + v * Vec::lanes, finish(even[r][v] + odd[r][v], relu));
}

/// The widest vectors first, then halves of them: `outputs` is a multiple of row_padding.
template <class W, int R, int V>
inline void dense_few_from(int j, int outputs, const Layer &layer, const float *in, int width,
                           float *out, ptrdiff_t stride) {
  constexpr int at_once = V * Vec::lanes;
  for (; j + at_once <= outputs; j += at_once)
    dense_outputs<W, R, V>(j, layer, in, width, out, stride);
  if constexpr (V > 1)
    dense_few_from<W, R, V / 2>(j, outputs, layer, in, width, out, stride);
}

/// R rows, 1, 2 or 4. in and out: [R][stride]; out is written up to padded(layer.out).
template <class W, int R>
inline void dense_few_with(const Layer &layer, const float *in, int width, float *out,
                           ptrdiff_t stride) {
#if defined(VAEL_ISA_AVX512) || defined(VAEL_ISA_NEON)
  constexpr int vectors = R == 4 ? 2 : 4; // at most 16 accumulators
#else
  constexpr int vectors = 4 / R; // at most 8 accumulators
#endif
  const int outputs = padded(layer.out);
  dense_few_from<W, R, vectors>(0, outputs, layer, in, width, out, stride);
  for (int r = 0; r < R; ++r)
    activate(layer, out + r * stride, outputs);
}

// ---- A layer with the weights it has

#if !defined(VAEL_ISA_AVX512_BF16)

/// A tile of rows. in: [layer.in][tile]. The scratch memory is for fast.h's.
inline void dense_tile(const Layer &layer, const float *in, float *out, float *, int tile, int rows,
                       Ahead &ahead) {
  dense_tile_with<Float32>(layer, in, layer.in, out, tile, rows, ahead);
}

/// R rows. in: [R][stride].
template <int R>
inline void dense_few(const Layer &layer, const float *in, float *out, float *, ptrdiff_t stride) {
  if (layer.bfloat16)
    return dense_few_with<Bfloat16, R>(layer, in, layer.in, out, stride);
  dense_few_with<Float32, R>(layer, in, layer.in, out, stride);
}

#endif

} // namespace vael::VAEL_ISA
