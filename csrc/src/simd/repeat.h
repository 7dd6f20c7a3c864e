// A loop that is unrolled before anything else: registers of an array indexed by its counter stay
// registers. Nested loops under an unroll pragma are unrolled too late for that.
#pragma once

#include "simd/vec.h"

namespace vael::VAEL_ISA {

template <int I> struct Index {
  static constexpr int value = I;
};

#define VAEL_INLINE __attribute__((always_inline))

/// f(Index<0>{}), ..., f(Index<N - 1>{}); write f as [&](auto i) VAEL_INLINE { ... }.
template <int N, int I = 0, class F> VAEL_INLINE inline void repeat(F f) {
  if constexpr (I < N) {
    f(Index<I>{});
    repeat<N, I + 1>(f);
  }
}

} // namespace vael::VAEL_ISA
