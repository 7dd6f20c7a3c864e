// ---- What every exported network is made of. Same operations in the same order as the library's
// kernels (csrc/src/simd/math.h, csrc/src/score/kernels), so the same bits.

/// Outputs computed together: two chains of 32 fit the registers of AVX2 and of AVX-512.
constexpr int block = 32;
constexpr int padded(int n) { return (n + block - 1) / block * block; }

inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline std::uint32_t bits(float x) {
  std::uint32_t u = 0;
  std::memcpy(&u, &x, sizeof(u));
  return u;
}
inline float from_bits(std::uint32_t u) {
  float x = 0;
  std::memcpy(&x, &u, sizeof(x));
  return x;
}
/// Of a NaN and a number, b: as the vector instructions do.
inline float min(float a, float b) { return a < b ? a : b; }
inline float max(float a, float b) { return a > b ? a : b; }
inline float exp2_int(std::uint32_t n) { return from_bits((n + 127u) << 23); }

/// x = n ln 2 + r with |r| <= ln 2 / 2.
struct Reduced {
  std::uint32_t n;
  float r;
};
inline Reduced reduce_ln2(float x) {
  const float shifter = 0x1.8p23f;
  const float shifted = fma(x, 0x1.715476p+0f, shifter);
  const float n = shifted - shifter;
  float r = fma(n, -0x1.62e400p-1f, x);
  r = fma(n, -0x1.7f7d1cp-20f, r);
  return {bits(shifted) - bits(shifter), r};
}
inline float expm1_reduced(float r) {
  float q = 0x1.6dc4c6p-10f;
  q = fma(q, r, 0x1.12475ap-7f);
  q = fma(q, r, 0x1.55544ap-5f);
  q = fma(q, r, 0x1.55547ep-3f);
  q = fma(q, r, 0.5f);
  return fma(r * r, q, r);
}
inline float exp(float x) {
  const Reduced d = reduce_ln2(max(-105.0f, min(89.0f, x)));
  const float p = expm1_reduced(d.r) + 1.0f;
  const std::uint32_t half = static_cast<std::uint32_t>(static_cast<std::int32_t>(d.n) >> 1);
  return p * exp2_int(half) * exp2_int(d.n - half);
}
inline float expm1(float x) {
  const Reduced d = reduce_ln2(max(-18.0f, min(89.0f, x)));
  const float p = expm1_reduced(d.r);
  const float half = exp2_int(d.n - 1u);
  const float result = fma(half, p, half - 0.5f) * 2.0f;
  return __builtin_fabsf(x) < 0x1p-25f ? x : result;
}
/// n ln 2 + ln(1 + f) for f in [-1/4, 1/2].
inline float log_reduced(float n, float f) {
  float p = -0x1.5f53fep-5f;
  p = fma(p, f, 0x1.a100f6p-4f);
  p = fma(p, f, -0x1.0b99a2p-3f);
  p = fma(p, f, 0x1.28d1f0p-3f);
  p = fma(p, f, -0x1.552f84p-3f);
  p = fma(p, f, 0x1.996df8p-3f);
  p = fma(p, f, -0x1.fffeb8p-3f);
  p = fma(p, f, 0x1.555588p-2f);
  const float f2 = f * f;
  const float r = fma(n, 0x1.7f7d1cp-20f, fma(f2 * f, p, -0.5f * f2));
  return fma(n, 0x1.62e400p-1f, r + f);
}
inline float erf_of(float x) {
  const float t = min(4.0f, __builtin_fabsf(x));
  const float s = t * t;
  float q = fma(-1.72853470e-5f, t, 3.83197126e-4f);
  q = fma(q, s, fma(-3.88396438e-3f, t, 2.42546219e-2f));
  q = fma(q, t, -1.06777877e-1f);
  q = fma(q, t, -6.34846687e-1f);
  q = fma(q, t, -1.28717512e-1f);
  q = fma(q, t, 0.0f - t);
  const float far = 1.0f - exp(q);
  float p = -5.96761703e-4f;
  p = fma(p, s, 4.99119423e-3f);
  p = fma(p, s, -2.67681349e-2f);
  p = fma(p, s, 1.12819925e-1f);
  p = fma(p, s, -3.76125336e-1f);
  p = fma(p, s, 1.28379166e-1f);
  const float near = fma(p, t, t);
  return __builtin_copysignf(t < 0.927734375f ? near : far, x);
}
inline float sigmoid_of(float x) {
  const float t = exp(0.0f - __builtin_fabsf(x));
  return (x < 0.0f ? t : 1.0f) / (1.0f + t);
}
inline float tanh_of(float x) {
  const float m = expm1(min(10.0f, __builtin_fabsf(x)) * 2.0f);
  return __builtin_copysignf(m / (m + 2.0f), x);
}

