// A fixed-point network 57-32-16-3-16-32-57 over some rows, for fixed.py: width 8 or 16, AP_TRN
// and AP_WRAP or, with "rnd", AP_RND_CONV and AP_SAT. "nothing" makes the rows alone.
#include "fixed/fixed.h"

#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

extern "C" const vael::FixedTable vael_fixed_table_avx2;

int main(int, char **argv) {
  using namespace vael;
  const bool narrow = std::strcmp(argv[1], "8") == 0, rounds = std::strcmp(argv[2], "rnd") == 0;
  const auto n = static_cast<size_t>(std::atol(argv[3]));
  const size_t widths[] = {57, 32, 16, 3, 16, 32, 57};
  const int width = narrow ? 8 : 16, fraction = narrow ? 5 : 10, of_weights = narrow ? 9 : 17;
  std::mt19937 random(0);
  std::uniform_int_distribution<int32_t> weight(narrow ? -60 : -15'000, narrow ? 60 : 15'000);
  const FixedFormat values{width, fraction, true, rounds, rounds};
  const FixedFormat sums{narrow ? 20 : 36, fraction + of_weights, true, false, false};
  std::vector<std::vector<int32_t>> weights;
  std::vector<std::vector<int64_t>> biases;
  std::vector<FixedLayer> layers;
  for (size_t i = 0; i < 6; ++i) {
    const size_t in = widths[i], out = widths[i + 1];
    weights.emplace_back(in * out);
    biases.emplace_back(out, 100);
    for (int32_t &w : weights.back())
      w = weight(random);
    // Of 16 bits four products of magnitude below 2^29 fit 32.
    const FixedSum sum{sums, fraction + of_weights, true, false, narrow ? in : 4};
    layers.push_back(
        {in, out, weights.back().data(), biases.back().data(), sum, i != 2 && i != 5, values});
  }
  const std::vector<float> mean(57, 0.0f), inverse_scale(57, 1.0f);
  const FixedNetwork network{57,
                             6,
                             57,
                             mean.data(),
                             inverse_scale.data(),
                             values,
                             layers.data(),
                             true,
                             0,
                             0,
                             {width + 22, 2 * fraction, false, false, false},
                             2 * fraction,
                             true};
  std::vector<float> rows(57 * n);
  for (float &x : rows)
    x = static_cast<float>(random() % 4096) / 1024.0f - 2.0f;
  std::vector<int32_t> workspace(fixed_workspace(network)), made(57 * n);
  std::vector<double> scores(n);
  if (std::strcmp(argv[2], "nothing") != 0)
    vael_fixed_table_avx2.run(network, rows.data(), n, workspace.data(), made.data(),
                              scores.data());
  return 0;
}
