// The frozen network as the kernels see it: plain structs and pointers, no ownership.
//
// Included by units that are compiled once per instruction set, hence C headers only.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace vael {

enum class Activation { identity, relu, leaky_relu, tanh, sigmoid, elu, silu, gelu };
enum class ScoreKind { reconstruction, kl, mu2, rz, elbo };

/// Widths are padded to this many float32 in everything the single-row kernel reads.
constexpr int row_padding = 16;
static constexpr int padded(int n) { return (n + row_padding - 1) / row_padding * row_padding; }

/// One dense layer: out[j] = activation(bias[j] + sum_k in[k] weight[j][k]).
///
/// The weights are held twice, each kernel's way:
///   by_output  [in][padded(out)]       one row: 16 neighbouring outputs in a vector, padded with 0
///   by_block   blocks of [in][block]   many rows: the rows are in the vector, the weights
///   broadcast;
///                                      the last block holds what is left and is narrower
struct DenseLayer {
  int in, out;
  Activation activation;
  float slope;            // leaky_relu only
  const float *bias;      // [padded(out)]
  const float *by_output; // [in][padded(out)]
  const float *by_block;
};

struct Plan {
  int n_features, latent, n_encoder, n_decoder;
  const float *mean, *inverse_scale; // [padded(n_features)], 0 in the padding
  const DenseLayer *encoder, *decoder;
  ScoreKind kind;
  float beta;    // elbo only
  int max_width; // the widest layer output
  int tile_rows; // rows of the many-row kernel's tile
  int few_rows;  // a last group of up to this many rows goes through the few-row kernel
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

struct Results {
  float *scores;                // [n]
  uint8_t *flags;               // [n] or null
  float *features;              // [n][n_features] or null: 1/2 (y_j - x_j)^2, reconstruction only
  uint8_t *anomalous = nullptr; // [n] or null: 1 unless the score is <= threshold
  float threshold = 0;
};

/// What one instruction set offers. score() takes rows first .. first + n and needs
/// workspace_floats(plan) float32s of scratch memory, 64-byte aligned. It does not allocate, lock,
/// throw or print.
struct ScoreTable {
  int block;     // outputs in a block of by_block
  int tile_rows; // preferred tile
  int few_rows;
  size_t (*workspace_floats)(const Plan &);
  void (*score)(const Plan &, const Rows &, size_t first, size_t n, float *workspace,
                const Results &);
};

} // namespace vael
