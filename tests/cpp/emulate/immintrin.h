// Stands before the compiler's <immintrin.h> where VAELOCITY_EMULATE_AVX512 is on: AVX-512's
// intrinsics by SIMDe, out of AVX2's. Below, the ones that SIMDe 0.7 gets in another way than the
// processor (its fma rounds twice, its masked load reads all lanes) or not at all.
#pragma once

#include_next <immintrin.h>

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

static inline simde__m512 vael_emulated_fmadd(simde__m512 a, simde__m512 b, simde__m512 c) {
  simde__m512_private r = simde__m512_to_private(c);
  const simde__m512_private x = simde__m512_to_private(a), y = simde__m512_to_private(b);
  for (int i = 0; i < 2; ++i)
    r.m256[i] = _mm256_fmadd_ps(x.m256[i], y.m256[i], r.m256[i]);
  return simde__m512_from_private(r);
}

static inline simde__m512 vael_emulated_load(unsigned mask, const float *p) {
  float lanes[16] = {0};
  for (int i = 0; i < 16; ++i)
    if (mask >> i & 1u)
      lanes[i] = p[i];
  return simde_mm512_loadu_ps(lanes);
}

static inline void vael_emulated_store(float *p, unsigned mask, simde__m512 a) {
  const simde__m512_private r = simde__m512_to_private(a);
  for (int i = 0; i < 16; ++i)
    if (mask >> i & 1u)
      p[i] = r.f32[i];
}

/// Quarters of 4 lanes: two of a, then two of b, chosen by two bits each.
static inline simde__m512 vael_emulated_shuffle_f32x4(simde__m512 a, simde__m512 b, int choice) {
  simde__m512_private r;
  const simde__m512_private x = simde__m512_to_private(a), y = simde__m512_to_private(b);
  for (int i = 0; i < 4; ++i)
    r.m128[i] = (i < 2 ? x : y).m128[choice >> (2 * i) & 3];
  return simde__m512_from_private(r);
}

static inline simde__m512i vael_emulated_srai(simde__m512i a, unsigned count) {
  simde__m512i_private r = simde__m512i_to_private(a);
  for (int i = 0; i < 2; ++i)
    r.m256i[i] = _mm256_srai_epi32(r.m256i[i], static_cast<int>(count));
  return simde__m512i_from_private(r);
}

static inline __m256 vael_emulated_extractf32x8(simde__m512 a, int half) {
  return simde__m512_to_private(a).m256[half];
}

static inline unsigned short vael_emulated_less_unsigned(simde__m512i a, simde__m512i b) {
  const simde__m512i_private x = simde__m512i_to_private(a), y = simde__m512i_to_private(b);
  unsigned mask = 0;
  for (int i = 0; i < 16; ++i)
    mask |= static_cast<unsigned>(x.u32[i] < y.u32[i]) << i;
  return static_cast<unsigned short>(mask);
}

static inline unsigned short vael_emulated_test_epi8(__m128i a, __m128i b) {
  const __m128i none = _mm_cmpeq_epi8(_mm_and_si128(a, b), _mm_setzero_si128());
  return static_cast<unsigned short>(~_mm_movemask_epi8(none));
}

/// The lowest byte of each lane.
static inline __m128i vael_emulated_to_bytes(simde__m512i a) {
  const simde__m512i_private x = simde__m512i_to_private(a);
  unsigned char bytes[16];
  for (int i = 0; i < 16; ++i)
    bytes[i] = static_cast<unsigned char>(x.u32[i]);
  return _mm_loadu_si128(reinterpret_cast<const __m128i *>(bytes));
}

static inline simde__m512 vael_emulated_to_float(simde__m512i a) {
  const simde__m512i_private x = simde__m512i_to_private(a);
  simde__m512_private r;
  for (int i = 0; i < 2; ++i)
    r.m256[i] = _mm256_cvtepi32_ps(x.m256i[i]);
  return simde__m512_from_private(r);
}

static inline simde__m512i vael_emulated_widen(__m256i a) {
  simde__m512i_private r;
  r.m256i[0] = _mm256_cvtepu16_epi32(_mm256_castsi256_si128(a));
  r.m256i[1] = _mm256_cvtepu16_epi32(_mm256_extracti128_si256(a, 1));
  return simde__m512i_from_private(r);
}

/// The lower half of each lane.
static inline __m256i vael_emulated_to_halves(simde__m512i a) {
  const simde__m512i_private x = simde__m512i_to_private(a);
  unsigned short halves[16];
  for (int i = 0; i < 16; ++i)
    halves[i] = static_cast<unsigned short>(x.u32[i]);
  return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(halves));
}

static inline simde__m512 vael_emulated_unsigned_to_float(simde__m512i a) {
  const simde__m512i_private x = simde__m512i_to_private(a);
  simde__m512_private r;
  for (int i = 0; i < 16; ++i)
    r.f32[i] = static_cast<float>(x.u32[i]);
  return simde__m512_from_private(r);
}

static inline simde__m512 vael_emulated_from_float16(__m256i a) {
  simde__m512_private r;
  r.m256[0] = _mm256_cvtph_ps(_mm256_castsi256_si128(a));
  r.m256[1] = _mm256_cvtph_ps(_mm256_extracti128_si256(a, 1));
  return simde__m512_from_private(r);
}

