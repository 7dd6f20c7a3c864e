// What the weights of a dense layer are, for the loops of dense.h: how they lie in memory, how they
// become float32, and what a product is.
//
// A kind W has `rows(width)` rows of weights for `width` inputs, `row(k)` being the one of input k.
#pragma once

#include "simd/vec.h"

namespace vael::VAEL_ISA {

/// Is the input the second of its pair: is k odd?
template <bool second> struct Second {};

/// A row for an input.
struct Float32 {
  static ptrdiff_t rows(int width) { return width; }
  static ptrdiff_t row(int k) { return k; }
  template <bool second> static Vec widened(Vec weights) { return weights; }
  static Vec add_product(Vec x, Vec w, Vec sum) { return fma(x, w, sum); }
};

/// A row for two inputs: half the bytes to read, for a shift or a mask. The bits of a bfloat16 are
/// the upper half of those of its float32.
struct Bfloat16 {
  static ptrdiff_t rows(int width) { return (width + 1) / 2; }
  static ptrdiff_t row(int k) { return k >> 1; }
  template <bool second> static Vec widened(Vec pairs) {
    if constexpr (second)
      return from_bits(bits(pairs) & iset(static_cast<int32_t>(0xffff0000)));
    return from_bits(shift_left<16>(bits(pairs)));
  }
  static Vec add_product(Vec x, Vec w, Vec sum) { return fma(x, w, sum); }
};

} // namespace vael::VAEL_ISA
