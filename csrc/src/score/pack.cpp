#include "score/pack.h"

#include "score/stencil.h"
#include "score/values.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace vael {
namespace {

/// How the weights of a dense step lie for one of the two kernels.
struct Packing {
  bool pairs;
  size_t rows;
  Packing(const Step &step, bool in_pairs)
      : pairs(in_pairs), rows(static_cast<size_t>(in_pairs ? (step.in + 1) / 2 : step.in)) {}
};
Packing packed_by_output(const Step &step, bool fast) {
  return {step, fast || step.weight.bfloat16};
}
Packing packed_by_block(const Step &step, bool fast) { return {step, fast}; }

/// Of steps that have weights.
size_t packed_floats(const Step &step, bool fast) {
  const size_t width = static_cast<size_t>(padded(step.out));
  switch (step.kind) {
  case StepKind::dense:
    return Arena::rounded(width) + Arena::rounded(width * packed_by_output(step, fast).rows) +
           Arena::rounded(static_cast<size_t>(step.out) * packed_by_block(step, fast).rows);
  case StepKind::conv: {
    const size_t channels = step.to.channels,
                 columns = static_cast<size_t>(padded(step.to.channels));
    const size_t rows =
        static_cast<size_t>(step.window.kernel[0]) * step.window.kernel[1] * step.from.channels;
    return Arena::rounded(columns) + Arena::rounded(columns * rows) +
           Arena::rounded(channels * rows);
  }
  case StepKind::layer_norm:
  case StepKind::bound:
    return 2 * Arena::rounded(width + row_padding);
  default:
    return 0;
  }
}

/// The bits of the nearest bfloat16, ties to even; a NaN stays one.
uint32_t nearest_bfloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value))
    return bits >> 16 | 0x40;
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

/// What lies in row k of output j.
float packed_weight(const Step &step, const Packing &packing, size_t k, size_t j) {
  const size_t in = step.in;
  if (!packing.pairs)
    return element(step.weight, j * in + k);
  const auto half = [&](size_t i) {
    return i < in ? nearest_bfloat16(element(step.weight, j * in + i)) : 0;
  };
  return std::bit_cast<float>(half(2 * k) | half(2 * k + 1) << 16);
}

void pack_dense(const Step &step, int block, bool fast, Arena &arena, Layer &layer) {
  const size_t out = step.out, width = padded(step.out);
  const Packing outputs = packed_by_output(step, fast), blocks = packed_by_block(step, fast);
  float *bias = arena.take(width);
  float *by_output = arena.take(width * outputs.rows);
  float *by_block = arena.take(out * blocks.rows);
  for (size_t j = 0; j < out; ++j) {
    bias[j] = element(step.bias, j);
    float *output = by_output + panel_at(static_cast<int>(j), static_cast<ptrdiff_t>(outputs.rows));
    for (size_t k = 0; k < outputs.rows; ++k)
      output[k * row_padding] = packed_weight(step, outputs, k, j);
  }
  float *next = by_block;
  const int n = (step.out + block - 1) / block;
  for (int b = 0; b < n; ++b)
    for (size_t k = 0; k < blocks.rows; ++k)
      for (int j = block_start(step.out, n, b); j < block_start(step.out, n, b + 1); ++j)
        *next++ = packed_weight(step, blocks, k, static_cast<size_t>(j));
  layer.bias = bias;
  layer.by_output = by_output;
  layer.by_block = by_block;
  layer.bfloat16 = outputs.pairs;
}

void pack_conv(const Step &step, int block, Arena &arena, Layer &layer) {
  const size_t from = step.from.channels, to = step.to.channels, width = padded(step.to.channels);
  const size_t window = static_cast<size_t>(step.window.kernel[0]) * step.window.kernel[1];
  float *bias = arena.take(width);
  const size_t rows = window * from;
  float *by_output = arena.take(width * rows);
  float *by_block = arena.take(to * rows);
  const auto weight = [&](size_t position, size_t i, size_t j) {
    const size_t channels = step.transposed ? i * to + j : j * from + i;
    return element(step.weight, channels * window + position);
  };
  for (size_t j = 0; j < to; ++j) {
    bias[j] = element(step.bias, j);
    float *channel = by_output + panel_at(static_cast<int>(j), static_cast<ptrdiff_t>(rows));
    for (size_t p = 0; p < window; ++p)
      for (size_t i = 0; i < from; ++i)
        channel[(p * from + i) * row_padding] = weight(p, i, j);
  }
  float *next = by_block;
  const int channels = step.to.channels, blocks = (channels + block - 1) / block;
  for (int b = 0; b < blocks; ++b)
    for (size_t p = 0; p < window; ++p)
      for (size_t i = 0; i < from; ++i)
        for (int j = block_start(channels, blocks, b); j < block_start(channels, blocks, b + 1);
             ++j)
          *next++ = weight(p, i, j);
  layer.bias = bias;
  layer.by_output = by_output;
  layer.by_block = by_block;
}

