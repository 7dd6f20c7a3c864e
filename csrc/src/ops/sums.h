// Per-sample sums, in the one order of terms.h, so that an op and the scorer give the same bits.
#pragma once

#include "ops/rows.h"
#include "simd/terms.h"

namespace vael::VAEL_ISA {

/// The 16 partial sums of a row.
struct RowSum {
  static constexpr int vectors = partial_sums / Vec::lanes;
  Vec partial[vectors];

  RowSum() {
    for (Vec &p : partial)
      p = zero();
  }
  float total() const { return sum_partials(partial); }
};

/// f(lanes, i, partial) for the vectors of elements 0 .. n - 1 of a chunk; f adds their terms to
/// `partial` (what lanes that take no part add must be 0).
template <class F> inline void sum_vectors(int n, RowSum &row, F f) {
  RowSum sum = row; // a copy, so that the partial sums stay in registers
  int i = 0;
  for (; i + partial_sums <= n; i += partial_sums)
#pragma GCC unroll 16
    for (int v = 0; v < RowSum::vectors; ++v)
      f(AllLanes{}, i + v * Vec::lanes, sum.partial[v]);
#pragma GCC unroll 16
  for (int v = 0; v < RowSum::vectors; ++v) {
    const int at = i + v * Vec::lanes;
    if (n > at)
      f(FirstLanes{n - at < Vec::lanes ? n - at : Vec::lanes}, at, sum.partial[v]);
  }
  row = sum;
}

/// What a caller sees of a sum: the largest float32 instead of an overflow, and NaN if `finite()`,
/// asked only when it matters, says that an input was not finite.
template <class Finite> inline float saturate(float sum, Finite finite) {
  if (__builtin_fabsf(sum) <= FLT_MAX)
    return sum;
  if (!finite())
    return __builtin_nanf("");
  return sum < 0.0f ? -FLT_MAX : FLT_MAX;
}

} // namespace vael::VAEL_ISA
