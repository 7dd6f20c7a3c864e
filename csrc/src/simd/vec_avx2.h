// 8 float32 lanes in a ymm register (AVX2, FMA and F16C).
#pragma once

#include <immintrin.h>
#include <stdint.h>

namespace vael::avx2 {

struct Vec {
  static constexpr int lanes = 8;
  __m256 v;
};
/// A lane's top bit decides.
struct Mask {
  __m256 m;
};
/// 8 int32 lanes.
struct IVec {
  __m256i v;
};

inline __m256i first_lanes(int count) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), lane);
}

inline Vec set(float x) { return {_mm256_set1_ps(x)}; }
inline Vec zero() { return {_mm256_setzero_ps()}; }
inline Vec load(const float *p) { return {_mm256_loadu_ps(p)}; }
inline void store(float *p, Vec a) { _mm256_storeu_ps(p, a.v); }
/// Reads p[0 .. count) only; the other lanes are 0. 0 <= count <= lanes.
inline Vec load_first(const float *p, int count) {
  return {_mm256_maskload_ps(p, first_lanes(count))};
}
/// Not by a masked store, which is microcode on AMD.
inline void store_first(float *p, Vec a, int count) {
  __m128 part = _mm256_castps256_ps128(a.v);
  if (count & 8)
    return _mm256_storeu_ps(p, a.v);
  if (count & 4) {
    _mm_storeu_ps(p, part);
    part = _mm256_extractf128_ps(a.v, 1);
    p += 4;
  }
  if (count & 2) {
    _mm_storel_pi(reinterpret_cast<__m64 *>(p), part);
    part = _mm_movehl_ps(part, part);
    p += 2;
  }
  if (count & 1)
    _mm_store_ss(p, part);
}
/// Lanes from count on become +0.
inline Vec keep_first(Vec a, int count) {
  return {_mm256_and_ps(a.v, _mm256_castsi256_ps(first_lanes(count)))};
}

inline Vec operator+(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
inline Vec operator-(Vec a, Vec b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline Vec operator*(Vec a, Vec b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline Vec operator/(Vec a, Vec b) { return {_mm256_div_ps(a.v, b.v)}; }
/// a * b + c, rounded once.
inline Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
inline Vec sqrt(Vec a) { return {_mm256_sqrt_ps(a.v)}; }
inline Vec min(Vec a, Vec b) { return {_mm256_min_ps(a.v, b.v)}; }
inline Vec max(Vec a, Vec b) { return {_mm256_max_ps(a.v, b.v)}; }
inline Vec abs(Vec a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
/// The magnitude of a with the sign of b.
inline Vec copysign(Vec a, Vec b) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_or_ps(_mm256_andnot_ps(sign, a.v), _mm256_and_ps(sign, b.v))};
}

/// False where either is NaN.
inline Mask less(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
inline Mask less_equal(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LE_OQ)}; }
inline Vec select(Mask m, Vec yes, Vec no) { return {_mm256_blendv_ps(no.v, yes.v, m.m)}; }
/// No lane is NaN, and all are +-0.
inline bool all_zero(Vec a) {
  return _mm256_movemask_ps(_mm256_cmp_ps(a.v, _mm256_setzero_ps(), _CMP_EQ_OQ)) == 0xff;
}

/// The lanes from 0 to count - 1.
inline Mask first_mask(int count) { return {_mm256_castsi256_ps(first_lanes(count))}; }
/// True where a byte is not 0.
inline Mask load_mask(const uint8_t *p) {
  const __m256i wide = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i *>(p)));
  return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(wide, _mm256_setzero_si256()))};
}
inline Mask operator&(Mask a, Mask b) { return {_mm256_and_ps(a.m, b.m)}; }

/// Lanes i and i + 4 are added, then i and i + 2, then i and i + 1.
inline float sum_lanes(Vec a) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

inline IVec iset(int32_t x) { return {_mm256_set1_epi32(x)}; }
inline IVec bits(Vec a) { return {_mm256_castps_si256(a.v)}; }
inline Vec from_bits(IVec a) { return {_mm256_castsi256_ps(a.v)}; }
inline IVec operator+(IVec a, IVec b) { return {_mm256_add_epi32(a.v, b.v)}; }
inline IVec operator-(IVec a, IVec b) { return {_mm256_sub_epi32(a.v, b.v)}; }
template <int n> inline IVec shift_left(IVec a) { return {_mm256_slli_epi32(a.v, n)}; }
/// Arithmetic: the sign is copied in.
template <int n> inline IVec shift_right(IVec a) { return {_mm256_srai_epi32(a.v, n)}; }