/// A weight and a bias for each value: layer_norm, bound.
void pack_by_value(const Step &step, Arena &arena, Layer &layer) {
  float *bias = arena.take(padded(step.out) + row_padding);
  float *gain = arena.take(padded(step.out) + row_padding);
  for (int j = 0; j < step.out; ++j) {
    bias[j] = element(step.bias, j);
    gain[j] = element(step.weight, j);
  }
  layer.bias = bias;
  layer.by_output = gain;
}

Layer pack_step(const Step &step, Model &model) {
  Layer layer{};
  layer.kind = step.kind;
  layer.in = step.in;
  layer.out = step.out;
  layer.activation = step.activation;
  layer.slope = step.slope;
  layer.epsilon = step.epsilon;
  layer.groups = step.groups;
  if (step.kind == StepKind::dense)
    pack_dense(step, model.table->block, model.fast, *model.arena, layer);
  else if (step.kind == StepKind::conv)
    pack_conv(step, model.table->conv_block, *model.arena, layer);
  else if (step.kind == StepKind::layer_norm || step.kind == StepKind::bound)
    pack_by_value(step, *model.arena, layer);
  return layer;
}

/// The columns' arrays [padded(n_features)]; null for a step that there is not.
class ColumnPacker {
public:
  ColumnPacker(const Preprocessing &pre, size_t width) : pre_(pre), width_(width) {}

  size_t floats() const {
    size_t total = 0;
    for (const auto *values : {&pre_.policy, &pre_.imputed, &pre_.absent, &pre_.low, &pre_.high,
                               &pre_.wrapped, &pre_.logged})
      total += values->empty() ? 0 : Arena::rounded(width_);
    return total;
  }
  Columns pack(Arena &arena, int keep_at) const {
    const auto array = [&](const std::vector<float> &values) -> const float * {
      if (values.empty())
        return nullptr;
      float *packed = arena.take(width_);
      std::copy(values.begin(), values.end(), packed);
      return packed;
    };
    return {array(pre_.policy), array(pre_.imputed), array(pre_.absent), array(pre_.low),
            array(pre_.high),   array(pre_.wrapped), array(pre_.logged), keep_at};
  }

private:
  const Preprocessing &pre_;
  size_t width_;
};

} // namespace

void pack_network(const Network &net, Model &model) {
  std::vector<const Step *> steps;
  for (const auto *part : {&net.encoder, &net.decoder})
    for (const Step &step : *part)
      steps.push_back(&step);
  const size_t features = static_cast<size_t>(padded(net.n_features));
  const ColumnPacker columns(net.preprocessing, features);
  size_t total = 2 * Arena::rounded(features) + columns.floats();
  for (const Step *step : steps)
    total += packed_floats(*step, model.fast);
  model.arena = std::make_unique<Arena>(total);

  float *mean = model.arena->take(features);
  float *inverse_scale = model.arena->take(features);
  for (int j = 0; j < net.n_features; ++j) {
    mean[j] = element(net.mean, j);
    inverse_scale[j] = 1.0f / element(net.scale, j);
  }
  const Values values = place_values(net, model.fast);
  bool images = false;
  size_t listed = 0;
  model.stencils.reserve(steps.size());
  for (size_t i = 0; i < steps.size(); ++i) {
    Layer layer = pack_step(*steps[i], model);
    layer.in_at = values.at[i];
    layer.out_at = values.at[i + 1];
    layer.scratch_at = values.scratch_at[i];
    layer.other_at = values.at[values.other[i]];
    if (values.is_image_step(*steps[i])) {
      const bool encoder = i < net.encoder.size();
      const size_t number = encoder ? i : i - net.encoder.size();
      const std::string where =
          std::string(encoder ? "encoder." : "decoder.") + std::to_string(number);
      const ImageLayout layout{values.by_pixel[i], values.by_pixel[i + 1],
                               prefers_strips(*steps[i])};
      model.stencils.push_back(make_stencil(*steps[i], layout, model.table->lanes, where, listed));
      layer.stencil = &model.stencils.back().stencil;
      images = true;
    }
    model.layers.push_back(layer);
  }
  const ScoreTable &table = *model.table;
  model.plan = {net.n_features, net.latent, static_cast<int>(net.encoder.size()),
                static_cast<int>(net.decoder.size()), mean, inverse_scale, model.layers.data(),
                model.layers.data() + net.encoder.size(), net.kind, net.beta, net.loss, net.delta,
                columns.pack(*model.arena, values.keep_at), values.row_floats,
                values.at[net.encoder.size()], values.at.back(),
                // Images are wide: a tile of as few rows as can be stays in L2.
                images ? table.group_rows : table.tile_rows, table.few_rows};
}

} // namespace vael
