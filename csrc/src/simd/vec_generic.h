// 4 float32 lanes in plain C++: what every machine runs, and what the others are tested against.
//
// The fma is the C library's where the machine has none: slow there, but the same bits.
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

namespace vael::generic {

struct Vec {
  static constexpr int lanes = 4;
  float v[4];
};
struct Mask {
  bool m[4];
};
/// 4 int32 lanes, held unsigned so that additions wrap.
struct IVec {
  uint32_t v[4];
};

inline Vec set(float x) { return {{x, x, x, x}}; }
inline Vec zero() { return set(0.0f); }
inline Vec load(const float *p) { return {{p[0], p[1], p[2], p[3]}}; }
inline void store(float *p, Vec a) {
  for (int i = 0; i < 4; ++i)
    p[i] = a.v[i];
}
/// Reads p[0 .. count) only; the other lanes are 0. 0 <= count <= lanes.
inline Vec load_first(const float *p, int count) {
  Vec r = zero();
  for (int i = 0; i < count; ++i)
    r.v[i] = p[i];
  return r;
}
inline void store_first(float *p, Vec a, int count) {
  for (int i = 0; i < count; ++i)
    p[i] = a.v[i];
}
/// Lanes from count on become +0.
inline Vec keep_first(Vec a, int count) {
  for (int i = count < 0 ? 0 : count; i < 4; ++i)
    a.v[i] = 0.0f;
  return a;
}

template <class F> inline Vec each(Vec a, Vec b, F f) {
  Vec r;
  for (int i = 0; i < 4; ++i)
    r.v[i] = f(a.v[i], b.v[i]);
  return r;
}
template <class F> inline Mask each_mask(Vec a, Vec b, F f) {
  Mask r;
  for (int i = 0; i < 4; ++i)
    r.m[i] = f(a.v[i], b.v[i]);
  return r;
}

inline Vec operator+(Vec a, Vec b) {
  return each(a, b, [](float x, float y) { return x + y; });
}
inline Vec operator-(Vec a, Vec b) {
  return each(a, b, [](float x, float y) { return x - y; });
}
inline Vec operator*(Vec a, Vec b) {
  return each(a, b, [](float x, float y) { return x * y; });
}
inline Vec operator/(Vec a, Vec b) {
  return each(a, b, [](float x, float y) { return x / y; });
}
/// a * b + c, rounded once.
inline Vec fma(Vec a, Vec b, Vec c) {
  Vec r;
  for (int i = 0; i < 4; ++i)
    r.v[i] = __builtin_fmaf(a.v[i], b.v[i], c.v[i]);
  return r;
}
inline Vec sqrt(Vec a) {
  return each(a, a, [](float x, float) { return __builtin_sqrtf(x); });
}
inline Vec min(Vec a, Vec b) {
  return each(a, b, [](float x, float y) { return x < y ? x : y; });
}
inline Vec max(Vec a, Vec b) {
  return each(a, b, [](float x, float y) { return x > y ? x : y; });
}
inline Vec abs(Vec a) {
  return each(a, a, [](float x, float) { return __builtin_fabsf(x); });
}
/// The magnitude of a with the sign of b.
inline Vec copysign(Vec a, Vec b) {
  return each(a, b, [](float x, float y) { return __builtin_copysignf(x, y); });
}

/// False where either is NaN.
inline Mask less(Vec a, Vec b) {
  return each_mask(a, b, [](float x, float y) { return x < y; });
}
inline Mask less_equal(Vec a, Vec b) {
  return each_mask(a, b, [](float x, float y) { return x <= y; });
}
inline Vec select(Mask m, Vec yes, Vec no) {
  Vec r;
  for (int i = 0; i < 4; ++i)
    r.v[i] = m.m[i] ? yes.v[i] : no.v[i];
  return r;
}
/// No lane is NaN, and all are +-0.
inline bool all_zero(Vec a) { return a.v[0] == 0 && a.v[1] == 0 && a.v[2] == 0 && a.v[3] == 0; }

/// The lanes from 0 to count - 1.
inline Mask first_mask(int count) {
  Mask r;
  for (int i = 0; i < 4; ++i)
    r.m[i] = i < count;
  return r;
}
/// True where a byte is not 0.
inline Mask load_mask(const uint8_t *p) { return {{p[0] != 0, p[1] != 0, p[2] != 0, p[3] != 0}}; }
inline Mask operator&(Mask a, Mask b) {
  for (int i = 0; i < 4; ++i)
    a.m[i] = a.m[i] && b.m[i];
  return a;
}

/// Lanes i and i + 2 are added, then i and i + 1.
inline float sum_lanes(Vec a) { return (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]); }

inline IVec iset(int32_t x) {
  const uint32_t u = static_cast<uint32_t>(x);
  return {{u, u, u, u}};
}
inline IVec bits(Vec a) {
  IVec r;
  memcpy(r.v, a.v, sizeof(r.v));
  return r;
}
inline Vec from_bits(IVec a) {
  Vec r;
  memcpy(r.v, a.v, sizeof(r.v));
  return r;
}
inline IVec operator+(IVec a, IVec b) {
  for (int i = 0; i < 4; ++i)
    a.v[i] += b.v[i];
  return a;
}
inline IVec operator-(IVec a, IVec b) {
  for (int i = 0; i < 4; ++i)
    a.v[i] -= b.v[i];
  return a;
}
template <int n> inline IVec shift_left(IVec a) {
  for (int i = 0; i < 4; ++i)
    a.v[i] <<= n;
  return a;
}
/// Arithmetic: the sign is copied in.
template <int n> inline IVec shift_right(IVec a) {
  for (int i = 0; i < 4; ++i)
    a.v[i] = static_cast<uint32_t>(static_cast<int32_t>(a.v[i]) >> n);
  return a;
}