struct identity {
  float operator()(float x) const { return x; }
};
struct relu {
  float operator()(float x) const { return max(0.0f, x); }
};
struct leaky_relu {
  float slope;
  float operator()(float x) const { return 0.0f < x ? x : x * slope; }
};
struct tanh {
  float operator()(float x) const { return tanh_of(x); }
};
struct sigmoid {
  float operator()(float x) const { return sigmoid_of(x); }
};
struct elu {
  float operator()(float x) const { return 0.0f < x ? x : expm1(x); }
};
struct silu {
  float operator()(float x) const { return x * sigmoid_of(x); }
};
struct gelu {
  float operator()(float x) const { return x * 0.5f * (1.0f + erf_of(x * 0x1.6a09e6p-1f)); }
};

/// Up to `block` outputs: even inputs in one chain that begins with the bias, odd ones in another.
/// weight: [In][block].
template <int In>
inline void dense_block(const float *in, float *out, const float *weight, const float *bias) {
  float even[block], odd[block];
  for (int j = 0; j < block; ++j) {
    even[j] = bias[j];
    odd[j] = 0.0f;
  }
  for (int k = 0; k + 1 < In; k += 2) {
    for (int j = 0; j < block; ++j)
      even[j] = fma(in[k], weight[k * block + j], even[j]);
    for (int j = 0; j < block; ++j)
      odd[j] = fma(in[k + 1], weight[(k + 1) * block + j], odd[j]);
  }
  if constexpr (In % 2 == 1)
    for (int j = 0; j < block; ++j)
      even[j] = fma(in[In - 1], weight[(In - 1) * block + j], even[j]);
  for (int j = 0; j < block; ++j)
    out[j] = even[j] + odd[j];
}

/// One layer. in: [In], out: [padded(Out)], weight: [padded(Out) / block][In][block].
template <int In, int Out>
inline void dense(const float *in, float *out, const float *weight, const float *bias) {
  for (int j = 0; j < padded(Out); j += block)
    dense_block<In>(in, out + j, weight + j * In, bias + j);
}

template <int N, class Activation> inline void activate(float *values, Activation activation) {
  for (int j = 0; j < N; ++j)
    values[j] = activation(values[j]);
}

struct squared_error {
  static float add(float x, float y, float sum) { return fma(y - x, y - x, sum); }
};
struct kl_term {
  static float add(float mu, float logvar, float sum) {
    return sum + fma(mu, mu, expm1(logvar) - logvar);
  }
};
struct mu2_term {
  static float add(float mu, float, float sum) { return fma(mu, mu, sum); }
};
struct rz_term {
  static float add(float mu, float logvar, float sum) { return sum + mu * mu * exp(0.0f - logvar); }
};

/// Term j goes to partial sum j mod 16; then i and i + 8 are added, i and i + 4, i + 2, i + 1.
template <class Term, int N> inline float sum_terms(const float *a, const float *b) {
  float partial[16] = {};
  for (int j = 0; j < N; ++j)
    partial[j % 16] = Term::add(a[j], b[j], partial[j % 16]);
  for (int half = 8; half > 0; half /= 2)
    for (int i = 0; i < half; ++i)
      partial[i] += partial[i + half];
  return partial[0];
}

/// x = (features - mean) * inverse_scale; false if a feature is not finite.
template <int N>
inline bool standardize(const float *features, const float *mean, const float *inverse_scale,
                        float *x) {
  float bad = 0.0f;
  for (int j = 0; j < N; ++j) {
    bad = fma(features[j], 0.0f, bad);
    x[j] = (features[j] - mean[j]) * inverse_scale[j];
  }
  return bad == 0.0f;
}
