// The bundle's JSON as a network: preprocessing, latent space, score; steps.cpp reads the steps.
#include "score/network.h"

#include "score/error.h"

#include <algorithm>
#include <cmath>

namespace vael {
namespace {

using nlohmann::json;

const std::map<std::string, ScoreKind> kinds = {{"reconstruction", ScoreKind::reconstruction},
                                                {"kl", ScoreKind::kl},
                                                {"mu2", ScoreKind::mu2},
                                                {"rz", ScoreKind::rz},
                                                {"elbo", ScoreKind::elbo}};

void read_preprocessing(const BundleFile &file, Network &net) {
  const json &steps = file.metadata().at("preprocess");
  if (steps.size() != 1 || steps[0].at("op").get<std::string>() != "standardize")
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

/// Drops what the kind does not use: logvar where its own rows of weights make it, and the whole
/// decoder.
void prune(Network &net) {
  Step &last = net.encoder.back();
  if (last.kind == StepKind::dense &&
      (net.kind == ScoreKind::reconstruction || net.kind == ScoreKind::mu2))
    last.out = net.latent;
  if (net.kind != ScoreKind::reconstruction && net.kind != ScoreKind::elbo)
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
  const auto latent_kind = latent.at("kind").get<std::string>();
  if (latent_kind != "point" && latent_kind != "gaussian")
    fail("latent: unknown kind \"" + latent_kind + "\"");
  net.gaussian = latent_kind == "gaussian";
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
