// A dense network in fixed point, as ap_fixed<W, I, Q, O> computes it (AMD UG1399, "Arbitrary
// Precision Fixed-Point Data Types"): a value is raw * 2^-fraction with raw an integer of width
// bits.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace vael {

struct FixedFormat {
  int width, fraction;
  bool is_signed;
  bool rounds;    // AP_RND_CONV: to nearest, ties to even; else AP_TRN: towards minus infinity
  bool saturates; // AP_SAT; else AP_WRAP
};

/// A sum of products that is assigned to `format` after every addition, k ascending.
struct FixedSum {
  FixedFormat format;
  int product_fraction;
  bool at_once; // rounding and overflow at the end alone give the same; then
  bool wraps;   // there is an overflow at the end, and
  size_t chunk; // products of so many inputs one after another, from a multiple of it on, surely
                // sum to less than 2^31; 0: one product may not
};

struct FixedLayer {
  size_t inputs, outputs;
  const int32_t *weight; // [outputs][inputs], raw
  const int64_t *bias;   // [outputs], raw in the sum's format
  FixedSum sum;
  bool relu;
  FixedFormat result;
};

struct FixedNetwork {
  size_t features, layers, widest; // widest: values of a row between two layers, features included
  const float *mean, *inverse_scale;
  FixedFormat input;
  const FixedLayer *layer;
  bool reconstruction;  // the score is 1/2 sum (y - x)^2, else sum y^2, y the last layer's values
  int x_shift, y_shift; // bits to the left, to a common fraction, where they are subtracted
  FixedFormat score;
  int square_fraction;
  bool score_at_once; // as FixedSum::at_once, of the squares
};

/// Rows a tile holds; a workspace is fixed_workspace(network) int32s.
constexpr size_t fixed_tile = 16;
inline size_t fixed_workspace(const FixedNetwork &network) {
  return fixed_tile * (2 * network.widest + network.features);
}

struct FixedTable {
  /// rows [n][features]; values [n][outputs of the last layer], raw; scores [n], exact: NaN where a
  /// feature is not finite. Neither allocates nor throws.
  void (*run)(const FixedNetwork &, const float *rows, size_t n, int32_t *workspace,
              int32_t *values, double *scores);
};

} // namespace vael
