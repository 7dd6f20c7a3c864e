#include "histogram.h"

#include <bit>

namespace vael {
namespace {

constexpr uint32_t sign_bit = 0x80000000u;
constexpr uint32_t infinity_bits = 0x7f800000u;

/// Bit patterns in the order of the numbers: the bits of a negative number fall as it rises, so all
/// are flipped; of a positive one the sign alone. -0 is counted as +0, which it equals.
inline uint32_t bin_of(uint32_t bits) {
  bits = bits == sign_bit ? 0 : bits;
  const uint32_t flip = static_cast<uint32_t>(static_cast<int32_t>(bits) >> 31) | sign_bit;
  return (bits ^ flip) >> (32 - histogram_bits);
}

/// Calls add(i, bin) for every number and skip(i) for every NaN.
template <class Add, class Skip>
HistogramTally tally(const float *scores, size_t n, Add add, Skip skip) {
  HistogramTally found{0, histogram_bins - 1, 0};
  for (size_t i = 0; i < n; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(scores[i]);
    if ((bits & ~sign_bit) > infinity_bits) {
      ++found.nan;
      skip(i);
      continue;
    }
    const uint32_t bin = bin_of(bits);
    found.first = bin < found.first ? bin : found.first;
    found.last = bin > found.last ? bin : found.last;
    add(i, bin);
  }
  return found;
}

} // namespace

HistogramTally histogram_count(const float *scores, size_t n, uint64_t *counts) {
  return tally(scores, n, [=](size_t, uint32_t bin) { ++counts[bin]; }, [](size_t) {});
}

HistogramTally histogram_count_weighted(const float *scores, const double *weights, size_t n,
                                        uint64_t *counts, double *sums, double *squares,
                                        double *nan_sums) {
  const auto add = [=](size_t i, uint32_t bin) {
    ++counts[bin];
    sums[bin] += weights[i];
    squares[bin] += weights[i] * weights[i];
  };
  const auto skip = [=](size_t i) {
    nan_sums[0] += weights[i];
    nan_sums[1] += weights[i] * weights[i];
  };
  return tally(scores, n, add, skip);
}

} // namespace vael
