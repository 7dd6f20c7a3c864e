// Fast mode: dense layers by dot products of bfloat16, for the unit that is compiled for
// AVX512_BF16.
//
// The loops are dense.h's. What a layer reads is rounded to bfloat16 and written as words of two
// neighbouring inputs into scratch memory; a product is the dot product of two such words.
#pragma once

#include "score/kernels/dense.h"
#include "simd/bfloat16_dot.h"

namespace vael::VAEL_ISA {

/// A row for a word of inputs.
struct Words {
  static ptrdiff_t rows(int width) { return width; }
  static ptrdiff_t row(int k) { return k; }
  template <bool second> static Vec widened(Vec weights) { return weights; }
  static Vec add_product(Vec x, Vec w, Vec sum) { return dot(x, w, sum); }
};

/// Words of an input; of an odd number of inputs the last is paired with 0.
constexpr int word_count(int inputs) { return (inputs + 1) / 2; }

/// A tile of rows. in: [layer.in][tile], out: [layer.out][tile], scratch: [word_count][tile].
inline void dense_tile(const Layer &layer, const float *in, float *out, float *scratch, int tile,
                       int rows, Ahead &ahead) {
  const int count = word_count(layer.in);
  for (int k = 0; k < count; ++k) {
    const float *first = in + static_cast<ptrdiff_t>(2 * k) * tile;
    float *word = scratch + static_cast<ptrdiff_t>(k) * tile;
    for (int r = 0; r < rows; r += Vec::lanes) {
      const Vec second = 2 * k + 1 < layer.in ? load(first + tile + r) : zero();
      store(word + r, words_of_rows(load(first + r), second));
    }
  }
  dense_tile_with<Words>(layer, scratch, count, out, tile, rows, ahead);
}

/// in[at .. at + lanes), what is beyond `width` being 0.
inline Vec load_within(const float *in, int at, int width) {
  const int left = width - at;
  return left <= 0 ? zero() : load_first(in + at, left < Vec::lanes ? left : Vec::lanes);
}

/// R rows. in, out and scratch: [R][stride].
template <int R>
inline void dense_few(const Layer &layer, const float *in, float *out, float *scratch,
                      ptrdiff_t stride) {
  for (int r = 0; r < R; ++r)
    for (int k = 0; k < layer.in; k += 2 * Vec::lanes)
      store(scratch + r * stride + k / 2,
            words(load_within(in + r * stride, k, layer.in),
                  load_within(in + r * stride, k + Vec::lanes, layer.in)));
  dense_few_with<Words, R>(layer, scratch, word_count(layer.in), out, stride);
}

} // namespace vael::VAEL_ISA
