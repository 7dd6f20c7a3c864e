
// ---- Layer norm, and the sum of two steps.

struct plain_term {
  static float add(float x, float, float sum) { return sum + x; }
};

/// Each of Groups equal pieces of N values by itself. in, out, gain, bias: [N].
template <int N, int Groups>
inline void layer_norm(const float *in, float *out, const float *gain, const float *bias,
                       float epsilon) {
  constexpr int n = N / Groups;
  for (int first = 0; first < N; first += n) {
    const float *x = in + first;
    float *y = out + first;
    const float mean = sum_terms<plain_term, n>(x, x) / static_cast<float>(n);
    for (int j = 0; j < n; ++j)
      y[j] = x[j] - mean;
    const float variance = sum_terms<mu2_term, n>(y, y) / static_cast<float>(n);
    const float inverse = 1.0f / __builtin_sqrtf(variance + epsilon);
    for (int j = 0; j < n; ++j)
      y[j] = fma(y[j] * inverse, gain[first + j], bias[first + j]);
  }
}

template <int N> inline void residual(const float *in, const float *other, float *out) {
  for (int j = 0; j < N; ++j)
    out[j] = in[j] + other[j];
}