template <int n> inline IVec shift_right_logical(IVec a) {
  for (int i = 0; i < 4; ++i)
    a.v[i] >>= n;
  return a;
}
inline IVec operator^(IVec a, IVec b) {
  for (int i = 0; i < 4; ++i)
    a.v[i] ^= b.v[i];
  return a;
}
inline IVec operator&(IVec a, IVec b) {
  for (int i = 0; i < 4; ++i)
    a.v[i] &= b.v[i];
  return a;
}
/// True where a lane is negative.
inline Mask negative(IVec a) {
  Mask r;
  for (int i = 0; i < 4; ++i)
    r.m[i] = a.v[i] >> 31;
  return r;
}
/// 1 where a < b, taken as unsigned, else 0.
inline IVec less_unsigned(IVec a, IVec b) {
  IVec r;
  for (int i = 0; i < 4; ++i)
    r.v[i] = a.v[i] < b.v[i];
  return r;
}
/// Lanes 0 .. 255 as bytes.
inline void store_bytes(uint8_t *p, IVec a) {
  for (int i = 0; i < 4; ++i)
    p[i] = static_cast<uint8_t>(a.v[i]);
}
/// The 64-bit product of unsigned lanes.
struct Wide {
  IVec high, low;
};
inline Wide multiply_wide(IVec a, IVec b) {
  Wide r;
  for (int i = 0; i < 4; ++i) {
    const uint64_t product = static_cast<uint64_t>(a.v[i]) * b.v[i];
    r.high.v[i] = static_cast<uint32_t>(product >> 32);
    r.low.v[i] = static_cast<uint32_t>(product);
  }
  return r;
}
inline Vec to_float(IVec a) {
  Vec r;
  for (int i = 0; i < 4; ++i)
    r.v[i] = static_cast<float>(static_cast<int32_t>(a.v[i]));
  return r;
}
/// Of an unsigned lane, rounded once.
inline Vec unsigned_to_float(IVec a) {
  Vec r;
  for (int i = 0; i < 4; ++i)
    r.v[i] = static_cast<float>(a.v[i]);
  return r;
}

/// r[i][j] becomes r[j][i]: 4 rows of 4 lanes.
inline void transpose(Vec *r) {
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < i; ++j) {
      const float t = r[i].v[j];
      r[i].v[j] = r[j].v[i];
      r[j].v[i] = t;
    }
}

/// For interleave4: lane i of each of the four holds the element of group group_of_lane()[i].
inline IVec group_of_lane() { return {{0, 1, 2, 3}}; }
/// Four vectors of groups' elements 0, 1, 2, 3 become the groups one after another in memory.
inline void interleave4(Vec *r) { transpose(r); }

inline Vec load_bfloat16(const uint16_t *p) {
  IVec r;
  for (int i = 0; i < 4; ++i)
    r.v[i] = static_cast<uint32_t>(p[i]) << 16;
  return from_bits(r);
}
/// Rounds to nearest, ties to even; a NaN becomes 0x7fc0, as in torch.
inline void store_bfloat16(uint16_t *p, Vec a) {
  const IVec x = bits(a);
  for (int i = 0; i < 4; ++i) {
    const uint32_t odd = x.v[i] >> 16 & 1;
    const bool nan = (x.v[i] & 0x7fffffff) > 0x7f800000;
    p[i] = nan ? uint16_t{0x7fc0} : static_cast<uint16_t>((x.v[i] + 0x7fff + odd) >> 16);
  }
}
/// As the F16C instructions convert: a signalling NaN becomes quiet, subnormals are kept.
inline uint32_t float16_to_bits(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16, magnitude = h & 0x7fff;
  if (magnitude > 0x7c00)
    return sign | 0x7fc00000 | magnitude << 13;
  if (magnitude == 0x7c00)
    return sign | 0x7f800000;
  if (magnitude >= 0x0400)
    return sign | ((magnitude << 13) + 0x38000000);
  const float subnormal = static_cast<float>(magnitude) * 0x1p-24f;
  uint32_t r;
  memcpy(&r, &subnormal, sizeof(r));
  return sign | r;
}
inline uint16_t bits_to_float16(uint32_t x) {
  const uint32_t sign = x >> 16 & 0x8000, magnitude = x & 0x7fffffff;
  if (magnitude > 0x7f800000)
    return static_cast<uint16_t>(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));
  if (magnitude >= 0x477ff000) // 65520, halfway to what would be the next float16
    return static_cast<uint16_t>(sign | 0x7c00);
  if (magnitude >= 0x38800000) { // 2^-14, the smallest normal float16
    const uint32_t odd = magnitude >> 13 & 1;
    return static_cast<uint16_t>(sign | (magnitude - 0x38000000 + 0xfff + odd) >> 13);
  }
  // Adding 0.5 leaves the multiple of 2^-24 in the last bits, rounded to nearest even.
  float f;
  memcpy(&f, &magnitude, sizeof(f));
  f += 0.5f;
  uint32_t r;
  memcpy(&r, &f, sizeof(r));
  return static_cast<uint16_t>(sign | (r - 0x3f000000));
}
inline Vec load_float16(const uint16_t *p) {
  IVec r;
  for (int i = 0; i < 4; ++i)
    r.v[i] = float16_to_bits(p[i]);
  return from_bits(r);
}
inline void store_float16(uint16_t *p, Vec a) {
  const IVec x = bits(a);
  for (int i = 0; i < 4; ++i)
    p[i] = bits_to_float16(x.v[i]);
}

} // namespace vael::generic
