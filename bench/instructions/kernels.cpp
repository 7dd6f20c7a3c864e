// One op's AVX2 kernel over so many rows of 16, or nothing: bench/instructions/count.py counts what
// the processor was told to do.
#include <cstdlib>
#include <string_view>
#include <vector>

#include "ops/philox_normal.h"
#include "ops/reparameterize_kl.h"

extern "C" const vael::PhiloxNormalTable vael_philox_normal_table_avx2;
extern "C" const vael::ReparameterizeKlTable vael_reparameterize_kl_table_avx2;

int main(int, char **arguments) {
  using namespace vael;
  constexpr size_t d = 16;
  const std::string_view kernel = arguments[1];
  const size_t n = std::strtoul(arguments[2], nullptr, 10);
  std::vector<float> mu(n * d, 0.3f), logvar(n * d, -0.2f), grad(n * d, 1.0f), kl(n);
  std::vector<float> first(n * d), second(n * d);
  const auto input = [](std::vector<float> &x) { return Input{x.data(), d, DType::float32}; };
  const auto output = [](std::vector<float> &x) { return Output{x.data(), d, DType::float32}; };
  const Draw draw{1, 0};
  const auto &fused = vael_reparameterize_kl_table_avx2;
  if (kernel == "philox_normal")
    vael_philox_normal_table_avx2.forward({draw, first.data(), DType::float32}, {0, n * d});
  if (kernel == "reparameterize_kl")
    fused.forward({input(mu), input(logvar), draw, d, output(first), kl.data()}, {0, n});
  if (kernel == "reparameterize_kl_backward")
    fused.backward({input(grad),
                    {kl.data(), 1},
                    input(mu),
                    input(logvar),
                    draw,
                    d,
                    output(first),
                    output(second)},
                   {0, n});
}
