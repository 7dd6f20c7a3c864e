// One step of the file: its shapes checked against the step before.
#include "score/network.h"

#include "score/error.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace vael {
namespace {

using nlohmann::json;

constexpr int widest_window = 1024; // of kernel, stride and padding

const std::map<std::string, Activation> activations = {{"identity", Activation::identity},
                                                       {"relu", Activation::relu},
                                                       {"leaky_relu", Activation::leaky_relu},
                                                       {"tanh", Activation::tanh},
                                                       {"sigmoid", Activation::sigmoid},
                                                       {"elu", Activation::elu},
                                                       {"silu", Activation::silu},
                                                       {"gelu", Activation::gelu}};

/// What a step may say beside op, activation and slope.
const std::map<std::string, std::vector<const char *>> step_keys = {
    {"dense", {"weight", "bias"}},
    {"conv", {"weight", "bias", "input", "stride", "padding"}},
    {"conv_transpose", {"weight", "bias", "input", "stride", "padding", "output_padding"}},
    {"max_pool", {"input", "kernel", "stride", "padding"}},
    {"average_pool", {"input", "kernel", "stride", "padding"}},
    {"layer_norm", {"weight", "bias", "epsilon", "groups"}},
    {"residual", {"from"}},
    {"bound", {"weight", "bias"}}};

int read_int(const json &value, int low, int high, const std::string &what) {
  if (!value.is_number_integer() || value.get<int64_t>() < low || value.get<int64_t>() > high)
    fail(what + ": expected an integer from " + std::to_string(low) + " to " +
         std::to_string(high) + ", got " +
         (value.is_structured() ? value.type_name() : value.dump()));
  return value.get<int>();
}

/// [y, x] of a step.
void read_pair(const json &step, const char *key, int low, const std::string &where,
               int (&pair)[2]) {
  const json &value = step.at(key);
  if (!value.is_array() || value.size() != 2)
    fail(where + ": expected two integers as " + key);
  for (int i = 0; i < 2; ++i)
    pair[i] = read_int(value[i], low, widest_window, where + ": " + key);
}

std::string text(const Image &image) {
  std::string text = std::to_string(image.channels);
  for (const int extent : {image.height, image.width})
    text.append(" x ").append(std::to_string(extent));
  return text;
}

Image read_image(const json &step, const std::string &where, int in) {
  const json &value = step.at("input");
  if (!value.is_array() || value.size() != 3)
    fail(where + ": expected [channels, height, width] as input");
  int extent[3] = {};
  int64_t size = 1;
  for (int i = 0; i < 3; ++i) {
    extent[i] = read_int(value[i], 1, widest_layer, where + ": input");
    size *= extent[i];
    if (size > widest_layer)
      break;
  }
  const Image image{extent[0], extent[1], extent[2]};
  if (size != in)
    fail(where + ": an input " + value.dump() + " of a row " + std::to_string(in) + " wide");
  return image;
}

/// The image that the window makes of step.from.
Image read_target(const Step &step, int channels, const std::string &where) {
  const int from[2] = {step.from.height, step.from.width};
  const Window &w = step.window;
  int64_t to[2];
  for (int i = 0; i < 2; ++i) {
    const int64_t extent = from[i];
    to[i] = step.transposed
                ? (extent - 1) * w.stride[i] - 2 * w.padding[i] + w.kernel[i] + w.output_padding[i]
                : extent + 2 * w.padding[i] - w.kernel[i];
    if (to[i] >= 0 && !step.transposed)
      to[i] = to[i] / w.stride[i] + 1;
    if (to[i] < 1)
      fail(where + ": the window does not fit into an image " + text(step.from));
    if (step.transposed && w.output_padding[i] >= w.stride[i])
      fail(where + ": output_padding must be less than stride");
  }
  // Either extent alone first: then their product cannot overflow.
  if (to[0] > widest_layer || to[1] > widest_layer || to[0] * to[1] > widest_layer ||
      to[0] * to[1] * channels > widest_layer)
    fail(where + ": makes an image of more than " + std::to_string(widest_layer) + " values");
  return {channels, static_cast<int>(to[0]), static_cast<int>(to[1])};
}

/// The dtype of the weights of dense steps and convolutions; everything else is float32.
const char *weights_dtype(const BundleFile &file) {
  const json &metadata = file.metadata();
  if (!metadata.contains("weights"))
    return "F32";
  if (metadata["weights"] != "bfloat16")
    fail("weights: expected \"bfloat16\", got " + metadata["weights"].dump());
  return "BF16";
}

Weights weights(const Tensor &tensor) { return {tensor.data, tensor.dtype == "BF16"}; }

void read_dense(const BundleFile &file, const json &json_step, const std::string &where,
                Step &step) {
  const Tensor &weight =
      file.tensor(json_step.at("weight").get<std::string>(), weights_dtype(file), {-1, step.in});
  const int64_t out = weight.shape[0];
  if (out < 1 || out > widest_layer)
    fail(where + ": a width of " + std::to_string(out));
  step.out = static_cast<int>(out);
  step.weight = weights(weight);
  step.bias = floats(file.tensor(json_step.at("bias").get<std::string>(), "F32", {out}));
}

void read_conv(const BundleFile &file, const json &json_step, const std::string &where,
               Step &step) {
  step.from = read_image(json_step, where, step.in);
  const int64_t channels = step.from.channels;
  const auto name = json_step.at("weight").get<std::string>();
  const char *dtype = weights_dtype(file);
  const Tensor &weight = step.transposed ? file.tensor(name, dtype, {channels, -1, -1, -1})
                                         : file.tensor(name, dtype, {-1, channels, -1, -1});
  const int64_t to = weight.shape[step.transposed ? 1 : 0];
  if (to < 1 || to > widest_layer)
    fail(where + ": " + std::to_string(to) + " output channels");
  for (int i = 0; i < 2; ++i) {
    const int64_t extent = weight.shape[2 + i];
    if (extent < 1 || extent > widest_window)
      fail(where + ": a kernel " + std::to_string(extent) + " wide");
    step.window.kernel[i] = static_cast<int>(extent);
  }
  // A tap's place among the weights is an int.
  if (channels * step.window.kernel[0] * step.window.kernel[1] > std::numeric_limits<int>::max())
    fail(where + ": a kernel of too many weights");
  read_pair(json_step, "stride", 1, where, step.window.stride);
  read_pair(json_step, "padding", 0, where, step.window.padding);
  if (step.transposed)
    read_pair(json_step, "output_padding", 0, where, step.window.output_padding);
  step.to = read_target(step, static_cast<int>(to), where);
  step.out = step.to.channels * step.to.pixels();
  step.weight = weights(weight);
  step.bias = floats(file.tensor(json_step.at("bias").get<std::string>(), "F32", {to}));
}

void read_pool(const json &json_step, const std::string &where, Step &step) {
  step.from = read_image(json_step, where, step.in);
  read_pair(json_step, "kernel", 1, where, step.window.kernel);
  read_pair(json_step, "stride", 1, where, step.window.stride);
  read_pair(json_step, "padding", 0, where, step.window.padding);
  for (int i = 0; i < 2; ++i)
    if (2 * step.window.padding[i] > step.window.kernel[i])
      fail(where + ": padding must be at most half the kernel");
  step.to = read_target(step, step.from.channels, where);
  step.out = step.to.channels * step.to.pixels();
}

void read_layer_norm(const BundleFile &file, const json &json_step, const std::string &where,
                     Step &step) {
  step.out = step.in;
  step.weight = weights(file.tensor(json_step.at("weight").get<std::string>(), "F32", {step.in}));
  step.bias = floats(file.tensor(json_step.at("bias").get<std::string>(), "F32", {step.in}));
  step.epsilon = read_float(json_step, "epsilon", 0, where);
  if (!(step.epsilon > 0))
    fail(where + ": epsilon must be positive, got " + std::to_string(step.epsilon));
  step.groups = read_int(json_step.value("groups", json(1)), 1, step.in, where + ": groups");
  if (step.in % step.groups)
    fail(where + ": " + std::to_string(step.groups) + " groups do not divide " +
         std::to_string(step.in) + " values");
}

/// widths: of the part's input and of every step before.
void read_residual(const json &json_step, const std::string &where, const std::vector<int> &widths,
                   Step &step) {
  step.out = step.in;
  const int last = static_cast<int>(widths.size()) - 3; // adding the step before itself is doubling
  if (last < -1)
    fail(where + ": nothing to add before the first step");
  step.other = read_int(json_step.at("from"), -1, last, where + ": from");
  if (const int width = widths[static_cast<size_t>(step.other) + 1]; width != step.in)
    fail(where + ": adds " + std::to_string(width) + " values to " + std::to_string(step.in));
}

void read_bound(const BundleFile &file, const json &json_step, const std::string &where,
                Step &step) {
  step.out = step.in;
  step.weight = weights(file.tensor(json_step.at("weight").get<std::string>(), "F32", {step.in}));
  step.bias = floats(file.tensor(json_step.at("bias").get<std::string>(), "F32", {step.in}));
  for (int j = 0; j < step.in; ++j) {
    const float bound = element(step.weight, j), center = element(step.bias, j);
    if (!(bound >= 0) || !std::isfinite(bound) || !std::isfinite(center))
      fail(where + ": value " + std::to_string(j) + " is held within " + std::to_string(bound) +
           " of " + std::to_string(center));
  }
}

Step read_step(const BundleFile &file, const json &json_step, const std::string &where,
               const std::vector<int> &widths) {
  Step step{};
  step.in = widths.back();
  const auto name = json_step.value("activation", "identity");
  const auto activation = activations.find(name);
  if (activation == activations.end())
    fail(where + ": unknown activation \"" + name + "\"");
  step.activation = activation->second;
  step.slope = read_float(json_step, "slope", 0.01f, where);
  const auto op = json_step.at("op").get<std::string>();
  const auto keys = step_keys.find(op);
  if (keys == step_keys.end())
    fail(where + ": unknown step \"" + op + "\"");
  std::vector<const char *> known = {"op", "activation", "slope"};
  known.insert(known.end(), keys->second.begin(), keys->second.end());
  check_keys(json_step, known, where);
  if (op == "dense") {
    step.kind = StepKind::dense;
    read_dense(file, json_step, where, step);
  } else if (op == "conv" || op == "conv_transpose") {
    step.kind = StepKind::conv;
    step.transposed = op == "conv_transpose";
    read_conv(file, json_step, where, step);
  } else if (op == "max_pool" || op == "average_pool") {
    step.kind = op == "max_pool" ? StepKind::max_pool : StepKind::average_pool;
    read_pool(json_step, where, step);
  } else if (op == "layer_norm") {
    step.kind = StepKind::layer_norm;
    read_layer_norm(file, json_step, where, step);
  } else if (op == "bound") {
    step.kind = StepKind::bound;
    read_bound(file, json_step, where, step);
  } else { // residual
    step.kind = StepKind::residual;
    read_residual(json_step, where, widths, step);
  }
  return step;
}

} // namespace

void check_keys(const json &object, const std::vector<const char *> &known,
                const std::string &where) {
  for (const auto &[key, value] : object.items())
    if (std::find(known.begin(), known.end(), key) == known.end())
      fail(where + ": unknown key \"" + key + "\"");
}

float read_float(const json &object, const char *key, float otherwise, const std::string &where) {
  const json value = object.value(key, json(otherwise));
  if (!value.is_number())
    fail(where + ": expected a finite number as " + key + ", got " + value.type_name());
  const double number = value.get<double>();
  if (!(std::fabs(number) <= std::numeric_limits<float>::max()))
    fail(where + ": expected a finite number as " + key + ", got " + std::to_string(number));
  return static_cast<float>(number);
}

std::vector<Step> read_steps(const BundleFile &file, const char *part, int in) {
  std::vector<Step> steps;
  std::vector<int> widths = {in};
  const json &list = file.metadata().at(part);
  if (!list.is_array())
    fail(std::string(part) + ": expected a list of steps");
  for (const json &step : list) {
    const std::string where = std::string(part) + "." + std::to_string(steps.size());
    steps.push_back(read_step(file, step, where, widths));
    widths.push_back(steps.back().out);
  }
  return steps;
}

} // namespace vael
