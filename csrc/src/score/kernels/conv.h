// Convolution and transposed convolution, thrice: rows in the vector (many rows), and for one row
// output channels in the vector, or neighbouring output pixels where there are few channels.
//
// To a kernel both are the same: an output pixel has a list of taps, the products of its sum that
// lie inside the image (stencil.cpp makes the lists). All follow the one summation order:
//
//   sum = bias[c];  for the taps in the order of (kernel y, kernel x, input channel):
//     sum = fma(in[tap], weight[tap][c], sum)
//   out[c][pixel] = activation(sum)
//
// One chain and not two as in dense.h: with several channels or pixels at once there are always
// sums enough to fill the four cycles of an fma.
#pragma once

#include "score/kernels/activation.h"
#include "score/kernels/dense.h"
#include "score/plan.h"
#include "simd/repeat.h"

namespace vael::VAEL_ISA {

// ---- Rows in the vector

/// Of 16 registers 12 hold sums, of 32 up to 24.
#if defined(VAEL_ISA_AVX512) || defined(VAEL_ISA_NEON)
constexpr int conv_block_channels = 12;
#else
constexpr int conv_block_channels = 6;
#endif

/// Places at once, so that few channels still make eight sums.
constexpr int places_for(int channels) {
  return channels == 1 ? 4 : channels <= conv_block_channels / 2 ? 2 : 1;
}

/// J channels of P places of one run, for one group of rows. in: [features][tile];
/// out: channel j of pixel p at (p * pixel + j * channel) floats.
template <int P, int J>
inline void conv_block(const Run &run, const Place *places, const float *in, float *out, int tile,
                       ptrdiff_t pixel, ptrdiff_t channel, const float *weights, const float *bias,
                       bool relu) {
  constexpr int V = group_vectors;
  Vec sum[J * P * V], x[P * V];
  const float *at[P];
  repeat<P>([&](auto p) VAEL_INLINE {
    at[p.value] = in + static_cast<ptrdiff_t>(places[p.value].in) * tile;
  });
  repeat<J * P * V>([&](auto i) VAEL_INLINE { sum[i.value] = set(bias[i.value / (P * V)]); });
  for (int t = 0; t < run.n_taps; ++t) {
    const Tap tap = run.taps[t];
    const float *w = weights + static_cast<ptrdiff_t>(tap.weight) * J;
    const ptrdiff_t offset = static_cast<ptrdiff_t>(tap.in) * tile;
    repeat<P * V>([&](auto i) VAEL_INLINE {
      x[i.value] = load(at[i.value / V] + offset + i.value % V * Vec::lanes);
    });
    repeat<J>([&](auto j) VAEL_INLINE {
      const Vec broadcast = set(w[j.value]);
      repeat<P * V>([&](auto i) VAEL_INLINE {
        Vec &s = sum[decltype(j)::value * P * V + i.value];
        s = fma(x[i.value], broadcast, s);
      });
    });
  }
  repeat<J * P * V>([&](auto i) VAEL_INLINE {
    constexpr int j = i.value / (P * V), p = i.value / V % P, v = i.value % V;
    store(out + places[p].out * pixel + j * channel + v * Vec::lanes, finish(sum[i.value], relu));
  });
}

/// conv_block for a number of channels known only at run time, 1 .. J, and any number of places.
template <int J>
inline void conv_places(int channels, const Run &run, const Place *places, int n, const float *in,
                        float *out, int tile, ptrdiff_t pixel, ptrdiff_t channel,
                        const float *weights, const float *bias, bool relu) {
  if constexpr (J > 1)
    if (channels < J)
      return conv_places<J - 1>(channels, run, places, n, in, out, tile, pixel, channel, weights,
                                bias, relu);
  constexpr int P = places_for(J);
  int p = 0;
  for (; p + P <= n; p += P)
    conv_block<P, J>(run, places + p, in, out, tile, pixel, channel, weights, bias, relu);
  if constexpr (P > 1)
    for (; p < n; ++p)
      conv_block<1, J>(run, places + p, in, out, tile, pixel, channel, weights, bias, relu);
}

/// A tile of rows. in: [layer.in][tile], out: [layer.out][tile]; rows: a multiple of group_rows.
///
/// All channels of a place before the next place: its window is read from L1 by every block but the
/// first.
inline void conv_tile(const Layer &layer, const float *in, float *out, int tile, int rows) {
  const Stencil &s = *layer.stencil;
  const bool relu = layer.activation == Activation::relu;
  const ptrdiff_t pixel = (s.out_by_pixel ? s.out_channels : 1) * static_cast<ptrdiff_t>(tile);
  const ptrdiff_t channel = (s.out_by_pixel ? 1 : s.out_pixels) * static_cast<ptrdiff_t>(tile);
  const int blocks = (s.out_channels + conv_block_channels - 1) / conv_block_channels;
  const int together = places_for(s.out_channels / blocks);
  for (const Run *run = s.runs; run < s.runs + s.n_runs; ++run)
    for (int r = 0; r < rows; r += group_rows)
      for (int p = 0; p < run->n_places; p += together) {
        const int n = run->n_places - p < together ? run->n_places - p : together;
        for (int b = 0; b < blocks; ++b) {
          const int first = block_start(s.out_channels, blocks, b);
          const int channels = block_start(s.out_channels, blocks, b + 1) - first;
          conv_places<conv_block_channels>(
              channels, *run, run->places + p, n, in + r, out + first * channel + r, tile, pixel,
              channel, layer.by_block + static_cast<ptrdiff_t>(first) * s.weight_rows,
              layer.bias + first, relu);
        }
      }
  for (int j = 0; j < layer.out; ++j)
    activate(layer, out + static_cast<ptrdiff_t>(j) * tile, rows);
}

// ---- One row, output channels in the vector

/// Sixteen channels in so many vectors.
constexpr int channel_vectors = row_padding / Vec::lanes;
#if defined(VAEL_ISA_AVX512)
constexpr int places_together = 8;
#else
constexpr int places_together = 6;
#endif

/// V vectors of channels of P places. out: by pixel; the last vector may hold fewer channels.
template <int P, int V>
inline void conv_channels(const Run &run, const Place *places, const float *in, float *out,
                          ptrdiff_t pixel, const float *weights, const float *bias, int channels,
                          bool relu) {
  Vec sum[P * V], weight[V];
  const float *at[P];
  repeat<P>([&](auto p) VAEL_INLINE { at[p.value] = in + places[p.value].in; });
  repeat<P * V>([&](auto i) VAEL_INLINE { sum[i.value] = load(bias + i.value % V * Vec::lanes); });
  for (int t = 0; t < run.n_taps; ++t) {
    const Tap tap = run.taps[t];
    const float *w = weights + static_cast<ptrdiff_t>(tap.weight) * row_padding;
    repeat<V>([&](auto v) VAEL_INLINE { weight[v.value] = load(w + v.value * Vec::lanes); });
    repeat<P>([&](auto p) VAEL_INLINE {
      const Vec x = set(at[p.value][tap.in]);
      repeat<V>([&](auto v) VAEL_INLINE {
        Vec &s = sum[decltype(p)::value * V + v.value];
        s = fma(x, weight[v.value], s);
      });
    });
  }
  repeat<P * V>([&](auto i) VAEL_INLINE {
    constexpr int p = i.value / V, v = i.value % V;
    float *target = out + places[p].out * pixel + v * Vec::lanes;
    const Vec value = finish(sum[i.value], relu);
    if (channels >= (v + 1) * Vec::lanes)
      store(target, value);
    else
      store_first(target, value, channels - v * Vec::lanes);
  });
}

/// conv_channels for a number of places known only at run time, 1 .. P.
template <int P, int V>
inline void conv_channels_of(int n, const Run &run, const Place *places, const float *in,
                             float *out, ptrdiff_t pixel, const float *weights, const float *bias,
                             int channels, bool relu) {
  if constexpr (P > 1)
    if (n < P)
      return conv_channels_of<P - 1, V>(n, run, places, in, out, pixel, weights, bias, channels,
                                        relu);
  conv_channels<P, V>(run, places, in, out, pixel, weights, bias, channels, relu);
}

/// All places of a run in pieces of up to P, as even as can be: the sums of a single place would
/// wait for each other.
template <int P, int V>
inline void conv_run(const Run &run, const float *in, float *out, ptrdiff_t pixel,
                     const float *weights, const float *bias, int channels, bool relu) {
  const int pieces = (run.n_places + P - 1) / P;
  for (int b = 0; b < pieces; ++b) {
    const int p = block_start(run.n_places, pieces, b);
    conv_channels_of<P, V>(block_start(run.n_places, pieces, b + 1) - p, run, run.places + p, in,
                           out, pixel, weights, bias, channels, relu);
  }
}

/// in: either layout, out: by pixel.
inline void conv_by_channel(const Layer &layer, const float *in, float *out) {
  const Stencil &s = *layer.stencil;
  const bool relu = layer.activation == Activation::relu;
  for (const Run *run = s.runs; run < s.runs + s.n_runs; ++run)
    for (int c = 0; c < s.out_channels; c += row_padding) {
      const int left = s.out_channels - c;
      const float *weights = layer.by_output + panel_at(c, s.weight_rows);
      if (left <= Vec::lanes)
        conv_run<2 * places_together, 1>(*run, in, out + c, s.out_channels, weights, layer.bias + c,
                                         left, relu);
      else
        conv_run<places_together, channel_vectors>(*run, in, out + c, s.out_channels, weights,
                                                   layer.bias + c,
                                                   left < row_padding ? left : row_padding, relu);
    }
}

// ---- One row, output pixels in the vector

/// One channel of S strips. Lanes behind a strip's end compute what nobody reads.
template <int S>
inline void conv_strips(const Run &run, const Strip *strips, const float *in, float *out, int step,
                        const float *weights, float bias, bool relu) {
  Vec sum[S];
  const float *at[S];
  repeat<S>([&](auto s) VAEL_INLINE {
    sum[s.value] = set(bias);
    at[s.value] = in + strips[s.value].in;
  });
  for (int t = 0; t < run.n_taps; ++t) {
    const Tap tap = run.taps[t];
    const Vec weight = set(weights[static_cast<ptrdiff_t>(tap.weight) * row_padding]);
    repeat<S>([&](auto s) VAEL_INLINE {
      sum[s.value] = fma(load(at[s.value] + tap.in), weight, sum[s.value]);
    });
  }
  for (int s = 0; s < S; ++s) {
    float values[Vec::lanes];
    store(values, finish(sum[s], relu));
    for (int i = 0; i < strips[s].count; ++i)
      out[strips[s].out + i * step] = values[i];
  }
}

template <int S>
inline void conv_strips_from(int i, const Run &run, const float *in, float *out, int step,
                             const float *weights, float bias, bool relu) {
  for (; i + S <= run.n_strips; i += S)
    conv_strips<S>(run, run.strips + i, in, out, step, weights, bias, relu);
  if constexpr (S > 1)
    conv_strips_from<S / 2>(i, run, in, out, step, weights, bias, relu);
}

/// in and out: by channel.
inline void conv_by_strip(const Layer &layer, const float *in, float *out) {
  const Stencil &s = *layer.stencil;
  for (const Run *run = s.runs; run < s.runs + s.n_runs; ++run)
    for (int c = 0; c < s.out_channels; ++c)
      conv_strips_from<8>(0, *run, in, out + static_cast<ptrdiff_t>(c) * s.out_pixels, s.strip_step,
                          layer.by_output + panel_at(c, s.weight_rows), layer.bias[c],
                          layer.activation == Activation::relu);
}

/// [pixels][channels] to [channels][pixels].
inline void to_channels(const float *in, float *out, int pixels, int channels) {
  for (int p = 0; p < pixels; p += Vec::lanes)
    for (int c = 0; c < channels; c += Vec::lanes) {
      Vec square[Vec::lanes];
      for (int i = 0; i < Vec::lanes; ++i)
        square[i] = p + i < pixels ? load(in + (p + i) * channels + c) : zero();
      transpose(square);
      for (int i = 0; i < Vec::lanes && c + i < channels; ++i) {
        float *target = out + (c + i) * pixels + p;
        if (pixels - p >= Vec::lanes)
          store(target, square[i]);
        else
          store_first(target, square[i], pixels - p);
      }
    }
}

/// One row. in: [layer.in], readable up to 16 floats beyond, out and scratch likewise.
inline void conv_one(const Layer &layer, const float *in, float *out, float *scratch) {
  const Stencil &s = *layer.stencil;
  if (s.by_strip) {
    conv_by_strip(layer, in, out);
  } else if (s.out_by_pixel) {
    conv_by_channel(layer, in, out);
  } else {
    conv_by_channel(layer, in, scratch);
    to_channels(scratch, out, s.out_pixels, s.out_channels);
  }
  activate(layer, out, padded(layer.out));
}

} // namespace vael::VAEL_ISA
