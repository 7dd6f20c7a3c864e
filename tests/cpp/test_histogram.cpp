// The score histogram: its layout, and that counting allocates nothing and stays within its arrays
// (which sanitizers check). Expected bins are written out from the bit patterns by hand.
#include "histogram.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <vector>

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
#define COUNT_ALLOCATIONS 1
extern "C" void *__libc_malloc(size_t);
static size_t allocations = 0;
extern "C" void *malloc(size_t size) {
  ++allocations;
  return __libc_malloc(size);
}
#else
#define COUNT_ALLOCATIONS 0
static size_t allocations = 0;
#endif

namespace {

int failures = 0;

void expect(bool good, const char *what) {
  if (!good && ++failures <= 20)
    std::printf("FAILED: %s\n", what);
}

struct Expected {
  float score;
  size_t bin;
};

void test_layout() {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  const Expected all[] = {
      {0.0f, 0x80000},      {-0.0f, 0x80000},     {1.0f, 0xbf800},
      {-1.0f, 0x407ff},     {infinity, 0xff800},  {-infinity, 0x007ff},
      {0x1p-149f, 0x80000}, {0x1p-126f, 0x80800}, {std::numeric_limits<float>::max(), 0xff7ff},
      {-0x1p-149f, 0x7ffff}};
  for (const Expected &one : all) {
    std::vector<uint64_t> counts(vael::histogram_bins);
    const vael::HistogramTally found = vael::histogram_count(&one.score, 1, counts.data());
    expect(counts[one.bin] == 1, "a score is in another bin");
    expect(found.first == one.bin && found.last == one.bin, "first and last are not its bin");
    expect(found.nan == 0, "a number was taken for a NaN");
  }
}

void test_counting() {
  std::vector<float> scores(5000);
  std::vector<double> weights(scores.size());
  for (size_t i = 0; i < scores.size(); ++i) {
    scores[i] = i % 10 ? static_cast<float>(i % 100) - 50 : std::nanf("");
    weights[i] = static_cast<double>(i % 7);
  }
  std::vector<uint64_t> counts(vael::histogram_bins), weighted(vael::histogram_bins);
  std::vector<double> sums(vael::histogram_bins), squares(vael::histogram_bins);
  double nan_sums[2] = {0, 0};
  const size_t before = allocations;
  const auto plain = vael::histogram_count(scores.data(), scores.size(), counts.data());
  const auto other =
      vael::histogram_count_weighted(scores.data(), weights.data(), scores.size(), weighted.data(),
                                     sums.data(), squares.data(), nan_sums);
  expect(allocations == before, "counting allocated memory");
  expect(plain.nan == 500 && other.nan == 500, "NaN scores were lost");
  expect(counts == weighted, "weights changed the counts");
  uint64_t n = 0;
  double sum = nan_sums[0], square = nan_sums[1], all = 0, all_squares = 0;
  for (size_t bin = 0; bin < vael::histogram_bins; ++bin) {
    n += counts[bin];
    sum += sums[bin];
    square += squares[bin];
  }
  for (const double weight : weights) {
    all += weight;
    all_squares += weight * weight;
  }
  expect(n == 4500, "scores were lost");
  expect(sum == all && square == all_squares, "weights were lost");
  const auto none = vael::histogram_count(nullptr, 0, counts.data());
  expect(none.first > none.last && none.nan == 0, "nothing was counted as something");
}

} // namespace

int main() {
  test_layout();
  test_counting();
  std::printf("%d failures%s\n", failures, COUNT_ALLOCATIONS ? ", allocations counted" : "");
  return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
