
// ---- Losses beside the squared error, and terms that may be left out.

/// ln(1 + t) for t in [0, 1].
inline float log1p_unit(float t) {
  const bool small = t <= 0.5f;
  return log_reduced(small ? 0.0f : 1.0f, small ? t : (t - 1.0f) * 0.5f);
}
inline float softplus(float x) { return max(0.0f, x) + log1p_unit(exp(0.0f - __builtin_fabsf(x))); }

struct absolute_error {
  float add(float x, float y, float sum) const { return sum + __builtin_fabsf(y - x); }
};
struct huber {
  float delta;
  float add(float x, float y, float sum) const {
    const float d = __builtin_fabsf(y - x), q = min(delta, d);
    return fma(q, fma(-0.5f, q, d), sum);
  }
};
/// y is a logit; of an x beyond [0, 1] the cross entropy of the nearest end, and 1/2 of the squared
/// distance from there.
struct bce_with_logits {
  float add(float x, float y, float sum) const {
    const float c = max(0.0f, min(1.0f, x)), beyond = x - c;
    return sum + fma(0.5f * beyond, beyond, fma(0.0f - c, y, softplus(y)));
  }
};

/// sum_terms of a loss. keep: null, or 0 where the term leaves the loss, whose partial sum stays.
template <int N, class Loss>
inline float sum_loss(Loss loss, const float *x, const float *y, const float *keep) {
  float partial[16] = {};
  for (int j = 0; j < N; ++j) {
    const float sum = loss.add(x[j], y[j], partial[j % 16]);
    partial[j % 16] = keep && !(0.0f < keep[j]) ? partial[j % 16] : sum;
  }
  for (int half = 8; half > 0; half /= 2)
    for (int i = 0; i < half; ++i)
      partial[i] += partial[i + half];
  return partial[0];
}
