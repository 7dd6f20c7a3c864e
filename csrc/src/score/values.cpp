#include "score/values.h"

#include "score/stencil.h"

#include <algorithm>
#include <limits>

namespace vael {
namespace {

constexpr int always = std::numeric_limits<int>::max();

/// A piece of memory, taken from step `first` to step `last` inclusive.
struct Lease {
  int at, floats, first, last;
};

/// Vectors are read and written whole, and the latent's sums read once more behind it.
int leased_floats(int width) { return padded(width) + row_padding; }

/// The lowest place that is free from step `first` to `last`.
int lease(std::vector<Lease> &leases, int floats, int first, int last) {
  std::vector<Lease> taken;
  std::copy_if(leases.begin(), leases.end(), std::back_inserter(taken),
               [&](const Lease &l) { return l.last >= first && l.first <= last; });
  std::sort(taken.begin(), taken.end(), [](const Lease &a, const Lease &b) { return a.at < b.at; });
  int at = 0;
  for (const Lease &l : taken) {
    if (at + floats <= l.at)
      break;
    at = std::max(at, l.at + l.floats);
  }
  leases.push_back({at, floats, first, last});
  return at;
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

Values place_values(const Network &net) {
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
  for (size_t i = 0; i < n; ++i) {
    const Step &step = *steps[i];
    const int now = static_cast<int>(i), floats = leased_floats(step.out);
    // A pool by pixel needs an image by pixel; where there is one channel both are the same.
    const bool from_image = step.kind == StepKind::conv || values.by_pixel[i];
    values.by_pixel.push_back(reads_by_pixel(step) && from_image && !flat[i + 1]);
    values.at.push_back(lease(leases, floats, now, std::max(now, last_use[i + 1])));
    const bool reorders = reads_by_pixel(step) && !values.by_pixel[i + 1];
    values.scratch_at.push_back(reorders ? lease(leases, floats, now, now) : 0);
  }
  values.row_floats = 0;
  for (const Lease &l : leases)
    values.row_floats = std::max(values.row_floats, l.at + l.floats);
  return values;
}

} // namespace vael
