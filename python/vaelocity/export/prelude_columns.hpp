
// ---- What is done to a column before it is standardised.

/// sign(x) ln(1 + |x|).
inline float signed_log1p(float x) {
  const float t = __builtin_fabsf(x);
  const std::uint32_t e = (bits(t + 1.0f) - 0x3f400000u) & 0x7f800000u;
  const float four = from_bits(0x40800000u - e);
  const float f = from_bits(bits(t) - e) + fma(0.25f, four, -1.0f);
  const float y = log_reduced(static_cast<float>(e >> 23), f);
  return __builtin_copysignf(t <= FLT_MAX ? y : t, x);
}
/// The angle x brought into [-pi, pi).
inline float wrap_angle(float x) {
  const float pi = 0x1.921fb6p+1f, two_pi = 0x1.921fb6p+2f;
  const float t = max(-0x1p20f, min(0x1p20f, x));
  const float shifter = 0x1.8p23f;
  const float n = fma(t, 0x1.45f306p-3f, shifter) - shifter;
  float r = fma(n, -0x1.920000p+2f, t);
  r = fma(n, -0x1.fb5000p-10f, r);
  r = fma(n, -0x1.110b46p-24f, r);
  r = r < pi ? r : r - two_pi;
  r = -pi <= r ? r : r + two_pi;
  return -pi <= x && x < pi ? x : r;
}

/// An entry for each column, or null where no column has the step.
struct columns {
  const float *policy;     // of a missing value: 0 reject, 1 leave out, 2 replace
  const float *imputed;    // with policy
  const float *absent;     // 1: an exact 0 is an absent object's
  const float *low, *high; // clip
  const float *wrapped;    // 1: an angle
  const float *logged;     // 1: signed_log1p
};

/// The standardised row. keep: 0 where the term leaves the loss; missed: was a missing value left
/// out or replaced; false if a feature is not finite and not dealt with.
template <int N>
inline bool prepare(const float *features, const columns &c, const float *mean,
                    const float *inverse_scale, float *x, float *keep, bool *missed) {
  float bad = 0.0f;
  *missed = false;
  for (int j = 0; j < N; ++j) {
    float v = features[j];
    bool counts = true;
    const float lost = c.policy && !(__builtin_fabsf(v) <= FLT_MAX) ? c.policy[j] : 0.0f;
    if (0.0f < lost) {
      *missed = true;
      v = c.imputed[j];
      counts = !(lost < 1.5f);
    } else {
      bad = fma(v, 0.0f, bad);
    }
    if (c.absent && __builtin_fabsf(v) <= 0.0f && 0.0f < c.absent[j])
      counts = false;
    if (c.low)
      v = max(c.low[j], min(c.high[j], v));
    if (c.wrapped && 0.0f < c.wrapped[j])
      v = wrap_angle(v);
    if (c.logged && 0.0f < c.logged[j])
      v = signed_log1p(v);
    keep[j] = counts ? 1.0f : 0.0f;
    x[j] = counts ? (v - mean[j]) * inverse_scale[j] : 0.0f;
  }
  return bad == 0.0f;
}
