// Scores counted over the bit pattern of a float32: constant memory, merged exactly by addition.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vael {

/// Bits of the order-preserving pattern that name a bin: sign, exponent and 11 of the mantissa's
/// 23, so that a bin is 2^-12 to 2^-11 of its scores wide.
constexpr int histogram_bits = 20;
constexpr size_t histogram_bins = size_t{1} << histogram_bits;

/// What a call saw beside the bins. first > last: no score that is a number.
struct HistogramTally {
  uint64_t nan;
  uint32_t first, last; // lowest and highest bin that was counted in
};

/// counts[bin of scores[i]] += 1 for every score that is no NaN; counts has histogram_bins entries.
HistogramTally histogram_count(const float *scores, size_t n, uint64_t *counts);

/// The same, and beside it sums[bin] += weights[i], squares[bin] += weights[i] * weights[i], in the
/// order of the scores. nan_sums[0] and [1] take the weights of NaN scores.
HistogramTally histogram_count_weighted(const float *scores, const double *weights, size_t n,
                                        uint64_t *counts, double *sums, double *squares,
                                        double *nan_sums);

} // namespace vael
