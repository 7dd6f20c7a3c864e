
// ---- Columns held within a range.

/// bound * tanh(in) + center where the bound is positive, else in. All: [N].
template <int N>
inline void hold(const float *in, float *out, const float *bound, const float *center) {
  for (int j = 0; j < N; ++j)
    out[j] = 0.0f < bound[j] ? fma(bound[j], tanh_of(in[j]), center[j]) : in[j];
}
