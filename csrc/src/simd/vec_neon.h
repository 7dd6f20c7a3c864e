// 4 float32 lanes in a NEON register (AArch64, where every CPU has it and a fused fma).
#pragma once

#include <arm_neon.h>
#include <stdint.h>

namespace vael::neon {

struct Vec {
  static constexpr int lanes = 4;
  float32x4_t v;
};
/// All bits of a lane set, or none.
struct Mask {
  uint32x4_t m;
};
/// 4 int32 lanes.
struct IVec {
  int32x4_t v;
};

inline uint32x4_t first_lanes(int count) {
  const int32x4_t lane = {0, 1, 2, 3};
  return vcgtq_s32(vdupq_n_s32(count), lane);
}

inline Vec set(float x) { return {vdupq_n_f32(x)}; }
inline Vec zero() { return set(0.0f); }
inline Vec load(const float *p) { return {vld1q_f32(p)}; }
inline void store(float *p, Vec a) { vst1q_f32(p, a.v); }
/// Reads p[0 .. count) only; the other lanes are 0. 0 <= count <= lanes.
inline Vec load_first(const float *p, int count) {
  float lanes[4] = {0, 0, 0, 0};
  for (int i = 0; i < count; ++i)
    lanes[i] = p[i];
  return load(lanes);
}
inline void store_first(float *p, Vec a, int count) {
  float lanes[4];
  store(lanes, a);
  for (int i = 0; i < count; ++i)
    p[i] = lanes[i];
}
/// Lanes from count on become +0.
inline Vec keep_first(Vec a, int count) {
  return {vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(a.v), first_lanes(count)))};
}

inline Vec operator+(Vec a, Vec b) { return {vaddq_f32(a.v, b.v)}; }
inline Vec operator-(Vec a, Vec b) { return {vsubq_f32(a.v, b.v)}; }
inline Vec operator*(Vec a, Vec b) { return {vmulq_f32(a.v, b.v)}; }
inline Vec operator/(Vec a, Vec b) { return {vdivq_f32(a.v, b.v)}; }
/// a * b + c, rounded once.
inline Vec fma(Vec a, Vec b, Vec c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
inline Vec sqrt(Vec a) { return {vsqrtq_f32(a.v)}; }
// Not vminq and vmaxq: of two zeros or of a NaN and a number they choose another way than x86.
inline Vec min(Vec a, Vec b) { return {vbslq_f32(vcltq_f32(a.v, b.v), a.v, b.v)}; }
inline Vec max(Vec a, Vec b) { return {vbslq_f32(vcgtq_f32(a.v, b.v), a.v, b.v)}; }
inline Vec abs(Vec a) { return {vabsq_f32(a.v)}; }
/// The magnitude of a with the sign of b.
inline Vec copysign(Vec a, Vec b) { return {vbslq_f32(vdupq_n_u32(0x80000000u), b.v, a.v)}; }

/// False where either is NaN.
inline Mask less(Vec a, Vec b) { return {vcltq_f32(a.v, b.v)}; }
inline Mask less_equal(Vec a, Vec b) { return {vcleq_f32(a.v, b.v)}; }
inline Vec select(Mask m, Vec yes, Vec no) { return {vbslq_f32(m.m, yes.v, no.v)}; }
/// No lane is NaN, and all are +-0.
inline bool all_zero(Vec a) { return vminvq_u32(vceqzq_f32(a.v)) == 0xffffffffu; }

inline IVec iset(int32_t x) { return {vdupq_n_s32(x)}; }
inline IVec bits(Vec a) { return {vreinterpretq_s32_f32(a.v)}; }
inline Vec from_bits(IVec a) { return {vreinterpretq_f32_s32(a.v)}; }
inline IVec operator+(IVec a, IVec b) { return {vaddq_s32(a.v, b.v)}; }
inline IVec operator-(IVec a, IVec b) { return {vsubq_s32(a.v, b.v)}; }
template <int n> inline IVec shift_left(IVec a) { return {vshlq_n_s32(a.v, n)}; }
/// Arithmetic: the sign is copied in.
template <int n> inline IVec shift_right(IVec a) { return {vshrq_n_s32(a.v, n)}; }

/// r[i][j] becomes r[j][i]: 4 rows of 4 lanes.
inline void transpose(Vec *r) {
  const float32x4_t a = vzip1q_f32(r[0].v, r[2].v), b = vzip2q_f32(r[0].v, r[2].v);
  const float32x4_t c = vzip1q_f32(r[1].v, r[3].v), d = vzip2q_f32(r[1].v, r[3].v);
  r[0].v = vzip1q_f32(a, c);
  r[1].v = vzip2q_f32(a, c);
  r[2].v = vzip1q_f32(b, d);
  r[3].v = vzip2q_f32(b, d);
}

} // namespace vael::neon
