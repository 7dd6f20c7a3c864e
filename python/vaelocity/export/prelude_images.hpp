
// ---- Convolutions, transposed ones and pools: loops over the output's pixels, each with the taps
// of its window that lie inside the image.

/// Channels computed together, a multiple of 8: in blocks of nearly one width, of at most `block`.
constexpr int channel_blocks(int channels) { return (channels + block - 1) / block; }
constexpr int channel_block(int channels) {
  const int blocks = channel_blocks(channels), widest = (channels + blocks - 1) / blocks;
  return (widest + 7) / 8 * 8;
}
/// So many neighbouring pixels together that their sums fill the registers of AVX2.
constexpr int places_together(int channels) {
  return channels == 8 ? 8 : channels == 16 ? 6 : channels == 24 ? 4 : 3;
}

/// An image in memory: channel c of pixel p is at p * pixel + c * channel. planes: channel after
/// channel, as in a row of the file. pixels: pixel after pixel, with room for whole blocks.
template <int Channels, int Height, int Width> struct planes {
  static constexpr int channels = Channels, height = Height, width = Width;
  static constexpr int columns = Channels, pixel = 1, channel = Height * Width;
};
template <int Channels, int Height, int Width> struct pixels {
  static constexpr int channels = Channels, height = Height, width = Width;
  static constexpr int columns = channel_blocks(Channels) * channel_block(Channels);
  static constexpr int pixel = columns, channel = 1;
};

/// Of an output's window in one direction: its first kernel position inside the image, how many
/// there are, and the input that the first one reads.
struct taps {
  int first, count, at;
};
inline bool same_window(taps a, taps b) { return a.first == b.first && a.count == b.count; }
inline int smaller(int a, int b) { return a < b ? a : b; }
inline int larger(int a, int b) { return a > b ? a : b; }

/// Output o reads o * Stride - Padding + k at kernel position k.
template <int From, int Kernel, int Stride, int Padding> struct forward {
  static constexpr int kernel = Kernel;
  static constexpr int kernel_step = 1;                  // from tap to tap
  static constexpr int input_step = 1;                   // and of what they read
  static constexpr int out_step = 1, in_step = Stride;   // to the next output and to its input
  static taps of(int o) {
    const int begin = o * Stride - Padding, first = larger(0, -begin);
    return {first, larger(0, smaller(Kernel, From - begin) - first), begin + first};
  }
};
/// Transposed: input i reaches output i * Stride - Padding + k. Seen from the output.
template <int From, int Kernel, int Stride, int Padding> struct backward {
  static constexpr int kernel = Kernel;
  static constexpr int kernel_step = Stride, input_step = -1;
  static constexpr int out_step = Stride, in_step = 1;
  static taps of(int o) {
    const int end = o + Padding, first = larger(end % Stride, end - (From - 1) * Stride);
    const int last = smaller(Kernel - 1, end);
    return {first, last < first ? 0 : (last - first) / Stride + 1, (end - first) / Stride};
  }
};

/// P outputs of one row and one kind of window, C channels of each. One chain per sum: the bias,
/// then the taps in the order of (kernel y, kernel x, input channel). weight: [y][x][in][C].
template <class In, class Out, class Y, class X, int P, int C>
inline void conv_block(const float *in, float *out, const float *weight, const float *bias, taps y,
                       taps x) {
  float sum[P][C];
  for (int p = 0; p < P; ++p)
    for (int c = 0; c < C; ++c)
      sum[p][c] = bias[c];
  for (int ty = 0; ty < y.count; ++ty)
    for (int tx = 0; tx < x.count; ++tx) {
      const int row = y.at + ty * Y::input_step, column = x.at + tx * X::input_step;
      const int ky = y.first + ty * Y::kernel_step, kx = x.first + tx * X::kernel_step;
      const float *from = in + (row * In::width + column) * In::pixel;
      const float *w = weight + (ky * X::kernel + kx) * In::channels * C;
      for (int i = 0; i < In::channels; ++i)
        for (int p = 0; p < P; ++p)
          for (int c = 0; c < C; ++c)
            sum[p][c] = fma(from[i * In::channel + p * X::in_step * In::pixel], w[i * C + c],
                            sum[p][c]);
    }
  for (int p = 0; p < P; ++p)
    for (int c = 0; c < C; ++c)
      out[p * X::out_step * Out::pixel + c] = sum[p][c];
}

/// n such outputs: P at a time, then halves of it.
template <class In, class Out, class Y, class X, int P, int C>
inline void conv_run(int n, const float *in, float *out, const float *weight, const float *bias,
                     taps y, taps x) {
  for (; n >= P; n -= P, x.at += P * X::in_step, out += P * X::out_step * Out::pixel)
    conv_block<In, Out, Y, X, P, C>(in, out, weight, bias, y, x);
  if constexpr (P > 1)
    conv_run<In, Out, Y, X, P / 2, C>(n, in, out, weight, bias, y, x);
}

/// in: of either kind, out: pixels. weight: [blocks][y][x][in][C], bias: [blocks][C].
template <class In, class Out, class Y, class X>
inline void conv(const float *in, float *out, const float *weight, const float *bias) {
  constexpr int C = channel_block(Out::channels), P = places_together(C);
  for (int oy = 0; oy < Out::height; ++oy)
    for (int start = 0; start < X::out_step; ++start)
      for (int ox = start, n = 0; ox < Out::width; ox += n * X::out_step) {
        const taps x = X::of(ox);
        for (n = 1; ox + n * X::out_step < Out::width; ++n)
          if (!same_window(x, X::of(ox + n * X::out_step)))
            break;
        for (int c = 0; c < Out::columns; c += C)
          conv_run<In, Out, Y, X, P, C>(n, in, out + (oy * Out::width + ox) * Out::pixel + c,
                                        weight + c * Y::kernel * X::kernel * In::channels, bias + c,
                                        Y::of(oy), x);
      }
}

/// The largest of a window; NaN as soon as one is.
struct max_pool {
  static float join(float a, float b) { return a != a || b < a ? a : b; }
  static float finish(float value, float) { return value; }
};
/// The sum of a window times 1 / window, pixels outside the image counted in.
struct average_pool {
  static float join(float a, float b) { return a + b; }
  static float finish(float value, float inverse) { return value * inverse; }
};

/// in and out: of one kind. The window in the order of (kernel y, kernel x).
template <class Pool, class In, class Out, class Y, class X>
inline void pool(const float *in, float *out) {
  constexpr float inverse = 1.0f / (Y::kernel * X::kernel);
  for (int oy = 0; oy < Out::height; ++oy)
    for (int ox = 0; ox < Out::width; ++ox) {
      const taps y = Y::of(oy), x = X::of(ox);
      float value[In::columns];
      for (int t = 0; t < y.count * x.count; ++t) {
        const int row = y.at + t / x.count, column = x.at + t % x.count;
        const float *from = in + (row * In::width + column) * In::pixel;
        for (int c = 0; c < In::columns; ++c)
          value[c] = t == 0 ? from[c * In::channel] : Pool::join(value[c], from[c * In::channel]);
      }
      for (int c = 0; c < In::columns; ++c)
        out[(oy * Out::width + ox) * Out::pixel + c * Out::channel] =
            Pool::finish(value[c], inverse);
    }
}

/// From pixels to planes.
template <class In> inline void to_planes(const float *in, float *out) {
  for (int c = 0; c < In::channels; ++c)
    for (int p = 0; p < In::height * In::width; ++p)
      out[c * In::height * In::width + p] = in[p * In::pixel + c];
}
