// The sums over features or latent variables that make a score.
//
// One order for all kernels: term j is added to partial sum j mod 16, j ascending; then partial
// sums i and i + 8 are added, then i and i + 4, i + 2, i + 1. Sixteen, so that a row whose features
// lie in an AVX-512 register is summed lane by lane without crossing lanes.
#pragma once

#include "simd/math.h"
#include "simd/repeat.h"
#include "simd/vec.h"

#include <stddef.h>

namespace vael::VAEL_ISA {

constexpr int partial_sums = 16;

// Each term takes (a, b) = (x, y) or (mu, logvar) and adds to a partial sum. At a = b = 0, which is
// what padding holds, it adds 0.

struct SquaredError { // (y - x)^2
  static Vec add(Vec x, Vec y, Vec sum) {
    const Vec d = y - x;
    return fma(d, d, sum);
  }
};
struct KlTerm { // mu^2 + expm1(logvar) - logvar: expm1, so that nothing cancels at logvar ~ 0
  static Vec term(Vec mu, Vec logvar) { return fma(mu, mu, expm1(logvar) - logvar); }
  static Vec add(Vec mu, Vec logvar, Vec sum) { return sum + term(mu, logvar); }
};
struct Mu2Term { // mu^2
  static Vec add(Vec mu, Vec, Vec sum) { return fma(mu, mu, sum); }
};
struct RzTerm { // mu^2 / sigma^2
  static Vec add(Vec mu, Vec logvar, Vec sum) { return sum + mu * mu * exp(zero() - logvar); }
};

/// Rows in the vector. a, b: [n][stride]; the sums of Vec::lanes rows. Half of the partial sums at
/// a time: so many stay in registers.
template <class Term> inline Vec sum_rows(const float *a, const float *b, ptrdiff_t stride, int n) {
  constexpr int half = partial_sums / 2;
  Vec sums[2][half];
  for (int h = 0; h < 2; ++h) {
    Vec partial[half];
    repeat<half>([&](auto i) VAEL_INLINE { partial[i.value] = zero(); });
    int j = h * half;
    for (; j + half <= n; j += partial_sums)
      repeat<half>([&](auto i) VAEL_INLINE {
        const ptrdiff_t at = (j + i.value) * stride;
        partial[i.value] = Term::add(load(a + at), load(b + at), partial[i.value]);
      });
    repeat<half>([&](auto i) VAEL_INLINE {
      if (j + i.value < n) {
        const ptrdiff_t at = (j + i.value) * stride;
        partial[i.value] = Term::add(load(a + at), load(b + at), partial[i.value]);
      }
    });
    repeat<half>([&](auto i) VAEL_INLINE { sums[h][i.value] = partial[i.value]; });
  }
  Vec sum[half];
  repeat<half>([&](auto i) VAEL_INLINE { sum[i.value] = sums[0][i.value] + sums[1][i.value]; });
  repeat<4>([&](auto i) VAEL_INLINE { sum[i.value] = sum[i.value] + sum[i.value + 4]; });
  repeat<2>([&](auto i) VAEL_INLINE { sum[i.value] = sum[i.value] + sum[i.value + 2]; });
  return sum[0] + sum[1];
}

/// Partial sums i = 0 .. 15 in lane i % lanes of vector i / lanes.
inline float sum_partials(const Vec *partial) {
  constexpr int vectors = partial_sums / Vec::lanes;
  if constexpr (vectors == 4)
    return sum_lanes((partial[0] + partial[2]) + (partial[1] + partial[3]));
  else if constexpr (vectors == 2)
    return sum_lanes(partial[0] + partial[1]);
  else
    return sum_lanes(partial[0]);
}

/// One row, features in the vector. a, b: [n], readable up to the next multiple of 16.
template <class Term> inline float sum_one(const float *a, const float *b, int n) {
  constexpr int vectors = partial_sums / Vec::lanes;
  Vec partial[vectors];
  for (Vec &p : partial)
    p = zero();
  for (int j = 0; j < n; j += partial_sums)
    for (int v = 0; v < vectors; ++v) {
      const int at = j + v * Vec::lanes;
      const int left = n - at;
      if (left >= Vec::lanes)
        partial[v] = Term::add(load(a + at), load(b + at), partial[v]);
      else if (left > 0)
        partial[v] =
            Term::add(keep_first(load(a + at), left), keep_first(load(b + at), left), partial[v]);
    }
  return sum_partials(partial);
}

} // namespace vael::VAEL_ISA
