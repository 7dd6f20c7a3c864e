
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
inline int smaller(int a, int b) { return a < b ? a : b; }
inline int larger(int a, int b) { return a > b ? a : b; }

/// Output o reads o * Stride - Padding + k at kernel position k.
template <int From, int Kernel, int Stride, int Padding> struct forward {
  static constexpr int kernel = Kernel;
  static constexpr int kernel_step = 1;                // from tap to tap
  static constexpr int input_step = 1;                 // and of what they read
  static constexpr int out_step = 1, in_step = Stride; // to the next output and to its input
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

#define VAELOCITY_INLINE __attribute__((always_inline))
/// Eight channels of a pixel. As a loop over an array of floats the sums would live in memory.
typedef float lanes __attribute__((vector_size(32)));
typedef float unaligned __attribute__((vector_size(32), aligned(4), may_alias));
VAELOCITY_INLINE inline void add_products(float a, const lanes &b, lanes &sum) {
  lanes made = {};
  for (int i = 0; i < 8; ++i)
    made[i] = fma(a, b[i], sum[i]);
  sum = made;
}
template <int I> struct index {
  static constexpr int value = I;
};
/// f(index<0>{}), ..., f(index<N - 1>{}), written out.
template <int N, int I = 0, class F> VAELOCITY_INLINE inline void repeat(F f) {
  if constexpr (I < N) {
    f(index<I>{});
    repeat<N, I + 1>(f);
  }
}

/// How many outputs from o on, out_step apart, have the same window.
template <class Axis> inline int alike(int o, int outputs) {
  const taps window = Axis::of(o);
  int n = 1;
  for (; o + n * Axis::out_step < outputs; ++n) {
    const taps next = Axis::of(o + n * Axis::out_step);
    if (next.first != window.first || next.count != window.count)
      break;
  }
  return n;
}

/// Outputs with the same window, columns of them in a row: where the first one reads and writes,
/// and which one is next.
struct run {
  taps y, x;
  int out_row, out_column, columns, row, column;
};

/// The next P outputs of a run, 8 V channels of each. One chain per sum: the bias, then the taps in
/// the order of (kernel y, kernel x, input channel). weight: [y][x][in][8 V].
template <class In, class Out, class Y, class X, int P, int V>
inline void conv_block(run &r, const float *in, float *out, const float *weight,
                       const float *bias) {
  const float *from[P];
  float *to[P];
  for (int p = 0; p < P; ++p) {
    const int in_row = r.y.at + r.row * Y::in_step, in_column = r.x.at + r.column * X::in_step;
    const int row = r.out_row + r.row * Y::out_step, column = r.out_column + r.column * X::out_step;
    from[p] = in + (in_row * In::width + in_column) * In::pixel;
    to[p] = out + (row * Out::width + column) * Out::pixel;
    r.column = r.column + 1 < r.columns ? r.column + 1 : 0;
    r.row += r.column == 0;
  }
  lanes sum[P * V], by[V];
  repeat<P * V>([&](auto i) VAELOCITY_INLINE {
    sum[i.value] = *reinterpret_cast<const unaligned *>(bias + i.value % V * 8);
  });
  for (int ty = 0; ty < r.y.count; ++ty)
    for (int tx = 0; tx < r.x.count; ++tx) {
      const int ky = r.y.first + ty * Y::kernel_step, kx = r.x.first + tx * X::kernel_step;
      const int tap = (ty * Y::input_step * In::width + tx * X::input_step) * In::pixel;
      const float *w = weight + (ky * X::kernel + kx) * In::channels * 8 * V;
      for (int c = 0; c < In::channels; ++c, w += 8 * V) {
        repeat<V>([&](auto v) VAELOCITY_INLINE {
          by[v.value] = *reinterpret_cast<const unaligned *>(w + v.value * 8);
        });
        repeat<P * V>([&](auto i) VAELOCITY_INLINE {
          add_products(from[i.value / V][tap + c * In::channel], by[i.value % V], sum[i.value]);
        });
      }
    }
  repeat<P * V>([&](auto i) VAELOCITY_INLINE {
    *reinterpret_cast<unaligned *>(to[i.value / V] + i.value % V * 8) = sum[i.value];
  });
}

/// The next n outputs of a run: P at a time, then halves of it.
template <class In, class Out, class Y, class X, int P, int V>
inline void conv_run(run &r, int n, const float *in, float *out, const float *weight,
                     const float *bias) {
  for (; n >= P; n -= P)
    conv_block<In, Out, Y, X, P, V>(r, in, out, weight, bias);
  if constexpr (P > 1)
    conv_run<In, Out, Y, X, P / 2, V>(r, n, in, out, weight, bias);
}

/// in: of either kind, out: pixels. weight: [blocks][y][x][in][channel_block], bias: [blocks][...].
template <class In, class Out, class Y, class X>
inline void conv(const float *in, float *out, const float *weight, const float *bias) {
  constexpr int C = channel_block(Out::channels), P = places_together(C);
  for (int y = 0; y < Y::out_step; ++y)
    for (int oy = y, rows = 0; oy < Out::height; oy += rows * Y::out_step) {
      rows = alike<Y>(oy, Out::height);
      for (int x = 0; x < X::out_step; ++x)
        for (int ox = x, columns = 0; ox < Out::width; ox += columns * X::out_step) {
          columns = alike<X>(ox, Out::width);
          for (int c = 0; c < Out::columns; c += C) {
            run r = {Y::of(oy), X::of(ox), oy, ox, columns, 0, 0};
            conv_run<In, Out, Y, X, P, C / 8>(r, rows * columns, in, out + c,
                                              weight + c * Y::kernel * X::kernel * In::channels,
                                              bias + c);
          }
        }
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
  constexpr float inverse = 1.0f / static_cast<float>(Y::kernel * X::kernel);
  for (int oy = 0; oy < Out::height; ++oy)
    for (int ox = 0; ox < Out::width; ++ox) {
      const taps y = Y::of(oy), x = X::of(ox);
      float value[In::columns];
      const float *first = in + (y.at * In::width + x.at) * In::pixel;
      for (int c = 0; c < In::columns; ++c)
        value[c] = first[c * In::channel];
      for (int t = 1; t < y.count * x.count; ++t) {
        const float *from = first + (t / x.count * In::width + t % x.count) * In::pixel;
        for (int c = 0; c < In::columns; ++c)
          value[c] = Pool::join(value[c], from[c * In::channel]);
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
#undef VAELOCITY_INLINE