static inline __m256i vael_emulated_to_float16(simde__m512 a) {
  const simde__m512_private x = simde__m512_to_private(a);
  return _mm256_set_m128i(_mm256_cvtps_ph(x.m256[1], _MM_FROUND_TO_NEAREST_INT),
                          _mm256_cvtps_ph(x.m256[0], _MM_FROUND_TO_NEAREST_INT));
}

// AVX512_BF16, from the pseudo-code and the text of VDPBF16PS and VCVTNE2PS2BF16 in Intel's
// Architectures Software Developer's Manual.

static inline float vael_emulated_flush(float x) {
  return __builtin_fabsf(x) < 0x1p-126f ? __builtin_copysignf(0.0f, x) : x;
}

static inline float vael_emulated_from_bfloat16(unsigned short half) {
  const unsigned bits = static_cast<unsigned>(half) << 16;
  float x;
  __builtin_memcpy(&x, &bits, sizeof(x));
  return vael_emulated_flush(x);
}

static inline unsigned short vael_emulated_to_bfloat16(float x) {
  x = vael_emulated_flush(x);
  unsigned bits;
  __builtin_memcpy(&bits, &x, sizeof(bits));
  if (x != x)
    return static_cast<unsigned short>(bits >> 16 | 0x40u);
  return static_cast<unsigned short>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

static inline simde__m512 vael_emulated_dpbf16(simde__m512 sum, simde__m512i a, simde__m512i b) {
  simde__m512_private r = simde__m512_to_private(sum);
  const simde__m512i_private x = simde__m512i_to_private(a), y = simde__m512i_to_private(b);
  for (int i = 0; i < 16; ++i)
    for (int half = 1; half >= 0; --half) {
      const float product_of[2] = {vael_emulated_from_bfloat16(x.u16[2 * i + half]),
                                   vael_emulated_from_bfloat16(y.u16[2 * i + half])};
      r.f32[i] = vael_emulated_flush(
          __builtin_fmaf(product_of[0], product_of[1], vael_emulated_flush(r.f32[i])));
    }
  return simde__m512_from_private(r);
}

/// The halves of `low`, then those of `high`.
static inline simde__m512i vael_emulated_cvtne2ps(simde__m512 high, simde__m512 low) {
  const simde__m512_private x = simde__m512_to_private(low), y = simde__m512_to_private(high);
  simde__m512i_private r;
  for (int i = 0; i < 16; ++i) {
    r.u16[i] = vael_emulated_to_bfloat16(x.f32[i]);
    r.u16[16 + i] = vael_emulated_to_bfloat16(y.f32[i]);
  }
  return simde__m512i_from_private(r);
}

static inline simde__m512i vael_emulated_permute16(simde__m512i order, simde__m512i a) {
  const simde__m512i_private o = simde__m512i_to_private(order), x = simde__m512i_to_private(a);
  simde__m512i_private r;
  for (int i = 0; i < 32; ++i)
    r.u16[i] = x.u16[o.u16[i] & 31];
  return simde__m512i_from_private(r);
}

#undef __m512bh
#define __m512bh simde__m512i
#undef _mm512_dpbf16_ps
#define _mm512_dpbf16_ps(sum, a, b) vael_emulated_dpbf16(sum, a, b)
#undef _mm512_cvtne2ps_pbh
#define _mm512_cvtne2ps_pbh(high, low) vael_emulated_cvtne2ps(high, low)
#undef _mm512_permutexvar_epi16
#define _mm512_permutexvar_epi16(order, a) vael_emulated_permute16(order, a)
#undef _mm512_fmadd_ps
#define _mm512_fmadd_ps(a, b, c) vael_emulated_fmadd(a, b, c)
#undef _mm512_maskz_loadu_ps
#define _mm512_maskz_loadu_ps(mask, p) vael_emulated_load(mask, p)
#undef _mm512_mask_storeu_ps
#define _mm512_mask_storeu_ps(p, mask, a) vael_emulated_store(p, mask, a)
#undef _mm512_shuffle_f32x4
#define _mm512_shuffle_f32x4(a, b, choice) vael_emulated_shuffle_f32x4(a, b, choice)
#undef _mm512_srai_epi32
#define _mm512_srai_epi32(a, count) vael_emulated_srai(a, count)
#undef _mm512_extractf32x8_ps
#define _mm512_extractf32x8_ps(a, half) vael_emulated_extractf32x8(a, half)
#undef _mm512_cmplt_epu32_mask
#define _mm512_cmplt_epu32_mask(a, b) vael_emulated_less_unsigned(a, b)
#undef _mm_test_epi8_mask
#define _mm_test_epi8_mask(a, b) vael_emulated_test_epi8(a, b)
#undef _mm512_cvtepi32_epi8
#define _mm512_cvtepi32_epi8(a) vael_emulated_to_bytes(a)
#undef _mm512_cvtepi32_ps
#define _mm512_cvtepi32_ps(a) vael_emulated_to_float(a)
#undef _mm512_cvtepu16_epi32
#define _mm512_cvtepu16_epi32(a) vael_emulated_widen(a)
#undef _mm512_cvtepi32_epi16
#define _mm512_cvtepi32_epi16(a) vael_emulated_to_halves(a)
#undef _mm512_cvtepu32_ps
#define _mm512_cvtepu32_ps(a) vael_emulated_unsigned_to_float(a)
#undef _mm512_cvtph_ps
#define _mm512_cvtph_ps(a) vael_emulated_from_float16(a)
#undef _mm512_cvtps_ph
#define _mm512_cvtps_ph(a, rounding) vael_emulated_to_float16(a)
