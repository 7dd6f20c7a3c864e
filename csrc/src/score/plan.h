// The frozen network as the kernels see it: plain structs and pointers, no ownership.
//
// Included by units that are compiled once per instruction set, hence C headers only.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace vael {

enum class Activation { identity, relu, leaky_relu, tanh, sigmoid, elu, silu, gelu };
enum class ScoreKind { reconstruction, kl, mu2, rz, elbo, latent_reconstruction, output };
enum class Loss { squared_error, absolute_error, huber, bce_with_logits };

/// Widths are padded to this many float32 in everything the single-row kernel reads.
constexpr int row_padding = 16;
static constexpr int padded(int n) { return (n + row_padding - 1) / row_padding * row_padding; }

enum class StepKind { dense, conv, max_pool, average_pool, layer_norm, residual, bound };

/// One product of an output's sum, or one pixel of a pooling window. `in` is counted from the
/// place's, in features; `weight` is a row of the weights: (kernel y, kernel x, input channel).
struct Tap {
  int32_t in, weight;
};
/// An output pixel and where its window begins (which may be outside the image).
struct Place {
  int32_t in, out;
};
/// Up to so many neighbouring places of a run as there are lanes: lane i reads in + i and is output
/// pixel out + i * Stencil::strip_step.
struct Strip {
  int32_t in, out, count;
};
/// Places that have the same taps inside the image.
struct Run {
  const Tap *taps;
  const Place *places;
  const Strip *strips;
  int n_taps, n_places, n_strips;
};

/// How a window walks over an image, which is held by channel, as in the file (c * pixels + p), or
/// by pixel (p * channels + c).
struct Stencil {
  const Run *runs;
  int n_runs, weight_rows;
  int in_channels, in_pixels, out_channels, out_pixels;
  bool in_by_pixel, out_by_pixel;
  bool by_strip;  // one row: neighbouring pixels in the vector, not channels
  int strip_step; // output pixels from lane to lane
  float inverse;  // average_pool: 1 / pixels of the window
};

/// One step. What it computes is written in the kernels' headers: dense.h, conv.h, pool.h, norm.h,
/// bound.h.
///
/// The weights of dense and conv are held twice, each kernel's way:
///   by_output  panels of [in][16]      one row: 16 neighbouring outputs in the vector, the last
///                                      panel padded with 0; panel_at() finds an output
///   by_block   blocks of [in][block]   many rows: the rows are in the vector, the weights
///                                      broadcast; block_start() cuts the outputs
/// For conv, in and out are in these two lines the rows a Tap names and the output channels.
///
/// bfloat16: by_output of a dense step, and in fast mode by_block as well, has the weights of two
/// neighbouring inputs in the place of one float32, that of the first in the lower half; `in` above
/// is then half as many, rounded up.
struct Layer {
  StepKind kind;
  int in, out; // features
  Activation activation;
  float slope;            // leaky_relu only
  const float *bias;      // [padded(out)], conv: [padded(channels)]
  const float *by_output; // layer_norm: the gain, bound: the bounds, and so their biases:
                          // [padded(out) + 16]
  const float *by_block;
  bool bfloat16;          // dense: what the weights are
  const Stencil *stencil; // conv and pools
  float epsilon;          // layer_norm
  int groups;             // layer_norm: normalises so many equal pieces, each by itself
  int other_at;           // residual: where the other summand lies
  int in_at, out_at;      // where in the row's memory of Plan::row_floats
  int scratch_at;         // conv, max_pool, average_pool of one row; dense in fast mode
};

/// Where by_output has the first weight of output j, each of its `rows` rows being row_padding
/// floats from the last. A wide layer's are read from the first to the last this way, which the
/// processor foresees where it reads them from L2 or beyond.
static constexpr ptrdiff_t panel_at(int j, ptrdiff_t rows) {
  return (j & -row_padding) * rows + (j & (row_padding - 1));
}

/// The first output of block b of n: blocks are as wide as the others, or one wider.
static constexpr int block_start(int outputs, int n, int b) {
  return outputs / n * b + (b < outputs % n ? b : outputs % n);
}

/// What is done to a column before it is standardised: input.h says what each array means. All
/// [padded(n_features)], or null where no column has the step.
struct Columns {
  const float *policy;     // of a missing value: 0 reject, 1 flag, 2 impute
  const float *imputed;    // with policy; 0 where nothing is imputed
  const float *absent;     // 1: an exact 0 is an absent object's
  const float *low, *high; // clip; -inf and inf where a column has no bound
  const float *wrapped;    // 1: an angle
  const float *logged;     // 1: signed_log1p
  int keep_at;             // where the row's memory says which terms count, -1: all do
  bool any() const { return policy || absent || low || wrapped || logged; }
};

struct Plan {
  int n_features, latent, n_encoder, n_decoder;
  const float *mean, *inverse_scale; // [padded(n_features)], 0 in the padding
  const Layer *encoder, *decoder;
  ScoreKind kind;
  float beta; // elbo only
  Loss loss;
  float delta; // huber only
  Columns columns;
  /// A row's memory while it is scored, in float32s: the standardised features at 0, what each step
  /// makes at its out_at. Values that are alive at the same time do not overlap.
  int row_floats;
  int latent_at, output_at; // what the encoder and what the decoder ends in
  int tile_rows;            // rows of the many-row kernel's tile
  int few_rows;             // a last group of up to this many rows goes through the few-row kernel
};

/// Where the rows lie. Row-major: row i starts at rows + i * row_stride. By column: feature j of
/// row i is columns[j][i * column_stride]. Strides in float32s.
struct Rows {
  const float *rows; // null: by column
  ptrdiff_t row_stride;
  const float *const *columns;
  ptrdiff_t column_stride;
};

/// Flags of a row.
constexpr uint8_t flag_nonfinite = 1; // a NaN or inf among its features: the score is NaN
constexpr uint8_t flag_saturated = 2; // finite features, but the score overflowed: FLT_MAX instead
constexpr uint8_t flag_missing = 4;   // a missing value was left out or replaced

struct Results {
  float *scores;   // [n]
  uint8_t *flags;  // [n] or null
  float *features; // [n][n_features] or null: the terms of the loss, reconstruction only
  uint8_t *anomalous = nullptr; // [n] or null: 1 unless the score is <= threshold
  float threshold = 0;
};

/// What one instruction set offers. score() takes rows first .. first + n and needs
/// workspace_floats(plan) float32s of scratch memory, 64-byte aligned. It does not allocate, lock,
/// throw or print.
struct ScoreTable {
  int lanes;
  int block;      // most outputs in a block of by_block, dense
  int conv_block; // most output channels in a block of by_block, conv
  int group_rows; // rows that the many-row kernel computes at once
  int tile_rows;  // preferred tile
  int few_rows;
  size_t (*workspace_floats)(const Plan &);
  void (*score)(const Plan &, const Rows &, size_t first, size_t n, float *workspace,
                const Results &);
};

} // namespace vael
