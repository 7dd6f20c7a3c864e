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

/// The lanes from 0 to count - 1.
inline Mask first_mask(int count) { return {first_lanes(count)}; }
/// True where a byte is not 0.
inline Mask load_mask(const uint8_t *p) {
  const uint32x4_t bytes = {p[0], p[1], p[2], p[3]};
  return {vtstq_u32(bytes, bytes)};
}
inline Mask operator&(Mask a, Mask b) { return {vandq_u32(a.m, b.m)}; }

/// Lanes i and i + 2 are added, then i and i + 1.
inline float sum_lanes(Vec a) {
  return vpadds_f32(vadd_f32(vget_low_f32(a.v), vget_high_f32(a.v)));
}

inline IVec iset(int32_t x) { return {vdupq_n_s32(x)}; }
inline IVec bits(Vec a) { return {vreinterpretq_s32_f32(a.v)}; }
inline Vec from_bits(IVec a) { return {vreinterpretq_f32_s32(a.v)}; }
inline IVec operator+(IVec a, IVec b) { return {vaddq_s32(a.v, b.v)}; }
inline IVec operator-(IVec a, IVec b) { return {vsubq_s32(a.v, b.v)}; }
template <int n> inline IVec shift_left(IVec a) { return {vshlq_n_s32(a.v, n)}; }
/// Arithmetic: the sign is copied in.
template <int n> inline IVec shift_right(IVec a) { return {vshrq_n_s32(a.v, n)}; }

template <int n> inline IVec shift_right_logical(IVec a) {
  return {vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(a.v), n))};
}
inline IVec operator^(IVec a, IVec b) { return {veorq_s32(a.v, b.v)}; }
inline IVec operator&(IVec a, IVec b) { return {vandq_s32(a.v, b.v)}; }
/// True where a lane is negative.
inline Mask negative(IVec a) { return {vcltzq_s32(a.v)}; }
/// 1 where a < b, taken as unsigned, else 0.
inline IVec less_unsigned(IVec a, IVec b) {
  const uint32x4_t less = vcltq_u32(vreinterpretq_u32_s32(a.v), vreinterpretq_u32_s32(b.v));
  return {vreinterpretq_s32_u32(vandq_u32(less, vdupq_n_u32(1)))};
}
/// Lanes 0 .. 255 as bytes.
inline void store_bytes(uint8_t *p, IVec a) {
  int32_t lanes[4];
  vst1q_s32(lanes, a.v);
  for (int i = 0; i < 4; ++i)
    p[i] = static_cast<uint8_t>(lanes[i]);
}
/// The 64-bit product of unsigned lanes.
struct Wide {
  IVec high, low;
};
inline Wide multiply_wide(IVec a, IVec b) {
  const uint32x4_t x = vreinterpretq_u32_s32(a.v), y = vreinterpretq_u32_s32(b.v);
  const uint32x4_t first = vreinterpretq_u32_u64(vmull_u32(vget_low_u32(x), vget_low_u32(y)));
  const uint32x4_t second = vreinterpretq_u32_u64(vmull_high_u32(x, y));
  return {{vreinterpretq_s32_u32(vuzp2q_u32(first, second))},
          {vreinterpretq_s32_u32(vuzp1q_u32(first, second))}};
}
inline Vec to_float(IVec a) { return {vcvtq_f32_s32(a.v)}; }
/// Of an unsigned lane, rounded once.
inline Vec unsigned_to_float(IVec a) { return {vcvtq_f32_u32(vreinterpretq_u32_s32(a.v))}; }

/// r[i][j] becomes r[j][i]: 4 rows of 4 lanes.
inline void transpose(Vec *r) {
  const float32x4_t a = vzip1q_f32(r[0].v, r[2].v), b = vzip2q_f32(r[0].v, r[2].v);
  const float32x4_t c = vzip1q_f32(r[1].v, r[3].v), d = vzip2q_f32(r[1].v, r[3].v);
  r[0].v = vzip1q_f32(a, c);
  r[1].v = vzip2q_f32(a, c);
  r[2].v = vzip1q_f32(b, d);
  r[3].v = vzip2q_f32(b, d);
}

/// For interleave4: lane i of each of the four holds the element of group group_of_lane()[i].
inline IVec group_of_lane() {
  const int32x4_t lane = {0, 1, 2, 3};
  return {lane};
}
/// Four vectors of groups' elements 0, 1, 2, 3 become the groups one after another in memory.
inline void interleave4(Vec *r) { transpose(r); }

inline Vec load_bfloat16(const uint16_t *p) {
  return {vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16))};
}
/// Rounds to nearest, ties to even; a NaN becomes 0x7fc0, as in torch.
inline void store_bfloat16(uint16_t *p, Vec a) {
  const uint32x4_t x = vreinterpretq_u32_f32(a.v);
  const uint32x4_t odd = vandq_u32(vshrq_n_u32(x, 16), vdupq_n_u32(1));
  const uint32x4_t rounded = vaddq_u32(x, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
  const uint32x4_t r = vbslq_u32(vceqq_f32(a.v, a.v), rounded, vdupq_n_u32(0x7fc00000));
  vst1_u16(p, vshrn_n_u32(r, 16));
}
inline Vec load_float16(const uint16_t *p) {
  return {vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)))};
}
inline void store_float16(uint16_t *p, Vec a) {
  vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(a.v)));
}

} // namespace vael::neon
