// The vector maths, written once over Vec: the same bits on every instruction set.
//
// Errors below are against float64 over the whole float32 range (tests/cpp/test_math.cpp measures
// them). NaN goes through every function; +-inf gives the limit.
#pragma once

#include "simd/vec.h"

namespace vael::VAEL_ISA {

/// 2^n with n in [-126, 127], one n a lane.
inline Vec exp2_int(IVec n) { return from_bits(shift_left<23>(n + iset(127))); }

/// x = n ln 2 + r with |r| <= ln 2 / 2: n as integer lanes, as float lanes, and r.
struct Reduced {
  IVec n;
  Vec n_float, r;
};
/// Cody and Waite's two-part ln 2. Rounding by adding 1.5 * 2^23 needs no float-to-int conversion,
/// whose result for NaN differs between machines. |x| <= 2^21.
inline Reduced reduce_ln2(Vec x) {
  const Vec shifter = set(0x1.8p23f);
  const Vec shifted = fma(x, set(0x1.715476p+0f), shifter);
  const Vec n = shifted - shifter;
  Vec r = fma(n, set(-0x1.62e400p-1f), x);
  r = fma(n, set(-0x1.7f7d1cp-20f), r);
  return {bits(shifted) - bits(shifter), n, r};
}

/// e^r - 1 for |r| <= ln 2 / 2. Coefficients of (e^r - 1 - r) / r^2: a minimax fit, error 5e-9.
inline Vec expm1_reduced(Vec r) {
  Vec q = set(0x1.6dc4c6p-10f);
  q = fma(q, r, set(0x1.12475ap-7f));
  q = fma(q, r, set(0x1.55544ap-5f));
  q = fma(q, r, set(0x1.55547ep-3f));
  q = fma(q, r, set(0.5f));
  return fma(r * r, q, r);
}

/// e^x, within 1 ulp (subnormal results included); inf above 88.73.
inline Vec exp(Vec x) {
  x = max(set(-105.0f), min(set(89.0f), x));
  const Reduced d = reduce_ln2(x);
  const Vec p = expm1_reduced(d.r) + set(1.0f);
  // 2^n in two factors: n itself may lie outside the range of a float's exponent.
  const IVec half = shift_right<1>(d.n);
  return p * exp2_int(half) * exp2_int(d.n - half);
}

/// e^x - 1, within 2 ulp, without cancellation near 0; inf above 88.73.
inline Vec expm1(Vec x) {
  const Vec tiny = x;
  x = max(set(-18.0f), min(set(89.0f), x));
  const Reduced d = reduce_ln2(x);
  const Vec p = expm1_reduced(d.r);
  // 2^(n-1) twice, because 2^128 is no float but e^88.7 is.
  const Vec half = exp2_int(d.n - iset(1));
  const Vec result = fma(half, p, half - set(0.5f)) * set(2.0f);
  // Below 2^-25 the result is x; the doubling above would round subnormals.
  return select(less(abs(tiny), set(0x1p-25f)), tiny, result);
}

/// -1, 0 or 1; NaN for NaN.
inline Vec sign(Vec x) { return select(less(zero(), abs(x)), copysign(set(1.0f), x), x); }

/// 1 / (1 + e^-x), within 3 ulp. By e^-|x|, which cannot overflow.
inline Vec sigmoid(Vec x) {
  const Vec t = exp(zero() - abs(x));
  return select(less(x, zero()), t, set(1.0f)) / (set(1.0f) + t);
}

/// n ln 2 + ln(1 + f) for f in [-1/4, 1/2] and n = 0 where the result is small. Coefficients of
/// (ln(1 + f) - f + f^2 / 2) / f^3: a minimax fit.
inline Vec log_reduced(Vec n, Vec f) {
  Vec p = set(-0x1.5f53fep-5f);
  p = fma(p, f, set(0x1.a100f6p-4f));
  p = fma(p, f, set(-0x1.0b99a2p-3f));
  p = fma(p, f, set(0x1.28d1f0p-3f));
  p = fma(p, f, set(-0x1.552f84p-3f));
  p = fma(p, f, set(0x1.996df8p-3f));
  p = fma(p, f, set(-0x1.fffeb8p-3f));
  p = fma(p, f, set(0x1.555588p-2f));
  const Vec f2 = f * f;
  const Vec r = fma(n, set(0x1.7f7d1cp-20f), fma(f2 * f, p, set(-0.5f) * f2));
  return fma(n, set(0x1.62e400p-1f), r + f);
}

/// ln(1 + t) for t in [0, 1], within 1 ulp. Above 1/2 as ln 2 + ln(1 + f) with f = (t - 1) / 2,
/// which is exact.
inline Vec log1p_unit(Vec t) {
  const Mask small = less_equal(t, set(0.5f));
  const Vec f = select(small, t, (t - set(1.0f)) * set(0.5f));
  return log_reduced(select(small, zero(), set(1.0f)), f);
}

/// sign(x) ln(1 + |x|), within 2 ulp: odd and strictly monotone in exact arithmetic, ln(1 + x) for
/// x >= 0, x for subnormal x.
inline Vec signed_log1p(Vec x) {
  const Vec t = abs(x);
  // 1 + t = 2^n (1 + f) with 1 + f in [3/4, 3/2]: f = t 2^-n + (2^-n - 1), rounded once.
  const IVec e = (bits(t + set(1.0f)) - iset(0x3f400000)) & iset(0x7f800000);
  // 2^-n times 4: 2^-128 alone would be subnormal.
  const Vec four = from_bits(iset(0x40800000) - e);
  const Vec f = from_bits(bits(t) - e) + fma(set(0.25f), four, set(-1.0f));
  const Vec n = to_float(shift_right<23>(e));
  const Vec y = log_reduced(n, f);
  return copysign(select(less_equal(t, set(0x1.fffffep127f)), y, t), x);
}

/// The angle x brought into [-pi, pi), pi being 0x1.921fb6p+1; x itself where it is there already.
/// Within 2^-21 of the float64 remainder up to |x| = 1000; beyond 2^20, where a float32 says little
/// about an angle, that of +-2^20.
inline Vec wrap_angle(Vec x) {
  const Vec pi = set(0x1.921fb6p+1f), two_pi = set(0x1.921fb6p+2f);
  const Vec limit = set(0x1p20f);
  const Vec t = max(zero() - limit, min(limit, x));
  const Vec shifter = set(0x1.8p23f);
  const Vec n = fma(t, set(0x1.45f306p-3f), shifter) - shifter;
  // 2 pi in three parts, the first two of few enough bits that n times them is exact.
  Vec r = fma(n, set(-0x1.920000p+2f), t);
  r = fma(n, set(-0x1.fb5000p-10f), r);
  r = fma(n, set(-0x1.110b46p-24f), r);
  // n may be off by one where the angle is near the seam. Both differences are exact, and inside.
  r = select(less(r, pi), r, r - two_pi);
  r = select(less_equal(zero() - pi, r), r, r + two_pi);
  return select(less_equal(zero() - pi, x) & less(x, pi), x, r);
}

/// ln(1 + e^x), within 2 ulp. By e^-|x|, which cannot overflow.
inline Vec softplus(Vec x) { return max(zero(), x) + log1p_unit(exp(zero() - abs(x))); }

/// Within 4 ulp; odd, and exact in its limits.
inline Vec tanh(Vec x) {
  const Vec m = expm1(min(set(10.0f), abs(x)) * set(2.0f));
  return copysign(m / (m + set(2.0f)), x);
}

/// The error function, within 2 ulp. After N. Juffa's single-precision erff: x + x P(x^2) for
/// |x| < 0.93, 1 - e^{Q(|x|)} beyond.
inline Vec erf(Vec x) {
  const Vec t = min(set(4.0f), abs(x));
  const Vec s = t * t;
  Vec q = fma(set(-1.72853470e-5f), t, set(3.83197126e-4f));
  q = fma(q, s, fma(set(-3.88396438e-3f), t, set(2.42546219e-2f)));
  q = fma(q, t, set(-1.06777877e-1f));
  q = fma(q, t, set(-6.34846687e-1f));
  q = fma(q, t, set(-1.28717512e-1f));
  q = fma(q, t, zero() - t);
  const Vec far = set(1.0f) - exp(q);
  Vec p = set(-5.96761703e-4f);
  p = fma(p, s, set(4.99119423e-3f));
  p = fma(p, s, set(-2.67681349e-2f));
  p = fma(p, s, set(1.12819925e-1f));
  p = fma(p, s, set(-3.76125336e-1f));
  p = fma(p, s, set(1.28379166e-1f));
  const Vec near = fma(p, t, t);
  return copysign(select(less(t, set(0.927734375f)), near, far), x);
}

} // namespace vael::VAEL_ISA
