#include "score/stencil.h"

#include "score/error.h"

#include <algorithm>
#include <map>
#include <utility>

namespace vael {
namespace {

constexpr size_t most_taps = size_t{1} << 22;   // of a step
constexpr size_t most_listed = size_t{1} << 24; // taps and places of a network
constexpr int few_channels = 4;

/// In one direction: the kernel positions that lie inside the image, and how far from `begin` they
/// read.
using AxisTaps = std::vector<std::pair<int, int>>; // (kernel position, offset)

struct Axis {
  std::vector<AxisTaps> patterns;
  struct Output {
    int begin, pattern;
  };
  std::vector<Output> outputs;
};

Axis make_axis(const Step &step, int direction) {
  const int from = direction ? step.from.width : step.from.height;
  const int to = direction ? step.to.width : step.to.height;
  const int kernel = step.window.kernel[direction], stride = step.window.stride[direction];
  const int padding = step.window.padding[direction];
  Axis axis;
  std::map<AxisTaps, int> known;
  for (int o = 0; o < to; ++o) {
    // A convolution reads pixel o * stride - padding + k. A transposed one is read backwards: input
    // i reaches output i * stride - padding + k.
    const int begin = step.transposed ? (o + padding) / stride : o * stride - padding;
    AxisTaps taps;
    for (int k = 0; k < kernel; ++k) {
      if (step.transposed && (o + padding - k) % stride != 0)
        continue;
      const int offset = step.transposed ? (o + padding - k) / stride - begin : k;
      if (begin + offset >= 0 && begin + offset < from)
        taps.emplace_back(k, offset);
    }
    const auto [found, is_new] = known.emplace(taps, static_cast<int>(axis.patterns.size()));
    if (is_new)
      axis.patterns.push_back(taps);
    axis.outputs.push_back({begin, found->second});
  }
  return axis;
}

void fail_above(size_t n, size_t most, const std::string &where) {
  if (n > most)
    fail(where + ": " + std::to_string(n) + " products to list, at most " + std::to_string(most) +
         " are supported");
}

/// Cuts a run's places into strips: neighbours in the input, evenly spaced in the output.
void add_strips(const std::vector<Place> &places, size_t first, int step, int lanes,
                std::vector<Strip> &strips) {
  for (size_t i = first; i < places.size(); ++i) {
    if (i > first) {
      Strip &last = strips.back();
      if (last.count < lanes && places[i].in == last.in + last.count &&
          places[i].out == last.out + last.count * step) {
        ++last.count;
        continue;
      }
    }
    strips.push_back({places[i].in, places[i].out, 1});
  }
}

} // namespace

bool prefers_strips(const Step &step) {
  return step.kind == StepKind::conv && step.to.channels <= few_channels &&
         (step.transposed || step.window.stride[1] == 1);
}

StencilTables make_stencil(const Step &step, const ImageLayout &layout, int lanes,
                           const std::string &where, size_t &listed) {
  const int extent[2] = {step.to.height, step.to.width};
  for (int i = 0; i < 2; ++i)
    fail_above(size_t(extent[i]) * size_t(step.window.kernel[i]), most_taps, where);
  const Axis y = make_axis(step, 0), x = make_axis(step, 1);
  // A pool treats every channel alike: its taps are pixels.
  const int channels = step.kind == StepKind::conv ? step.from.channels : 1;
  size_t n_taps = 0;
  for (const AxisTaps &rows : y.patterns)
    for (const AxisTaps &columns : x.patterns)
      n_taps += rows.size() * columns.size() * static_cast<size_t>(channels);
  fail_above(n_taps, most_taps, where);
  listed += n_taps + static_cast<size_t>(step.to.pixels());
  fail_above(listed, most_listed, where);

  const int pixel = layout.in_by_pixel ? step.from.channels : 1;
  const int channel = layout.in_by_pixel ? 1 : step.from.pixels();
  const int width = step.from.width;
  StencilTables tables;
  std::vector<size_t> first_tap, first_place, first_strip;
  const int strip_step = step.transposed ? step.window.stride[1] : 1;
  for (size_t row = 0; row < y.patterns.size(); ++row)
    for (size_t column = 0; column < x.patterns.size(); ++column) {
      first_tap.push_back(tables.taps.size());
      first_place.push_back(tables.places.size());
      first_strip.push_back(tables.strips.size());
      for (const auto &[ky, dy] : y.patterns[row])
        for (const auto &[kx, dx] : x.patterns[column])
          for (int c = 0; c < channels; ++c)
            tables.taps.push_back({(dy * width + dx) * pixel + c * channel,
                                   (ky * step.window.kernel[1] + kx) * channels + c});
      for (int oy = 0; oy < step.to.height; ++oy)
        for (int ox = 0; ox < step.to.width; ++ox)
          if (y.outputs[oy].pattern == static_cast<int>(row) &&
              x.outputs[ox].pattern == static_cast<int>(column))
            tables.places.push_back({(y.outputs[oy].begin * width + x.outputs[ox].begin) * pixel,
                                     oy * step.to.width + ox});
      if (layout.by_strip)
        add_strips(tables.places, first_place.back(), strip_step, lanes, tables.strips);
    }
  first_tap.push_back(tables.taps.size());
  first_place.push_back(tables.places.size());
  first_strip.push_back(tables.strips.size());
  for (size_t i = 0; i + 1 < first_tap.size(); ++i)
    tables.runs.push_back({tables.taps.data() + first_tap[i], tables.places.data() + first_place[i],
                           tables.strips.data() + first_strip[i],
                           static_cast<int>(first_tap[i + 1] - first_tap[i]),
                           static_cast<int>(first_place[i + 1] - first_place[i]),
                           static_cast<int>(first_strip[i + 1] - first_strip[i])});
  const int window = step.window.kernel[0] * step.window.kernel[1];
  tables.stencil = {tables.runs.data(),  static_cast<int>(tables.runs.size()),
                    window * channels,   step.from.channels,
                    step.from.pixels(),  step.to.channels,
                    step.to.pixels(),    layout.in_by_pixel,
                    layout.out_by_pixel, layout.by_strip,
                    strip_step,          1.0f / static_cast<float>(window)};
  return tables;
}

} // namespace vael
