// How long one row takes through the C ABI, over many calls: percentiles as JSON.
//
//   latency MODEL.vael [CALLS [KIND [CPU]]]
//
// warm      call after call, 64 different rows in turn
// denormal  the same with rows of denormal numbers
// idle      after 0.2 ms of sleep before each call
// cold      after 64 MB of other memory was written before each call
//
// Each call is timed by itself with steady_clock. What the clock takes between two readings with
// nothing in between (its median, "clock_ns") is subtracted from every time.
#include "vaelocity/vaelocity.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#ifdef __linux__
#include <sched.h>
#endif

namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t n_rows = 64;

double nanoseconds(Clock::duration time) {
  return std::chrono::duration<double, std::nano>(time).count();
}

struct Percentile {
  const char *name;
  double part;
};
constexpr Percentile percentiles[] = {
    {"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}, {"p99.99", 0.9999}};

/// One JSON object. A percentile with fewer than ten calls beyond it is null.
void print(const char *name, std::vector<double> &times, double clock, bool last) {
  std::sort(times.begin(), times.end());
  std::printf("  \"%s\": {\"calls\": %zu", name, times.size());
  for (const Percentile &p : percentiles) {
    const double beyond = static_cast<double>(times.size()) * (1 - p.part);
    if (beyond < 9.999)
      std::printf(", \"%s\": null", p.name);
    else
      std::printf(
          ", \"%s\": %.1f", p.name,
          std::max(0.0,
                   times[static_cast<size_t>(static_cast<double>(times.size()) * p.part)] - clock));
  }
  std::printf(", \"max\": %.1f}%s\n", std::max(0.0, times.back() - clock), last ? "" : ",");
}

/// before(i) runs outside the clock, work(i) inside.
template <class Before, class Work>
std::vector<double> measured(size_t calls, Before before, Work work) {
  std::vector<double> times(calls);
  for (size_t i = 0; i < calls; ++i) {
    before(i);
    const Clock::time_point start = Clock::now();
    work(i);
    times[i] = nanoseconds(Clock::now() - start);
  }
  return times;
}

std::vector<float> normal_rows(size_t n_features) {
  std::mt19937 engine(0);
  std::normal_distribution<float> normal;
  std::vector<float> rows(n_rows * n_features);
  for (float &value : rows)
    value = normal(engine);
  return rows;
}

vael_model *load(const char *path, const char *kind) {
  vael_load_options options{};
  options.struct_size = sizeof(options);
  options.abi_version = VAEL_ABI_VERSION;
  options.kind = kind;
  vael_model *model = nullptr;
  char why[512] = "";
  if (vael_load_file(path, &options, &model, why, sizeof(why)) != VAEL_OK) {
    std::fprintf(stderr, "%s: %s\n", path, why);
    std::exit(2);
  }
  return model;
}

void pin([[maybe_unused]] int cpu) {
#ifdef __linux__
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<unsigned>(cpu), &set);
  sched_setaffinity(0, sizeof(set), &set);
#endif
}

struct Scorer {
  const vael_model *model;
  size_t n_features;
  void *workspace;
  float score = 0;
  float sum = 0; // of every score, so that no call can be left out

  void operator()(const std::vector<float> &rows, size_t i) {
    const float *row = rows.data() + (i % n_rows) * n_features;
    vael_score_rows(model, row, static_cast<ptrdiff_t>(n_features), 1, workspace, &score, nullptr);
    sum += score;
  }
};

} // namespace

int main(int argc, char **argv) {
  if (argc < 2) {
    std::fprintf(stderr, "latency MODEL.vael [CALLS [KIND [CPU]]]\n");
    return 2;
  }
  const size_t calls = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1000000;
  if (calls < 1000) {
    std::fprintf(stderr, "CALLS: expected at least 1000, got %s\n", argv[2]);
    return 2;
  }
  if (argc > 4)
    pin(std::atoi(argv[4]));
  vael_model *model = load(argv[1], argc > 3 && *argv[3] ? argv[3] : nullptr);
  vael_info info{};
  info.struct_size = sizeof(info);
  vael_inspect(model, &info);

  const size_t bytes = (info.workspace_bytes + 63) / 64 * 64;
  Scorer scorer{model, info.n_features, std::aligned_alloc(64, bytes)};
  const std::vector<float> rows = normal_rows(info.n_features);
  const std::vector<float> denormal(rows.size(), 1e-40f);
  std::vector<char> other(64u << 20);

  const auto nothing = [](size_t) {};
  const auto score = [&](size_t i) { scorer(rows, i); };
  std::vector<double> clocks = measured(100000, nothing, nothing);
  std::nth_element(clocks.begin(), clocks.begin() + 50000, clocks.end());
  const double clock = clocks[50000];

  measured(calls / 10, nothing, score); // until the core runs at its speed
  std::vector<double> warm = measured(calls, nothing, score);
  std::vector<double> tiny = measured(calls, nothing, [&](size_t i) { scorer(denormal, i); });
  const auto sleep = [](size_t) { std::this_thread::sleep_for(std::chrono::microseconds(200)); };
  std::vector<double> idle = measured(std::min<size_t>(calls, 1000), sleep, score);
  const auto evict = [&](size_t i) {
    std::memset(other.data(), static_cast<int>(i), other.size());
  };
  std::vector<double> cold = measured(std::min<size_t>(calls, 200), evict, score);

  std::printf("{\n  \"isa\": \"%s\",\n  \"kind\": \"%s\",\n  \"clock_ns\": %.1f,\n", info.isa,
              info.kind, clock);
  print("warm", warm, clock, false);
  print("denormal", tiny, clock, false);
  print("idle", idle, clock, false);
  print("cold", cold, clock, true);
  std::printf("}\n");
  const bool scored = scorer.sum == scorer.sum; // and the sum is used
  std::free(scorer.workspace);
  vael_free(model);
  return scored ? 0 : 1;
}
