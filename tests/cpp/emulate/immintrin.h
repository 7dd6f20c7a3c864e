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
