// Dot products of bfloat16: AVX512_BF16's instructions, for the unit of fast mode alone.
//
// A word is one lane of 32 bits that holds two bfloat16, the first in its lower half.
#pragma once

#include "simd/vec.h"

namespace vael::VAEL_ISA {

/// Lane by lane: sum + x.second * w.second, then that + x.first * w.first, each a fma that takes
/// denormals for 0, gives 0 for a denormal and rounds to nearest even, whatever the thread's mode.
inline Vec dot(Vec x, Vec w, Vec sum) {
  return {
      _mm512_dpbf16_ps(sum.v, reinterpret_cast<__m512bh>(x.v), reinterpret_cast<__m512bh>(w.v))};
}

/// 32 neighbouring values, rounded to nearest even, as 16 words; a denormal becomes 0.
inline Vec words(Vec low, Vec high) {
  return {reinterpret_cast<__m512>(_mm512_cvtne2ps_pbh(high.v, low.v))};
}

/// The same of two vectors of rows: lane i is a word of first[i] and second[i].
inline Vec words_of_rows(Vec first, Vec second) {
  const __m512i order = _mm512_setr_epi32(
      0x100000, 0x110001, 0x120002, 0x130003, 0x140004, 0x150005, 0x160006, 0x170007, 0x180008,
      0x190009, 0x1a000a, 0x1b000b, 0x1c000c, 0x1d000d, 0x1e000e, 0x1f000f);
  const __m512i halves = _mm512_castps_si512(words(first, second).v);
  return {_mm512_castsi512_ps(_mm512_permutexvar_epi16(order, halves))};
}

} // namespace vael::VAEL_ISA
