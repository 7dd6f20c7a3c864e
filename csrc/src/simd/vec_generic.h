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

/// r[i][j] becomes r[j][i]: 4 rows of 4 lanes.
inline void transpose(Vec *r) {
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < i; ++j) {
      const float t = r[i].v[j];
      r[i].v[j] = r[j].v[i];
      r[j].v[i] = t;
    }
}

} // namespace vael::generic
