#include "score/values.h"

#include "score/error.h"
#include "score/stencil.h"

#include <algorithm>
#include <limits>

namespace vael {
namespace {

constexpr int always = std::numeric_limits<int>::max();

/// A row's memory: 256 MiB. Residual steps keep values alive without any weights, so that a small
/// file could ask for more than there is, and than an int counts.
constexpr int64_t most_row_floats = int64_t{1} << 26;

/// A piece of memory, taken from step `first` to step `last` inclusive.
struct Lease {
  int64_t at, floats;
  int first, last;
};

/// Vectors are read and written whole, and the latent's sums read once more behind it.
int64_t leased_floats(int width) { return int64_t{padded(width)} + row_padding; }

/// The lowest place that is free from step `first` to `last`. Throws LoadError where there is none.
int lease(std::vector<Lease> &leases, int64_t floats, int first, int last) {
  std::vector<Lease> taken;
  std::copy_if(leases.begin(), leases.end(), std::back_inserter(taken),
               [&](const Lease &l) { return l.last >= first && l.first <= last; });
  std::sort(taken.begin(), taken.end(), [](const Lease &a, const Lease &b) { return a.at < b.at; });
  int64_t at = 0;
  for (const Lease &l : taken) {
    if (at + floats <= l.at)
      break;
    at = std::max(at, l.at + l.floats);
  }
  if (at + floats > most_row_floats)
    fail("the network keeps " + std::to_string(at + floats) + " values of a row at once, at most " +
         std::to_string(most_row_floats) + " are supported");
  leases.push_back({at, floats, first, last});
  return static_cast<int>(at);
}

/// Only a convolution or a pool may hold its image by pixel, and only others read it so.
bool reads_by_pixel(const Step &step) {
  return Values::is_image_step(step) && !prefers_strips(step);
}

} // namespace

bool Values::is_image_step(const Step &step) {
  return step.kind == StepKind::conv || step.kind == StepKind::max_pool ||
         step.kind == StepKind::average_pool;
}

Values place_values(const Network &net, bool fast) {
  std::vector<const Step *> steps;
  for (const auto *part : {&net.encoder, &net.decoder})
    for (const Step &step : *part)
      steps.push_back(&step);
  const size_t n = steps.size(), encoded = net.encoder.size();

  Values values{};
  std::vector<int> last_use(n + 1);
  std::vector<bool> flat(n + 1, false); // has a reader that needs the order of the file
  flat[0] = flat[encoded] = flat[n] = true;
  last_use[0] = last_use[n] = always; // the loss reads both
  if (net.kind == ScoreKind::latent_reconstruction)
    last_use[encoded] = always;
  for (size_t i = 0; i < n; ++i) {
    const Step &step = *steps[i];
    const size_t part = i < encoded ? 0 : encoded;
    values.other.push_back(
        step.kind == StepKind::residual ? part + static_cast<size_t>(step.other + 1) : i);
    for (const size_t read : {i, values.other[i]}) {
      last_use[read] = std::max(last_use[read], static_cast<int>(i));
      flat[read] = flat[read] || !reads_by_pixel(step);
    }
  }
  std::vector<Lease> leases;
  values.at.push_back(lease(leases, leased_floats(net.n_features), -1, always));
  values.by_pixel.push_back(false);
  values.keep_at =
      net.preprocessing.leaves_out ? lease(leases, leased_floats(net.n_features), -1, always) : -1;
  for (size_t i = 0; i < n; ++i) {
    const Step &step = *steps[i];
    const int now = static_cast<int>(i);
    const int64_t floats = leased_floats(step.out);
    // A pool by pixel needs an image by pixel; where there is one channel both are the same.
    const bool from_image = step.kind == StepKind::conv || values.by_pixel[i];
    values.by_pixel.push_back(reads_by_pixel(step) && from_image && !flat[i + 1]);
    values.at.push_back(lease(leases, floats, now, std::max(now, last_use[i + 1])));
    const bool reorders = reads_by_pixel(step) && !values.by_pixel[i + 1];
    const bool narrows = fast && step.kind == StepKind::dense;
    const int64_t scratch = narrows ? leased_floats((step.in + 1) / 2) : floats;
    values.scratch_at.push_back(reorders || narrows ? lease(leases, scratch, now, now) : 0);
  }
  int64_t row_floats = 0;
  for (const Lease &l : leases)
    row_floats = std::max(row_floats, l.at + l.floats);
  values.row_floats = static_cast<int>(row_floats);
  return values;
}

} // namespace vael
