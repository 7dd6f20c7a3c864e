// Pooling. Both kinds go through the window in the order of (kernel y, kernel x), pixels outside
// the image left out:
//
//   average   sum = in[first];  sum = sum + in[tap] for the others;  out = sum * (1 / window)
//   maximum   the largest; NaN as soon as one is
//
// then the activation. 1 / window is rounded to float32 once; a window counts the pixels that are
// outside.
#pragma once

#include "score/kernels/conv.h"

namespace vael::VAEL_ISA {

/// The larger, NaN if either is.
inline Vec larger(Vec a, Vec b) {
  const Vec most = select(less(b, a), a, b); // b where b is NaN
  return select(less_equal(a, a), most, a);
}
inline float larger(float a, float b) { return a != a || b < a ? a : b; }

/// The window at `at`, of Vec::lanes neighbours; tap.in * stride floats from tap to tap.
inline Vec pool_window(const Run &run, const float *at, ptrdiff_t stride, bool maximum,
                       float inverse) {
  Vec value = load(at + run.taps[0].in * stride);
  if (maximum) {
    for (int t = 1; t < run.n_taps; ++t)
      value = larger(value, load(at + run.taps[t].in * stride));
    return value;
  }
  for (int t = 1; t < run.n_taps; ++t)
    value = value + load(at + run.taps[t].in * stride);
  return value * set(inverse);
}

/// The same of one pixel.
inline float pool_window_one(const Run &run, const float *at, bool maximum, float inverse) {
  float value = at[run.taps[0].in];
  if (maximum) {
    for (int t = 1; t < run.n_taps; ++t)
      value = larger(value, at[run.taps[t].in]);
    return value;
  }
  for (int t = 1; t < run.n_taps; ++t)
    value = value + at[run.taps[t].in];
  return value * inverse;
}

/// A tile of rows. in: [layer.in][tile], out: [layer.out][tile].
inline void pool_tile(const Layer &layer, const float *in, float *out, int tile, int rows) {
  const Stencil &s = *layer.stencil;
  const bool relu = layer.activation == Activation::relu;
  const bool maximum = layer.kind == StepKind::max_pool;
  const ptrdiff_t from = s.in_by_pixel ? 1 : s.in_pixels;
  const ptrdiff_t to = s.out_by_pixel ? 1 : s.out_pixels;
  const ptrdiff_t pixel = s.out_by_pixel ? s.out_channels : 1;
  for (const Run *run = s.runs; run < s.runs + s.n_runs; ++run)
    for (int p = 0; p < run->n_places; ++p)
      for (int c = 0; c < s.out_channels; ++c) {
        const float *window = in + (run->places[p].in + c * from) * tile;
        float *target = out + (run->places[p].out * pixel + c * to) * tile;
        for (int r = 0; r < rows; r += Vec::lanes)
          store(target + r, finish(pool_window(*run, window + r, tile, maximum, s.inverse), relu));
      }
  for (int j = 0; j < layer.out; ++j)
    activate(layer, out + static_cast<ptrdiff_t>(j) * tile, rows);
}

/// One row, an image held by pixel: the channels are in the vector.
inline void pool_by_pixel(const Layer &layer, const float *in, float *out) {
  const Stencil &s = *layer.stencil;
  const bool maximum = layer.kind == StepKind::max_pool;
  for (const Run *run = s.runs; run < s.runs + s.n_runs; ++run)
    for (int p = 0; p < run->n_places; ++p)
      for (int c = 0; c < s.out_channels; c += Vec::lanes) {
        const Vec value = pool_window(*run, in + run->places[p].in + c, 1, maximum, s.inverse);
        const int left = s.out_channels - c;
        float *target = out + run->places[p].out * s.out_channels + c;
        if (left >= Vec::lanes)
          store(target, value);
        else
          store_first(target, value, left);
      }
}

/// One row, an image held by channel: pixel after pixel.
inline void pool_by_channel(const Layer &layer, const float *in, float *out) {
  const Stencil &s = *layer.stencil;
  const bool maximum = layer.kind == StepKind::max_pool;
  for (const Run *run = s.runs; run < s.runs + s.n_runs; ++run)
    for (int c = 0; c < s.out_channels; ++c)
      for (int p = 0; p < run->n_places; ++p)
        out[c * s.out_pixels + run->places[p].out] =
            pool_window_one(*run, in + c * s.in_pixels + run->places[p].in, maximum, s.inverse);
}

/// One row. in: [layer.in], readable up to 16 floats beyond, out and scratch likewise.
inline void pool_one(const Layer &layer, const float *in, float *out, float *scratch) {
  const Stencil &s = *layer.stencil;
  if (!s.in_by_pixel) {
    pool_by_channel(layer, in, out);
  } else if (s.out_by_pixel) {
    pool_by_pixel(layer, in, out);
  } else {
    pool_by_pixel(layer, in, scratch);
    to_channels(scratch, out, s.out_pixels, s.out_channels);
  }
  if (layer.activation == Activation::relu)
    map(out, padded(layer.out), [](Vec x) { return finish(x, true); });
  activate(layer, out, padded(layer.out));
}

} // namespace vael::VAEL_ISA
