// The bundle's JSON as a network: latent space, score; steps.cpp and preprocess.cpp read the rest.
#include "score/network.h"

#include "score/error.h"

#include <algorithm>
#include <cmath>

namespace vael {
namespace {

using nlohmann::json;

const std::map<std::string, ScoreKind> kinds = {
    {"reconstruction", ScoreKind::reconstruction},
    {"kl", ScoreKind::kl},
    {"mu2", ScoreKind::mu2},
    {"rz", ScoreKind::rz},
    {"elbo", ScoreKind::elbo},
    {"latent_reconstruction", ScoreKind::latent_reconstruction},
    {"output", ScoreKind::output}};

const std::map<std::string, Loss> losses = {{"squared_error", Loss::squared_error},
                                            {"absolute_error", Loss::absolute_error},
                                            {"huber", Loss::huber},
                                            {"bce_with_logits", Loss::bce_with_logits}};

const std::map<std::string, LatentKind> latent_kinds = {{"point", LatentKind::point},
                                                        {"gaussian", LatentKind::gaussian},
                                                        {"embedding", LatentKind::embedding},
                                                        {"output", LatentKind::output}};

/// Has a network of that latent space a score of that kind?
bool has_kind(LatentKind latent, ScoreKind kind) {
  switch (latent) {
  case LatentKind::point:
    return kind == ScoreKind::reconstruction;
  case LatentKind::gaussian:
    return kind != ScoreKind::latent_reconstruction && kind != ScoreKind::output;
  case LatentKind::embedding:
    return kind == ScoreKind::latent_reconstruction;
  case LatentKind::output:
    return kind == ScoreKind::output;
  }
  return false;
}

void read_score(const BundleFile &file, const std::string &wanted, Network &net) {
  const json &score = file.metadata().at("score");
  net.kind_name = wanted.empty() ? score.at("kind").get<std::string>() : wanted;
  const auto kind = kinds.find(net.kind_name);
  if (kind == kinds.end())
    fail("score: unknown kind \"" + net.kind_name + "\"", VAEL_ERROR_KIND);
  net.kind = kind->second;
  check_keys(score, {"kind", "loss", "beta", "delta"}, "score");
  net.beta = read_float(score, "beta", 1.0f, "score");
  const auto name = score.value("loss", "squared_error");
  const auto loss = losses.find(name);
  if (loss == losses.end())
    fail("score: unknown loss \"" + name + "\"");
  net.loss = loss->second;
  net.delta = read_float(score, "delta", 1.0f, "score");
  if (!(net.delta > 0))
    fail("score: delta must be positive, got " + std::to_string(net.delta));
  if (has_kind(net.latent_kind, net.kind))
    return;
  if (net.latent_kind == LatentKind::point && has_kind(LatentKind::gaussian, net.kind))
    fail("score: kind \"" + net.kind_name + "\" needs a gaussian latent, and this one is a point",
         VAEL_ERROR_KIND);
  fail("score: no kind \"" + net.kind_name + "\" of such a latent space", VAEL_ERROR_KIND);
}

void check_widths(const Network &net) {
  const int encoded = net.latent_kind == LatentKind::gaussian ? 2 * net.latent : net.latent;
  if (net.encoder.empty() || net.encoder.back().out != encoded)
    fail("encoder: ends " + std::to_string(net.encoder.empty() ? 0 : net.encoder.back().out) +
         " wide, a latent of " + std::to_string(net.latent) + " needs " + std::to_string(encoded));
  if (net.latent_kind == LatentKind::output) {
    if (net.latent != 1 || !net.decoder.empty())
      fail("latent: an output is of size 1 and has no decoder");
    return;
  }
  const bool embedding = net.latent_kind == LatentKind::embedding;
  const int decoded = embedding ? net.latent : net.n_features;
  if (net.decoder.empty() || net.decoder.back().out != decoded)
    fail("decoder: ends " + std::to_string(net.decoder.empty() ? 0 : net.decoder.back().out) +
         " wide, expected the " + std::to_string(decoded) +
         (embedding ? " values of the embedding" : " features"));
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

/// Drops what the kind does not use: logvar where its own rows of weights make it, and the whole
/// decoder.
void prune(Network &net) {
  Step &last = net.encoder.back();
  if (last.kind == StepKind::dense &&
      (net.kind == ScoreKind::reconstruction || net.kind == ScoreKind::mu2))
    last.out = net.latent;
  if (net.kind != ScoreKind::reconstruction && net.kind != ScoreKind::elbo &&
      net.kind != ScoreKind::latent_reconstruction)
    net.decoder.clear();
}

} // namespace

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
  check_keys(latent, {"kind", "size"}, "latent");
  const auto latent_name = latent.at("kind").get<std::string>();
  const auto latent_kind = latent_kinds.find(latent_name);
  if (latent_kind == latent_kinds.end())
    fail("latent: unknown kind \"" + latent_name + "\"");
  net.latent_kind = latent_kind->second;
  const json &size = latent.at("size");
  if (!size.is_number_integer() || size.get<int64_t>() < 1 || size.get<int64_t>() > widest_layer)
    fail("latent: the size is no integer from 1 to " + std::to_string(widest_layer));
  net.latent = size.get<int>();
  read_preprocessing(file, net);
  net.encoder = read_steps(file, "encoder", net.n_features);
  net.decoder = read_steps(file, "decoder", net.latent);
  check_widths(net);
  read_score(file, kind, net);
  prune(net);
  return net;
}

} // namespace vael
