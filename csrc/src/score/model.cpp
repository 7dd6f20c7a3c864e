// From the bundle's JSON and tensors to the plan: every shape checked, every weight packed once.
#include "score/model.h"

#include "score/error.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <new>

VAEL_DECLARE_TABLES(vael::ScoreTable, vael_score_table);

namespace vael {
namespace {

using nlohmann::json;

constexpr int widest_layer = 1 << 20;

const std::map<std::string, Activation> activations = {{"identity", Activation::identity},
                                                       {"relu", Activation::relu},
                                                       {"leaky_relu", Activation::leaky_relu},
                                                       {"tanh", Activation::tanh},
                                                       {"sigmoid", Activation::sigmoid},
                                                       {"elu", Activation::elu},
                                                       {"silu", Activation::silu},
                                                       {"gelu", Activation::gelu}};

const std::map<std::string, ScoreKind> kinds = {{"reconstruction", ScoreKind::reconstruction},
                                                {"kl", ScoreKind::kl},
                                                {"mu2", ScoreKind::mu2},
                                                {"rz", ScoreKind::rz},
                                                {"elbo", ScoreKind::elbo}};

/// One dense step as the file has it.
struct Dense {
  int in, out;
  const float *weight, *bias; // [out][in], [out]
  Activation activation;
  float slope;
};

/// The bundle's network before packing.
struct Network {
  const float *mean, *scale; // [n_features]
  std::vector<Dense> encoder, decoder;
  int n_features, latent;
  bool gaussian;
  ScoreKind kind;
  std::string kind_name;
  float beta;
};

const float *floats(const Tensor &tensor) { return reinterpret_cast<const float *>(tensor.data); }

/// A tensor's bytes may lie at any address in the file; the packing copies element by element.
float element(const float *p, size_t i) {
  float value;
  std::memcpy(&value, reinterpret_cast<const char *>(p) + i * sizeof(float), sizeof(float));
  return value;
}

/// A number that is a finite float32: a double beyond would be undefined behaviour to convert.
float read_float(const json &object, const char *key, float otherwise, const std::string &where) {
  const json value = object.value(key, json(otherwise));
  if (!value.is_number())
    fail(where + ": expected a finite number as " + key + ", got " + value.type_name());
  const double number = value.get<double>();
  if (!(std::fabs(number) <= std::numeric_limits<float>::max()))
    fail(where + ": expected a finite number as " + key + ", got " + std::to_string(number));
  return static_cast<float>(number);
}

Dense read_dense(const BundleFile &file, const json &step, const std::string &where, int in) {
  if (const auto op = step.at("op").get<std::string>(); op != "dense")
    fail(where + ": unknown step \"" + op + "\"");
  const auto weight_name = step.at("weight").get<std::string>();
  const Tensor &weight = file.tensor(weight_name, "F32", {-1, in});
  const int64_t out = weight.shape[0];
  if (out < 1 || out > widest_layer)
    fail(where + ": a width of " + std::to_string(out));
  const Tensor &bias = file.tensor(step.at("bias").get<std::string>(), "F32", {out});
  const auto name = step.value("activation", "identity");
  const auto activation = activations.find(name);
  if (activation == activations.end())
    fail(where + ": unknown activation \"" + name + "\"");
  return {in,           static_cast<int>(out), floats(weight),
          floats(bias), activation->second,    read_float(step, "slope", 0.01f, where)};
}

std::vector<Dense> read_layers(const BundleFile &file, const char *part, int in) {
  std::vector<Dense> layers;
  for (const json &step : file.metadata().at(part)) {
    layers.push_back(
        read_dense(file, step, std::string(part) + "." + std::to_string(layers.size()), in));
    in = layers.back().out;
  }
  return layers;
}

void read_preprocessing(const BundleFile &file, Network &net) {
  const json &steps = file.metadata().at("preprocess");
  if (steps.size() != 1 || steps[0].at("op") != "standardize")
    fail("preprocess: expected one step \"standardize\" and nothing else");
  net.mean = floats(file.tensor(steps[0].at("mean").get<std::string>(), "F32", {net.n_features}));
  net.scale = floats(file.tensor(steps[0].at("scale").get<std::string>(), "F32", {net.n_features}));
  for (int j = 0; j < net.n_features; ++j) {
    if (const float mean = element(net.mean, j); !std::isfinite(mean))
      fail("preprocess.0: the mean of feature " + std::to_string(j) + " is " +
           std::to_string(mean));
    if (const float s = element(net.scale, j);
        !(s > 0) || !std::isfinite(s) || !std::isfinite(1 / s))
      fail("preprocess.0: the scale of feature " + std::to_string(j) + " is " + std::to_string(s));
  }
}

void read_score(const BundleFile &file, const std::string &wanted, Network &net) {
  const json &score = file.metadata().at("score");
  net.kind_name = wanted.empty() ? score.at("kind").get<std::string>() : wanted;
  const auto kind = kinds.find(net.kind_name);
  if (kind == kinds.end())
    fail("score: unknown kind \"" + net.kind_name + "\"", VAEL_ERROR_KIND);
  net.kind = kind->second;
  net.beta = read_float(score, "beta", 1.0f, "score");
  if (const auto loss = score.value("loss", "squared_error"); loss != "squared_error")
    fail("score: unknown loss \"" + loss + "\"");
  const bool needs_logvar =
      net.kind == ScoreKind::kl || net.kind == ScoreKind::rz || net.kind == ScoreKind::elbo;
  if (needs_logvar && !net.gaussian)
    fail("score: kind \"" + net.kind_name + "\" needs a gaussian latent, and this one is a point",
         VAEL_ERROR_KIND);
}

void check_widths(const Network &net) {
  const int encoded = net.gaussian ? 2 * net.latent : net.latent;
  if (net.encoder.empty() || net.encoder.back().out != encoded)
    fail("encoder: ends " + std::to_string(net.encoder.empty() ? 0 : net.encoder.back().out) +
         " wide, a latent of " + std::to_string(net.latent) + " needs " + std::to_string(encoded));
  if (net.decoder.empty() || net.decoder.back().out != net.n_features)
    fail("decoder: ends " + std::to_string(net.decoder.empty() ? 0 : net.decoder.back().out) +
         " wide, expected the " + std::to_string(net.n_features) + " features");
}

/// The file of a model that only torch can score holds its module's state and no network.
void check_frozen(const json &metadata) {
  if (metadata.contains("encoder") || !metadata.contains("module"))
    return;
  const json &module = metadata["module"];
  if (module.is_object() && module.contains("state"))
    fail("a " + module.at("class").get<std::string>() +
         " model, which has no frozen scorer: load it with vaelocity.models.load");
}

Network read_network(const BundleFile &file, const std::string &kind) {
  Network net{};
  const json &metadata = file.metadata();
  check_frozen(metadata);
  const json &features = metadata.at("features");
  if (!features.is_array() || !std::all_of(features.begin(), features.end(),
                                           [](const json &name) { return name.is_string(); }))
    fail("features: expected a list of strings");
  const size_t n_features = features.size();
  if (n_features < 1 || n_features > widest_layer)
    fail("features: got " + std::to_string(n_features));
  net.n_features = static_cast<int>(n_features);
  const json &latent = metadata.at("latent");
  const auto latent_kind = latent.at("kind").get<std::string>();
  if (latent_kind != "point" && latent_kind != "gaussian")
    fail("latent: unknown kind \"" + latent_kind + "\"");
  net.gaussian = latent_kind == "gaussian";
  const json &size = latent.at("size");
  if (!size.is_number_integer() || size.get<int64_t>() < 1 || size.get<int64_t>() > widest_layer)
    fail("latent: the size is no integer from 1 to " + std::to_string(widest_layer));
  net.latent = size.get<int>();
  read_preprocessing(file, net);
  net.encoder = read_layers(file, "encoder", net.n_features);
  net.decoder = read_layers(file, "decoder", net.latent);
  check_widths(net);
  read_score(file, kind, net);
  return net;
}

/// Drops what the kind does not use: logvar, or the whole decoder.
void prune(Network &net) {
  if (net.kind == ScoreKind::reconstruction || net.kind == ScoreKind::mu2)
    net.encoder.back().out = net.latent;
  if (net.kind != ScoreKind::reconstruction && net.kind != ScoreKind::elbo)
    net.decoder.clear();
}

size_t packed_floats(const Dense &layer) {
  const size_t width = static_cast<size_t>(padded(layer.out));
  return Arena::rounded(width) + Arena::rounded(width * layer.in) +
         Arena::rounded(static_cast<size_t>(layer.out) * layer.in);
}

DenseLayer pack(const Dense &layer, int block, Arena &arena) {
  const size_t in = layer.in, out = layer.out, width = padded(layer.out);
  float *bias = arena.take(width);
  float *by_output = arena.take(width * in);
  float *by_block = arena.take(out * in);
  for (size_t j = 0; j < out; ++j) {
    bias[j] = element(layer.bias, j);
    for (size_t k = 0; k < in; ++k)
      by_output[k * width + j] = element(layer.weight, j * in + k);
  }
  float *next = by_block;
  for (size_t first = 0; first < out; first += block)
    for (size_t k = 0; k < in; ++k)
      for (size_t j = first; j < std::min(out, first + block); ++j)
        *next++ = element(layer.weight, j * in + k);
  return {layer.in, layer.out, layer.activation, layer.slope, bias, by_output, by_block};
}

void pack_network(const Network &net, Model &model) {
  const size_t features = static_cast<size_t>(padded(net.n_features));
  size_t total = 2 * Arena::rounded(features);
  for (const auto *part : {&net.encoder, &net.decoder})
    for (const Dense &layer : *part)
      total += packed_floats(layer);
  model.arena = std::make_unique<Arena>(total);

  float *mean = model.arena->take(features);
  float *inverse_scale = model.arena->take(features);
  for (int j = 0; j < net.n_features; ++j) {
    mean[j] = element(net.mean, j);
    inverse_scale[j] = 1.0f / element(net.scale, j);
  }
  int max_width = 1;
  for (const auto *part : {&net.encoder, &net.decoder})
    for (const Dense &layer : *part) {
      model.layers.push_back(pack(layer, model.table->block, *model.arena));
      max_width = std::max(max_width, layer.out);
    }
  model.plan = {net.n_features,
                net.latent,
                static_cast<int>(net.encoder.size()),
                static_cast<int>(net.decoder.size()),
                mean,
                inverse_scale,
                model.layers.data(),
                model.layers.data() + net.encoder.size(),
                net.kind,
                net.beta,
                max_width,
                model.table->tile_rows,
                model.table->few_rows};
}

template <class T> std::vector<T> copy(const Tensor &tensor, size_t n) {
  std::vector<T> values(n);
  if (n)
    std::memcpy(values.data(), tensor.data, n * sizeof(T));
  return values;
}

void read_conformance(const BundleFile &file, const Network &net, Conformance &conformance) {
  if (!file.metadata().contains("conformance"))
    return;
  const json &names = file.metadata()["conformance"];
  if (!names.at("scores").contains(net.kind_name))
    return;
  const Tensor &rows =
      file.tensor(names.at("rows").get<std::string>(), "F32", {-1, net.n_features});
  const int64_t n = rows.shape[0];
  const Tensor &flags =
      file.tensor(names.at("flags").at(net.kind_name).get<std::string>(), "U8", {n});
  const Tensor &scores =
      file.tensor(names.at("scores").at(net.kind_name).get<std::string>(), "F32", {n});
  conformance.rows = copy<float>(rows, static_cast<size_t>(n) * net.n_features);
  conformance.flags = copy<uint8_t>(flags, static_cast<size_t>(n));
  conformance.scores = copy<float>(scores, static_cast<size_t>(n));
}

std::vector<Threshold> read_thresholds(const json &metadata, const std::string &kind) {
  std::vector<Threshold> thresholds;
  if (!metadata.contains("thresholds"))
    return thresholds;
  for (const json &entry : metadata["thresholds"]) {
    if (entry.at("kind").get<std::string>() != kind)
      continue;
    const auto name = entry.at("name").get<std::string>();
    const double value = entry.at("value").get<double>();
    if (!(std::fabs(value) <= std::numeric_limits<float>::max()) ||
        static_cast<double>(static_cast<float>(value)) != value)
      fail("thresholds: the value of " + name + " is no finite float32");
    thresholds.push_back({name, static_cast<float>(value)});
  }
  return thresholds;
}

} // namespace

Arena::Arena(size_t floats)
    : memory_(static_cast<float *>(::operator new[](floats * sizeof(float), std::align_val_t{64}))),
      next_(memory_.get()) {
  std::memset(memory_.get(), 0, floats * sizeof(float));
}

float *Arena::take(size_t floats) {
  float *piece = next_;
  next_ += rounded(floats);
  return piece;
}

void Arena::Free::operator()(float *p) const { ::operator delete[](p, std::align_val_t{64}); }

std::unique_ptr<Model> build_model(const BundleFile &file, const std::string &kind, Isa isa) {
  try {
    auto model = std::make_unique<Model>();
    model->isa = isa;
    model->table = &VAEL_TABLE(vael_score_table, isa);
    model->metadata = file.metadata_text();
    model->checksum = file.checksum();
    Network net = read_network(file, kind);
    model->kind = net.kind_name;
    read_conformance(file, net, model->conformance);
    model->thresholds = read_thresholds(file.metadata(), model->kind);
    prune(net);
    pack_network(net, *model);
    return model;
  } catch (const json::exception &e) {
    fail(std::string("metadata: ") + e.what());
  }
}

void verify_model(const Model &model) {
  const Conformance &expected = model.conformance;
  const size_t n = expected.scores.size(), d = static_cast<size_t>(model.plan.n_features);
  if (!n)
    fail("no conformance rows for kind \"" + model.kind + "\"", VAEL_ERROR_CONFORMANCE);
  std::vector<float> scores(n);
  std::vector<uint8_t> flags(n);
  Arena workspace(model.table->workspace_floats(model.plan));
  const Rows rows{expected.rows.data(), static_cast<ptrdiff_t>(d), nullptr, 0};
  model.table->score(model.plan, rows, 0, n, workspace.take(0),
                     {scores.data(), flags.data(), nullptr});
  for (size_t i = 0; i < n; ++i)
    if (std::memcmp(&scores[i], &expected.scores[i], sizeof(float)) != 0 ||
        flags[i] != expected.flags[i]) {
      char text[160];
      std::snprintf(text, sizeof(text),
                    "conformance row %zu: score %.9g flags %d, the bundle says %.9g flags %d", i,
                    static_cast<double>(scores[i]), flags[i],
                    static_cast<double>(expected.scores[i]), expected.flags[i]);
      fail(text, VAEL_ERROR_CONFORMANCE);
    }
}

} // namespace vael
