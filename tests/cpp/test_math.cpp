// The vector maths against the C library in double, over bit patterns of the whole float32 range,
// and its bits against a hash that every instruction set must reproduce.
#include "isa.h"
#include "simd/math.h"

#include <cinttypes>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>

using namespace vael::VAEL_ISA;

namespace {

struct Case {
  const char *name;
  Vec (*function)(Vec);
  double (*exact)(double);
  double ulps;
  uint64_t hash; // of all results: the same on every instruction set
};

double softplus_exact(double x) {
  return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
}
double signed_log1p_exact(double x) { return std::copysign(std::log1p(std::fabs(x)), x); }
double sigmoid_exact(double x) { return 1 / (1 + std::exp(-x)); }

const Case cases[] = {
    {"exp", exp, std::exp, 1.0, 0xd2c17a842ad8beab},
    {"expm1", expm1, std::expm1, 2.0, 0x69ac0adc5f11abfd},
    {"sigmoid", sigmoid, sigmoid_exact, 3.0, 0x2e3abaf2ccdc733e},
    {"softplus", softplus, softplus_exact, 2.0, 0xd862e32f8225225e},
    {"tanh", tanh, std::tanh, 4.0, 0xde12dcc7a8d96f2d},
    {"erf", erf, std::erf, 2.0, 0xac6f7ed2877a2ce2},
    {"signed_log1p", signed_log1p, signed_log1p_exact, 2.0, 0x89e8223461e766ff},
};

float from_pattern(uint32_t pattern) {
  float x;
  std::memcpy(&x, &pattern, sizeof(x));
  return x;
}

/// Distance in units of the last place of the exact result's float32 neighbourhood.
double ulps_off(float got, double exact) {
  if (std::isnan(exact))
    return std::isnan(got) ? 0 : INFINITY;
  const float rounded = static_cast<float>(exact);
  if (std::isinf(rounded) || std::isinf(got))
    return rounded == got ? 0 : INFINITY;
  const float next = std::nextafterf(std::fabs(rounded), INFINITY);
  return std::fabs(static_cast<double>(got) - exact) /
         (static_cast<double>(next) - std::fabs(static_cast<double>(rounded)));
}

bool check(const Case &test) {
  double worst = 0;
  float worst_at = 0;
  uint64_t hash = 1469598103934665603u; // FNV-1a
  constexpr uint32_t step = 4099;       // a prime: all exponents, scattered mantissas
  for (uint64_t pattern = 0; pattern <= 0xffffffffu; pattern += step * Vec::lanes) {
    float in[Vec::lanes], out[Vec::lanes];
    for (int i = 0; i < Vec::lanes; ++i)
      in[i] = from_pattern(static_cast<uint32_t>(pattern + step * i));
    store(out, test.function(load(in)));
    for (int i = 0; i < Vec::lanes; ++i) {
      const double off = ulps_off(out[i], test.exact(static_cast<double>(in[i])));
      if (off > worst) {
        worst = off;
        worst_at = in[i];
      }
    }
  }
  // The hash walks in steps of one lane, so that it does not depend on the number of lanes.
  for (uint64_t pattern = 0; pattern <= 0xffffffffu; pattern += step * 64) {
    float out[Vec::lanes];
    const float x = from_pattern(static_cast<uint32_t>(pattern));
    store(out, test.function(set(x)));
    uint32_t bits;
    std::memcpy(&bits, &out[Vec::lanes - 1], sizeof(bits));
    hash = (hash ^ (std::isnan(out[0]) ? 0x7fc00000u : bits)) * 1099511628211u;
  }
  std::printf("%-8s %.3f ulp at %.9g (allowed %.1f), hash %016" PRIx64 "\n", test.name, worst,
              static_cast<double>(worst_at), test.ulps, hash);
  return worst <= test.ulps && hash == test.hash;
}

} // namespace

int main(int argc, char **argv) {
  vael::Isa isa;
  const char *name = argc > 1 ? argv[1] : nullptr;
  if (name && !vael::isa_select(name, &isa)) {
    std::printf("%s does not run here\n", name);
    return 77;
  }
  bool good = true;
  for (const Case &test : cases)
    good = check(test) && good;
  return good ? 0 : 1;
}
