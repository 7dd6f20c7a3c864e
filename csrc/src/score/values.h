// What is alive in a row's memory while it is scored: a value for the features and for what each
// step makes. Value i is what step i reads, value i + 1 what it makes; encoder, then decoder.
#pragma once

#include "score/network.h"

#include <vector>

namespace vael {

struct Values {
  std::vector<int> at;        // in float32s
  std::vector<bool> by_pixel; // an image's layout; everything else is in the order of the file
  /// Of step i, while it runs: as much as it makes; of a dense one in fast mode its input as
  /// bfloat16.
  std::vector<int> scratch_at;
  int keep_at;               // -1 where every term counts
  std::vector<size_t> other; // the second value a residual step reads; for others the first again
  int row_floats;

  static bool is_image_step(const Step &step);
};

/// Throws LoadError for a network that keeps more alive at once than a row's memory may hold.
Values place_values(const Network &net, bool fast);

} // namespace vael
