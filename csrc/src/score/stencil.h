// The lists of taps that conv, conv_transpose and the pools walk by (see Stencil in plan.h).
#pragma once

#include "score/network.h"

#include <vector>

namespace vael {

/// Where a step's images lie in the few-row and many-row kernels' memory.
struct ImageLayout {
  bool in_by_pixel, out_by_pixel;
  bool by_strip;
};

/// Owns what its stencil points into.
struct StencilTables {
  std::vector<Tap> taps;
  std::vector<Place> places;
  std::vector<Strip> strips;
  std::vector<Run> runs;
  Stencil stencil;
};

/// Are there so few channels, and is there such a window, that one row is better computed with
/// neighbouring pixels in the vector? Then both images lie by channel.
bool prefers_strips(const Step &step);

/// `lanes` bounds the strips; `listed` counts what all lists of a network hold so far. Throws
/// LoadError where they would be too long to be sensible.
StencilTables make_stencil(const Step &step, const ImageLayout &layout, int lanes,
                           const std::string &where, size_t &listed);

} // namespace vael
