// 16 float32 lanes in a zmm register (AVX-512 F, BW, DQ, VL).
#pragma once

#include <immintrin.h>
#include <stdint.h>

namespace vael::VAEL_ISA {

struct Vec {
  static constexpr int lanes = 16;
  __m512 v;
};
/// One bit a lane.
struct Mask {
  __mmask16 m;
};
/// 16 int32 lanes.
struct IVec {
  __m512i v;
};

inline __mmask16 first_lanes(int count) { return static_cast<__mmask16>((1u << count) - 1u); }

inline Vec set(float x) { return {_mm512_set1_ps(x)}; }
inline Vec zero() { return {_mm512_setzero_ps()}; }
inline Vec load(const float *p) { return {_mm512_loadu_ps(p)}; }
inline void store(float *p, Vec a) { _mm512_storeu_ps(p, a.v); }
/// Reads p[0 .. count) only; the other lanes are 0. 0 <= count <= lanes.
inline Vec load_first(const float *p, int count) {
  return {_mm512_maskz_loadu_ps(first_lanes(count), p)};
}
inline void store_first(float *p, Vec a, int count) {
  _mm512_mask_storeu_ps(p, first_lanes(count), a.v);
}
/// Lanes from count on become +0.
inline Vec keep_first(Vec a, int count) { return {_mm512_maskz_mov_ps(first_lanes(count), a.v)}; }

inline Vec operator+(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Vec operator-(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Vec operator*(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Vec operator/(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
/// a * b + c, rounded once.
inline Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline Vec sqrt(Vec a) { return {_mm512_sqrt_ps(a.v)}; }
inline Vec min(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
inline Vec max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }
inline Vec abs(Vec a) { return {_mm512_abs_ps(a.v)}; }
/// The magnitude of a with the sign of b.
inline Vec copysign(Vec a, Vec b) {
  const __m512 sign = _mm512_set1_ps(-0.0f);
  return {_mm512_or_ps(_mm512_andnot_ps(sign, a.v), _mm512_and_ps(sign, b.v))};
}

/// False where either is NaN.
inline Mask less(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
inline Mask less_equal(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ)}; }
inline Vec select(Mask m, Vec yes, Vec no) { return {_mm512_mask_blend_ps(m.m, no.v, yes.v)}; }
/// No lane is NaN, and all are +-0.
inline bool all_zero(Vec a) {
  return _mm512_cmp_ps_mask(a.v, _mm512_setzero_ps(), _CMP_EQ_OQ) == 0xffff;
}

/// The lanes from 0 to count - 1.
inline Mask first_mask(int count) { return {first_lanes(count)}; }
/// True where a byte is not 0.
inline Mask load_mask(const uint8_t *p) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i *>(p));
  return {_mm_test_epi8_mask(bytes, bytes)};
}
inline Mask operator&(Mask a, Mask b) { return {static_cast<__mmask16>(a.m & b.m)}; }

/// Lanes i and i + 8 are added, then i and i + 4, i and i + 2, i and i + 1.
inline float sum_lanes(Vec a) {
  const __m256 low = _mm512_castps512_ps256(a.v), high = _mm512_extractf32x8_ps(a.v, 1);
  const __m256 h = _mm256_add_ps(low, high);
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

inline IVec iset(int32_t x) { return {_mm512_set1_epi32(x)}; }
inline IVec bits(Vec a) { return {_mm512_castps_si512(a.v)}; }
inline Vec from_bits(IVec a) { return {_mm512_castsi512_ps(a.v)}; }
inline IVec operator+(IVec a, IVec b) { return {_mm512_add_epi32(a.v, b.v)}; }
inline IVec operator-(IVec a, IVec b) { return {_mm512_sub_epi32(a.v, b.v)}; }
template <int n> inline IVec shift_left(IVec a) { return {_mm512_slli_epi32(a.v, n)}; }
/// Arithmetic: the sign is copied in.
template <int n> inline IVec shift_right(IVec a) { return {_mm512_srai_epi32(a.v, n)}; }

template <int n> inline IVec shift_right_logical(IVec a) { return {_mm512_srli_epi32(a.v, n)}; }
inline IVec operator^(IVec a, IVec b) { return {_mm512_xor_si512(a.v, b.v)}; }
inline IVec operator&(IVec a, IVec b) { return {_mm512_and_si512(a.v, b.v)}; }
/// True where a lane is negative.
inline Mask negative(IVec a) { return {_mm512_movepi32_mask(a.v)}; }
/// 1 where a < b, taken as unsigned, else 0.
inline IVec less_unsigned(IVec a, IVec b) {
  return {_mm512_maskz_set1_epi32(_mm512_cmplt_epu32_mask(a.v, b.v), 1)};
}
/// Lanes 0 .. 255 as bytes.
inline void store_bytes(uint8_t *p, IVec a) {
  _mm_storeu_si128(reinterpret_cast<__m128i *>(p), _mm512_cvtepi32_epi8(a.v));
}
/// The 64-bit product of unsigned lanes.
struct Wide {
  IVec high, low;
};
inline Wide multiply_wide(IVec a, IVec b) {
  const __m512i even = _mm512_mul_epu32(a.v, b.v);
  const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(a.v, 32), _mm512_srli_epi64(b.v, 32));
  return {{_mm512_mask_mov_epi32(_mm512_srli_epi64(even, 32), 0xaaaa, odd)},
          {_mm512_mask_mov_epi32(even, 0xaaaa, _mm512_slli_epi64(odd, 32))}};
}
inline Vec to_float(IVec a) { return {_mm512_cvtepi32_ps(a.v)}; }
/// Of an unsigned lane, rounded once.
inline Vec unsigned_to_float(IVec a) { return {_mm512_cvtepu32_ps(a.v)}; }

/// For interleave4: lane i of each of the four holds the element of group group_of_lane()[i].
inline IVec group_of_lane() {
  return {_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)};
}
/// Four vectors of groups' elements 0, 1, 2, 3 become the groups one after another in memory.
inline void interleave4(Vec *r) {
  const __m512 a = _mm512_unpacklo_ps(r[0].v, r[1].v), b = _mm512_unpackhi_ps(r[0].v, r[1].v);
  const __m512 c = _mm512_unpacklo_ps(r[2].v, r[3].v), d = _mm512_unpackhi_ps(r[2].v, r[3].v);
  r[0].v = _mm512_shuffle_ps(a, c, 0x44);
  r[1].v = _mm512_shuffle_ps(a, c, 0xee);
  r[2].v = _mm512_shuffle_ps(b, d, 0x44);
  r[3].v = _mm512_shuffle_ps(b, d, 0xee);
}

inline Vec load_bfloat16(const uint16_t *p) {
  const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16))};
}
/// Rounds to nearest, ties to even; a NaN becomes 0x7fc0, as in torch.
inline void store_bfloat16(uint16_t *p, Vec a) {
  const __m512i x = _mm512_castps_si512(a.v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(x, 16), _mm512_set1_epi32(1));
  const __m512i rounded =
      _mm512_srli_epi32(_mm512_add_epi32(x, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
  const __mmask16 nan = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
  const __m512i r = _mm512_mask_mov_epi32(rounded, nan, _mm512_set1_epi32(0x7fc0));
  _mm256_storeu_si256(reinterpret_cast<__m256i *>(p), _mm512_cvtepi32_epi16(r));
}
inline Vec load_float16(const uint16_t *p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)))};
}
inline void store_float16(uint16_t *p, Vec a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i *>(p),
                      _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT));
}

/// r[i][j] becomes r[j][i]: 16 rows of 16 lanes.
inline void transpose(Vec *r) {
  __m512 t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(r[i].v, r[i + 1].v);
    t[i + 1] = _mm512_unpackhi_ps(r[i].v, r[i + 1].v);
  }
  __m512 u[16];
  for (int i = 0; i < 16; i += 4) {
    u[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
    u[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xee);
    u[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    u[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_f32x4(u[i], u[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_f32x4(u[i], u[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_f32x4(u[i + 8], u[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_f32x4(u[i + 8], u[i + 12], 0xdd);
  }
  for (int i = 0; i < 4; ++i) {
    r[i].v = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
    r[i + 4].v = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0x88);
    r[i + 8].v = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
    r[i + 12].v = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0xdd);
  }
}

} // namespace vael::VAEL_ISA