template <int n> inline IVec shift_right_logical(IVec a) { return {_mm256_srli_epi32(a.v, n)}; }
inline IVec operator^(IVec a, IVec b) { return {_mm256_xor_si256(a.v, b.v)}; }
inline IVec operator&(IVec a, IVec b) { return {_mm256_and_si256(a.v, b.v)}; }
/// True where a lane is negative.
inline Mask negative(IVec a) { return {_mm256_castsi256_ps(a.v)}; }
/// 1 where a < b, taken as unsigned, else 0.
inline IVec less_unsigned(IVec a, IVec b) {
  const __m256i not_less = _mm256_cmpeq_epi32(_mm256_max_epu32(a.v, b.v), a.v);
  return {_mm256_add_epi32(not_less, _mm256_set1_epi32(1))};
}
/// Lanes 0 .. 255 as bytes.
inline void store_bytes(uint8_t *p, IVec a) {
  const __m128i halves =
      _mm_packs_epi32(_mm256_castsi256_si128(a.v), _mm256_extracti128_si256(a.v, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i *>(p), _mm_packus_epi16(halves, halves));
}
/// The 64-bit product of unsigned lanes.
struct Wide {
  IVec high, low;
};
inline Wide multiply_wide(IVec a, IVec b) {
  const __m256i even = _mm256_mul_epu32(a.v, b.v);
  const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(a.v, 32), _mm256_srli_epi64(b.v, 32));
  return {{_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa)},
          {_mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa)}};
}
inline Vec to_float(IVec a) { return {_mm256_cvtepi32_ps(a.v)}; }
/// Of an unsigned lane, rounded once: the halves are exact, their sum rounds.
inline Vec unsigned_to_float(IVec a) {
  const __m256 high = _mm256_cvtepi32_ps(_mm256_srli_epi32(a.v, 16));
  const __m256 low = _mm256_cvtepi32_ps(_mm256_and_si256(a.v, _mm256_set1_epi32(0xffff)));
  return {_mm256_fmadd_ps(high, _mm256_set1_ps(65536.0f), low)};
}

/// For interleave4: lane i of each of the four holds the element of group group_of_lane()[i].
inline IVec group_of_lane() { return {_mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7)}; }
/// Four vectors of groups' elements 0, 1, 2, 3 become the groups one after another in memory.
inline void interleave4(Vec *r) {
  const __m256 a = _mm256_unpacklo_ps(r[0].v, r[1].v), b = _mm256_unpackhi_ps(r[0].v, r[1].v);
  const __m256 c = _mm256_unpacklo_ps(r[2].v, r[3].v), d = _mm256_unpackhi_ps(r[2].v, r[3].v);
  r[0].v = _mm256_shuffle_ps(a, c, 0x44);
  r[1].v = _mm256_shuffle_ps(a, c, 0xee);
  r[2].v = _mm256_shuffle_ps(b, d, 0x44);
  r[3].v = _mm256_shuffle_ps(b, d, 0xee);
}

inline Vec load_bfloat16(const uint16_t *p) {
  const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i *>(p));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16))};
}
/// Rounds to nearest, ties to even; a NaN becomes 0x7fc0, as in torch.
inline void store_bfloat16(uint16_t *p, Vec a) {
  const __m256i x = _mm256_castps_si256(a.v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(x, 16), _mm256_set1_epi32(1));
  const __m256i rounded =
      _mm256_srli_epi32(_mm256_add_epi32(x, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q));
  const __m256i r = _mm256_blendv_epi8(rounded, _mm256_set1_epi32(0x7fc0), nan);
  _mm_storeu_si128(reinterpret_cast<__m128i *>(p),
                   _mm_packus_epi32(_mm256_castsi256_si128(r), _mm256_extracti128_si256(r, 1)));
}
inline Vec load_float16(const uint16_t *p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(p)))};
}
inline void store_float16(uint16_t *p, Vec a) {
  _mm_storeu_si128(reinterpret_cast<__m128i *>(p), _mm256_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT));
}

/// r[i][j] becomes r[j][i]: 8 rows of 8 lanes.
inline void transpose(Vec *r) {
  __m256 t[8];
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i].v, r[i + 1].v);
    t[i + 1] = _mm256_unpackhi_ps(r[i].v, r[i + 1].v);
  }
  __m256 u[8];
  for (int i = 0; i < 8; i += 4) {
    u[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    u[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    u[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    u[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
  for (int i = 0; i < 4; ++i) {
    r[i].v = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
    r[i + 4].v = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
  }
}

} // namespace vael::avx2
